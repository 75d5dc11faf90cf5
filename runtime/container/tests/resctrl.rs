//! `linux.intelRdt` on a made-up resource control file system: a directory with the kernel's files, by a value of `Host`.
//!
//! Few processors have the real one. What the kernel does by itself there (files in new groups, their removal) this test does by hand.

use std::fs;
use std::path::{Path, PathBuf};

use container::{Bundle, ContainerId, Host, Options, Plan, resctrl};

struct Machine {
    root: PathBuf,
    host: Host,
}

impl Machine {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("orlop-rdt-{}-{name}", std::process::id()));
        let write = |file: &str, text: &str| {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
            fs::write(path, text).expect("a file");
        };
        write("schemata", "MB:0=100;1=100\nL3:0=7ff;1=7ff\n");
        write("info/L3/cbm_mask", "7ff\n");
        write("info/L3/min_cbm_bits", "1\n");
        write("info/L3/num_closids", "16\n");
        write("info/MB/min_bandwidth", "10\n");
        write("gold/schemata", "    MB:0= 20;1= 70\n    L3:0=7f0;1=01f\n");
        let mut host = Host::probe().expect("this machine");
        host.resctrl = Some(root.clone());
        Self { root, host }
    }

    fn plan(&self, rdt: &str) -> Result<Plan, String> {
        let spec = format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"rootfs"}},"linux":{{"intelRdt":{rdt},"namespaces":[{{"type":"mount"}}]}}}}"#
        );
        let bundle = Bundle {
            dir: PathBuf::from("/b"),
            spec: serde_json::from_str(&spec).unwrap_or_else(|error| panic!("{spec}: {error}")),
        };
        let id = ContainerId::parse("c1").expect("plain");
        let options = Options {
            no_cgroup: true,
            ..Options::default()
        };
        let plan = Plan::new(&id, &bundle, &self.host, &options).map_err(|e| e.to_string())?;
        plan.possible().map_err(|e| e.to_string())?;
        Ok(plan)
    }

    /// Plans and carries out; returns the groups, or what was refused.
    fn apply(&self, rdt: &str) -> Result<resctrl::Groups, String> {
        let plan = self.plan(rdt)?.resctrl.expect("a class");
        resctrl::apply(&plan, 4711).map_err(|error| format!("{error:#}"))
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    fn check_refused(&self, rdt: &str, expected: &str) {
        let error = self.apply(rdt).expect_err(rdt);
        assert!(
            error.contains(expected) && !error.contains('\n'),
            "{rdt}: {error}"
        );
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.root).expect("our own");
    }
}

/// Removes the files of a group, as the kernel does when its directory goes.
fn empty(dir: &Path) {
    for file in ["tasks", "schemata"] {
        fs::remove_file(dir.join(file)).unwrap_or_default();
    }
}

#[test]
fn a_class_is_made_joined_counted_and_removed() {
    let machine = Machine::new("own");
    let rdt =
        r#"{"l3CacheSchema":"L3:0=f\nMB:0=1","memBwSchema":"MB:0=50;1=50","schemata":["L3:1=3"]}"#;
    let groups = machine.apply(rdt).expect(rdt);
    assert_eq!(machine.read("c1/tasks"), "4711");
    // The kernel takes line by line; of a plain file only the last write is left.
    assert_eq!(machine.read("c1/schemata"), "L3:1=3\n");
    fs::write(
        machine.root.join("c1/schemata"),
        "    MB:0= 50;1= 50\n    L3:0=f;1=3\n",
    )
    .expect("as the kernel prints it");
    let counted = machine.root.join("c1/mon_data/mon_L3_00");
    fs::create_dir_all(&counted).expect("a directory");
    fs::write(counted.join("llc_occupancy"), "123\n").expect("a file");
    fs::write(counted.join("mbm_total_bytes"), "77\n").expect("a file");
    let stats = serde_json::to_value(groups.stats()).expect("plain");
    let expected = serde_json::json!({
        "l3_cache_info": {"cbm_mask": "7ff", "min_cbm_bits": 1, "num_closids": 16},
        "l3_cache_schema_root": "L3:0=7ff;1=7ff",
        "l3_cache_schema": "L3:0=f;1=3",
        "mem_bw_info": {"bandwidth_gran": 0, "delay_linear": 0, "min_bandwidth": 10, "num_closids": 0},
        "mem_bw_schema_root": "MB:0=100;1=100",
        "mem_bw_schema": "MB:0= 50;1= 50",
        "mbm_stats": [{"mbm_total_bytes": 77, "mbm_local_bytes": 0}],
        "cmt_stats": [{"llc_occupancy": 123}],
    });
    assert_eq!(stats, expected);
    fs::remove_dir_all(machine.root.join("c1/mon_data")).expect("ours");
    empty(&machine.root.join("c1"));
    groups.remove().expect("it was made for the container");
    assert!(!machine.root.join("c1").exists());
    groups.remove().expect("gone is gone");
}

