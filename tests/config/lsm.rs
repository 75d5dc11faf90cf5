//! `process.apparmorProfile` and `process.selinuxLabel`: what confines the payload, and what is refused.
//!
//! The virtual machine has AppArmor; booted with `security=selinux selinux=1` it has SELinux without a policy instead, whose kernel
//! knows a few labels by name and takes every other for `kernel`.

use orlop_tests::{Bundle, Env, Must, skip};
use serde_json::json;
use std::fs;
use std::path::Path;

fn has_apparmor() -> bool {
    fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
}

/// Tells whether SELinux is on and has no policy yet.
fn has_bare_selinux() -> bool {
    Path::new("/sys/fs/selinux").exists()
        && fs::read_to_string("/proc/self/attr/current").is_ok_and(|own| own.starts_with("kernel"))
}

/// A profile in the kernel, for one test.
struct Profile<'a> {
    env: &'a Env,
    name: String,
}

impl<'a> Profile<'a> {
    /// Loads a profile that allows all but one file.
    fn load(env: &'a Env, name: &str, denied: &str) -> Self {
        let name = format!("{}-{name}", env.tag);
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n file,\n capability,\n network,\n mount,\n umount,\n \
             pivot_root,\n signal,\n ptrace,\n unix,\n deny {denied} rwklx,\n}}\n"
        );
        let profile = Self { env, name };
        fs::write(profile.file(), text).must("a profile");
        profile.parser("--replace");
        profile
    }

    fn file(&self) -> std::path::PathBuf {
        self.env.dir.join(&self.name)
    }

    #[track_caller]
    fn parser(&self, what: &str) {
        let parser = self.env.cmd("apparmor_parser");
        parser
            .args([what, "--skip-cache"])
            .arg(self.file())
            .run()
            .ok();
    }
}

impl Drop for Profile<'_> {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}

/// Says by what the process is confined, and tries to read two files.
const LOOK: &str = "cat /proc/self/attr/current; cat /etc/one /etc/two 2>&1; true";

fn two_files(bundle: &Bundle) {
    for name in ["one", "two"] {
        fs::write(bundle.rootfs().join("etc").join(name), name).must(name);
    }
}

#[test]
fn an_apparmor_profile_confines() {
    if !has_apparmor() {
        return skip("apparmorProfile", "this kernel has no AppArmor");
    }
    let env = Env::new();
    let one = Profile::load(&env, "one", "/etc/one");
    let two = Profile::load(&env, "two", "/etc/two");
    let mut bundle = env.bundle();
    two_files(&bundle);
    let denied = |name: &str, other: &str| match name {
        "one" => format!("cat: can't open '/etc/one': Permission denied\n{other}"),
        _ => format!("{other}cat: can't open '/etc/two': Permission denied"),
    };
    bundle
        .set("/process/apparmorProfile", json!(one.name))
        .sh(LOOK);
    let in_one = format!("{} (enforce)\n{}", one.name, denied("one", "two"));
    env.run(&bundle).ok().prints(&in_one);
    let mut mapped = env.bundle();
    two_files(&mapped);
    mapped
        .namespace("user", None)
        .set(
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 65536}]),
        )
        .set(
            "/linux/gidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 65536}]),
        )
        .set("/process/apparmorProfile", json!(one.name))
        .sh(LOOK);
    env.run(&mapped).ok().prints(&in_one);
    // A process that is added is confined as the container is, unless it says otherwise.
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    env.exec(&id, &["sh", "-c", LOOK]).ok().prints(&in_one);
    let with = |profile: &str| {
        let exec = env.orlop(&["exec", "--apparmor", profile, &id, "sh", "-c", LOOK]);
        exec.run()
    };
    with(&two.name)
        .ok()
        .prints(&format!("{} (enforce)\n{}", two.name, denied("two", "one")));
    with("unconfined").ok().prints("unconfined\nonetwo");
    let refused = with("no-such-profile");
    refused.refused(255, &["no-such-profile", "not loaded", "apparmor_parser"]);
    env.orlop(&["delete", "--force", &id]).run().ok();
}

