//! Controllers that this host may have mounted nowhere, or on cgroup v2: hugetlb, net_cls, net_prio.

use std::process::Command;
use std::sync::Mutex;

use cgroup::Layout;

use crate::{Case, read, skip};

/// hugetlb is in one hierarchy at a time.
pub(crate) static HUGETLB: Mutex<()> = Mutex::new(());

/// Tells the copy of this program that runs in the private mount namespace that it is the one.
const INSIDE: &str = "ORLOP_TEST_PRIVATE_MOUNTS";

/// Runs a program with the hierarchies mounted, and gives the controllers back afterwards: a hierarchy whose last mount goes while
/// the kernel still buries a cgroup in it stays for ever, until it is mounted and unmounted once more.
const SCRIPT: &str = r#"
    mount --make-rprivate / && mount -t tmpfs none /mnt || exit 77
    free=$(awk '$2 == 0 { print $1 }' /proc/cgroups)
    for c in hugetlb net_cls net_prio; do mkdir /mnt/$c; mount -t cgroup -o $c none /mnt/$c || exit 77; done
    "$@"; code=$?
    for c in hugetlb net_cls net_prio; do
        umount /mnt/$c
        case " "$free" " in *$c*) ;; *) continue ;; esac
        for try in 1 2 3 4 5 6 7 8 9 10; do
            awk -v c=$c '$1 == c && $2 != 0 && $3 == 1 { used = 1 } END { exit !used }' /proc/cgroups || break
            sleep 0.05; mount -t cgroup -o $c none /mnt/$c && umount /mnt/$c
        done
    done
    exit $code"#;

const RESOURCES: &str = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],
    "network":{"classID":1048577,"priorities":[{"name":"lo","priority":3}]}}"#;

#[test]
fn hugetlb_and_networks_on_v1() {
    if std::env::var_os(INSIDE).is_some() {
        let case = Case::new("private", RESOURCES).expect("root, and v1");
        assert_eq!(
            case.read("hugetlb", "hugetlb.2MB.limit_in_bytes"),
            "4194304"
        );
        assert_eq!(
            case.read("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes"),
            "4194304"
        );
        assert_eq!(case.read("net_cls", "net_cls.classid"), "1048577");
        assert!(case.read("net_prio", "net_prio.ifpriomap").contains("lo 3"));
        return;
    }
    let _alone = HUGETLB.lock().expect("no panic before");
    let program = std::env::current_exe().expect("this test");
    let mut command = Command::new("unshare");
    command
        .args(["-m", "/bin/sh", "-c", SCRIPT, "sh"])
        .arg(program)
        .env(INSIDE, "1");
    command.args([
        "--exact",
        "private::hugetlb_and_networks_on_v1",
        "--nocapture",
    ]);
    let output = match command.output() {
        Ok(output) if output.status.code() != Some(77) => output,
        other => {
            return skip::<()>(
                "private",
                &format!("cannot mount the hierarchies: {other:?}"),
            )
            .unwrap_or_default();
        }
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn hugetlb_on_v2_beside_v1() {
    let _alone = HUGETLB.lock().expect("no panic before");
    let unified = Layout::probe()
        .expect("proc")
        .unified
        .filter(|u| u.controllers.iter().any(|c| c == "hugetlb"));
    let Some(unified) = unified else {
        return skip::<()>("hybrid", "hugetlb is not on cgroup v2 here").unwrap_or_default();
    };
    let control = unified.mount.join("cgroup.subtree_control");
    let before = read(&control);
    {
        let resources = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}],"unified":{"cgroup.max.depth":"3"}}"#;
        let Some(case) = Case::new("hybrid", resources) else {
            return;
        };
        assert_eq!(case.read("unified", "hugetlb.2MB.max"), "4194304");
        assert_eq!(case.read("unified", "hugetlb.2MB.rsvd.max"), "4194304");
        assert_eq!(case.read("unified", "cgroup.max.depth"), "3");
        let mut child = case.shell("exec sleep 100");
        case.cgroup.kill_all(9).expect("kill");
        child.wait().expect("ours");
    }
    if !before.contains("hugetlb") {
        std::fs::write(&control, "-hugetlb").expect("as it was before");
    }
}