#[test]
fn a_class_that_exists_is_used_and_kept() {
    let machine = Machine::new("named");
    for rdt in [
        r#"{"closID":"gold"}"#,
        r#"{"closID":"gold","l3CacheSchema":"L3:0=7f0;1=1f","memBwSchema":"MB:0=20;1=70"}"#,
        r#"{"closID":"gold","schemata":["L3:0=7f0"]}"#,
    ] {
        let groups = machine.apply(rdt).expect(rdt);
        assert_eq!(
            (machine.read("gold/tasks").as_str(), groups.made.len()),
            ("4711", 0),
            "{rdt}"
        );
        groups.remove().expect("nothing to remove");
        assert!(machine.root.join("gold").is_dir(), "{rdt}");
    }
    machine.check_refused(
        r#"{"closID":"gold","l3CacheSchema":"L3:0=f"}"#,
        "linux.intelRdt.l3CacheSchema",
    );
    machine.check_refused(r#"{"closID":"silver"}"#, "linux.intelRdt.closID");
    assert!(!machine.root.join("silver").exists());
    let groups = machine
        .apply(r#"{"closID":"silver","memBwSchema":"MB:0=10"}"#)
        .expect("made by name");
    assert_eq!(groups.made, [machine.root.join("silver")]);
    machine
        .apply(r#"{"closID":"/"}"#)
        .expect("the class of everybody");
    assert_eq!(machine.read("tasks"), "4711");
}

#[test]
fn a_monitoring_group_is_the_containers_own() {
    let machine = Machine::new("monitor");
    fs::create_dir(machine.root.join("gold/mon_groups")).expect("a directory");
    let rdt = r#"{"closID":"gold","enableMonitoring":true}"#;
    let groups = machine.apply(rdt).expect(rdt);
    assert_eq!(machine.read("gold/mon_groups/c1/tasks"), "4711");
    machine.check_refused(rdt, "linux.intelRdt.enableMonitoring");
    empty(&machine.root.join("gold/mon_groups/c1"));
    groups.remove().expect("it was made for the container");
    assert!(
        machine.root.join("gold").is_dir() && !machine.root.join("gold/mon_groups/c1").exists()
    );
}

#[test]
fn what_is_wrong_is_refused_by_its_path() {
    let mut machine = Machine::new("refused");
    machine.check_refused(
        r#"{"closID":"a/b"}"#,
        "config.json: linux.intelRdt.closID: \"a/b\"",
    );
    machine.check_refused(r#"{"closID":".."}"#, "linux.intelRdt.closID");
    machine.check_refused(r#"{"closID":"info"}"#, "linux.intelRdt.closID");
    machine.check_refused(r#"{"memBwSchema":"L3:0=f"}"#, "linux.intelRdt.memBwSchema");
    machine.check_refused(
        r#"{"schemata":["L3:0=f","nonsense"]}"#,
        "linux.intelRdt.schemata[1]",
    );
    machine.host.resctrl = None;
    machine.check_refused(
        r#"{"closID":"gold"}"#,
        "config.json: linux.intelRdt: this host has no resource control",
    );
}
