//! Layouts from the texts of mountinfo and cgroup of different hosts.

use cgroup::{Hierarchy, Kind, Layout};

/// Prints a layout as `name mount own`, one hierarchy per line.
fn show(layout: &Layout) -> String {
    let line = |h: &Hierarchy| {
        format!(
            "{} {} {:?}",
            h.name,
            h.mount.display(),
            h.own.display().to_string()
        )
    };
    let lines: Vec<String> = layout.v1.iter().chain(&layout.unified).map(line).collect();
    lines.join("\n")
}

fn check(mountinfo: &str, own: &str, kind: Kind, expected: &[&str]) {
    let layout = Layout::parse(mountinfo, own);
    assert_eq!(show(&layout), expected.join("\n"));
    assert_eq!(layout.kind(), kind, "{expected:?}");
}

#[test]
fn hybrid_with_one_controller_per_hierarchy() {
    let mountinfo = "\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    let own = "9:name=systemd:/\n4:memory:/group/own\n2:cpuacct:/\n1:cpu:/\n0::/\n";
    let expected = [
        "cpu /sys/fs/cgroup/cpu \"\"",
        "cpuacct /sys/fs/cgroup/cpuacct \"\"",
        "memory /sys/fs/cgroup/memory \"group/own\"",
        "name=systemd /sys/fs/cgroup/systemd \"\"",
        "unified /sys/fs/cgroup/unified \"\"",
    ];
    check(mountinfo, own, Kind::Hybrid, &expected);
}

#[test]
fn co_mounted_twice_and_behind_a_space() {
    let mountinfo = "\
1 0 8:1 / / rw - ext4 /dev/sda rw
2 1 0:28 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
3 2 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
4 2 0:29 / /sys/fs/cgroup/cpu rw shared:11 - cgroup cgroup rw,cpu,cpuacct
5 2 0:30 /docker/1 /odd\\040place rw - cgroup cgroup rw,net_cls,net_prio
6 1 0:30 / /cg/net rw master:3 propagate_from:2 - cgroup cgroup rw,net_cls,net_prio
7 2 0:31 / /odd\\040freezer rw - cgroup cgroup rw,freezer";
    let own = "12:net_cls,net_prio:/docker/1\n11:freezer:/\n10:perf_event:/\n3:cpu,cpuacct:/x\n";
    let expected = [
        "cpu,cpuacct /sys/fs/cgroup/cpu,cpuacct \"x\"",
        "freezer /odd freezer \"\"",
        "net_cls,net_prio /cg/net \"docker/1\"",
    ];
    check(mountinfo, own, Kind::V1, &expected);
}

#[test]
fn inside_a_container_without_a_cgroup_namespace() {
    let mountinfo = "\
1 0 0:50 / / rw - overlay overlay rw
2 1 0:29 /docker/abc /sys/fs/cgroup/memory ro master:10 - cgroup cgroup rw,memory
3 1 0:33 /docker/other /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids";
    let own = "5:pids:/docker/abc\n4:memory:/docker/abc/inner\n0::/docker/abc\n";
    let expected = [
        "memory /sys/fs/cgroup/memory \"inner\"",
        "pids /sys/fs/cgroup/pids \"\"",
    ];
    check(mountinfo, own, Kind::V1, &expected);
}

#[test]
fn outside_of_the_cgroup_namespace_nothing_leads_above_the_mount() {
    let mountinfo =
        "1 0 0:50 / / rw - overlay overlay rw\n2 1 0:29 / /c/memory rw - cgroup cgroup rw,memory";
    check(
        mountinfo,
        "4:memory:/../../x\n",
        Kind::V1,
        &["memory /c/memory \"\""],
    );
}

#[test]
fn covered_mounts_do_not_count() {
    let old = "\
1 0 0:50 / / rw - ext4 /dev/sda rw
2 1 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
3 2 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
4 2 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids";
    let own = "5:pids:/\n4:memory:/\n";
    let covered = format!(
        "{old}\n9 2 0:70 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n10 9 0:30 / /sys/fs/cgroup/p rw - cgroup cgroup rw,pids"
    );
    check(&covered, own, Kind::V1, &["pids /sys/fs/cgroup/p \"\""]);
    let covered = format!("{old}\n9 3 0:70 / /sys/fs/cgroup/memory rw - tmpfs tmpfs rw");
    check(&covered, own, Kind::V1, &["pids /sys/fs/cgroup/pids \"\""]);
    let behind_all = format!("{old}\n9 1 0:70 / /sys rw - tmpfs tmpfs rw");
    check(&behind_all, own, Kind::None, &[]);
    let over_the_root = format!("{old}\n9 1 0:70 / / rw - tmpfs tmpfs rw");
    check(
        &over_the_root,
        "5:pids:/\n",
        Kind::V1,
        &["pids /sys/fs/cgroup/pids \"\""],
    );
}

#[test]
fn pure_v2_and_nothing() {
    let v2 = "1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate";
    check(
        v2,
        "0::/user.slice/a\n",
        Kind::V2,
        &["unified /sys/fs/cgroup \"user.slice/a\""],
    );
    let named = format!("{v2}\n3 1 0:40 / /n rw - cgroup none rw,name=systemd");
    let both = ["name=systemd /n \"\"", "unified /sys/fs/cgroup \"\""];
    check(&named, "1:name=systemd:/\n0::/\n", Kind::V2, &both);
    check(
        "1 0 8:1 / / rw - ext4 /dev/sda rw",
        "4:memory:/\n0::/\n",
        Kind::None,
        &[],
    );
    check("", "", Kind::None, &[]);
    check("rubbish\n1 2\n- - - -", "x\n:::\n5:a", Kind::None, &[]);
}