#[test]
fn a_profile_that_is_not_loaded_is_refused() {
    if !has_apparmor() {
        return skip(
            "a profile that is not loaded",
            "this kernel has no AppArmor",
        );
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .args(&["true"])
        .set("/process/apparmorProfile", json!("no-such-profile"));
    let before = env.world();
    let done = env.run(&bundle);
    // Podman knows a label that cannot be set by the path in backquotes.
    let parts = [
        "\"no-such-profile\" is not loaded",
        "apparmor_parser",
        "`/proc/self/attr/apparmor/exec`",
    ];
    env.as_before(&before, &done.to_string());
    done.refused(1, &parts);
}

#[test]
fn a_profile_without_apparmor_is_a_warning() {
    if has_apparmor() {
        return skip("a profile without AppArmor", "this kernel has AppArmor");
    }
    let env = Env::new();
    for (profile, warned) in [("docker-default", true), ("unconfined", false)] {
        let mut bundle = env.bundle();
        bundle
            .set("/process/apparmorProfile", json!(profile))
            .args(&["true"]);
        let done = env.run(&bundle).ok();
        let said = done.stderr().contains("process.apparmorProfile");
        assert_eq!(said, warned, "{done}");
    }
}

#[test]
fn a_label_without_selinux_is_a_warning() {
    if Path::new("/sys/fs/selinux").exists() {
        return skip("a label without SELinux", "this kernel has SELinux on");
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set(
            "/process/selinuxLabel",
            json!("system_u:system_r:container_t:s0:c1,c2"),
        )
        .args(&["sleep", "1000"]);
    bundle.set("/linux/mountLabel", json!("u:r:t:s0")).write();
    let id = env.id();
    let create = env.orlop(&["create", "--bundle"]).arg(&bundle.dir).arg(&id);
    let done = create.run().ok();
    for field in ["process.selinuxLabel", "linux.mountLabel"] {
        assert!(done.stderr().contains(field), "{field}\n{done}");
    }
    env.orlop(&["start", &id]).run().ok();
    let exec = env.orlop(&["exec", "--process-label", "u:r:t:s0", &id, "echo", "ran"]);
    let done = exec.run().ok().prints("ran");
    assert!(done.stderr().contains("process.selinuxLabel"), "{done}");
    env.orlop(&["delete", "--force", &id]).run().ok();
}

#[test]
fn a_selinux_label_is_applied() {
    if !has_bare_selinux() {
        return skip("selinuxLabel", "SELinux is off, or has a policy of its own");
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    let look =
        "tr -d '\\0' < /proc/self/attr/current; echo; tr -d '\\0' < /proc/self/attr/keycreate";
    bundle
        .set("/process/selinuxLabel", json!("unlabeled"))
        .sh(look);
    env.run(&bundle).ok().prints("unlabeled");
    bundle.args(&["sleep", "1000"]);
    let id = env.start(&bundle);
    env.exec(&id, &["sh", "-c", look]).ok().prints("unlabeled");
    let exec = env.orlop(&["exec", "--process-label", "kernel", &id, "sh", "-c", look]);
    exec.run().ok().prints("kernel");
    env.orlop(&["delete", "--force", &id]).run().ok();
}

/// A kernel without a policy takes no label for a mount, so it is the plan that is looked at.
#[test]
fn an_annotation_says_which_label_new_file_systems_get() {
    let env = Env::new();
    for (kind, wanted) in [(None, "context"), (Some("fscontext"), "fscontext")] {
        let mut bundle = env.bundle();
        bundle.set(
            "/linux/mountLabel",
            json!("system_u:object_r:container_file_t:s0"),
        );
        if let Some(kind) = kind {
            bundle.set("/annotations", json!({"run.oci.mount_context_type": kind}));
        }
        bundle.write();
        let plan = env
            .orlop(&["plan", "--json"])
            .arg(&bundle.dir)
            .run()
            .ok()
            .stdout();
        let on = Path::new("/sys/fs/selinux").exists();
        let found = plan.contains(&format!("\"key\": \"{wanted}\""));
        assert_eq!(
            found, on,
            "a label where SELinux is on, and none where it is off\n{plan}"
        );
    }
}

/// What the kernel knows under another name only is not what was asked for.
#[test]
fn a_label_that_the_kernel_turns_into_another_is_refused() {
    if !has_bare_selinux() {
        return skip(
            "a label that is not known",
            "SELinux is off, or has a policy of its own",
        );
    }
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["true"]).set(
        "/process/selinuxLabel",
        json!("system_u:system_r:container_t:s0:c1,c2"),
    );
    let done = env.run(&bundle);
    done.refused(
        1,
        &[
            "container_t",
            "`/proc/self/attr/",
            "reads back as \"kernel\"",
        ],
    );
}

#[test]
fn names_of_more_than_one_line_are_refused() {
    let env = Env::new();
    for field in ["apparmorProfile", "selinuxLabel"] {
        let mut bundle = env.bundle();
        bundle
            .args(&["true"])
            .set(&format!("/process/{field}"), json!("a\nb"));
        env.run(&bundle)
            .refused(1, &[&format!("process.{field}"), "line"]);
    }
}
