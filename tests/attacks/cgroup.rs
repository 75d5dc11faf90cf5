//! The cgroup tree that a container sees (CVE-2023-25809).

use orlop_tests::Env;
use serde_json::json;

#[test]
fn cve_2023_25809_without_a_cgroup_namespace_the_tree_is_read_only() {
    let env = Env::new();
    let mut bundle = env.bundle();
    // Root inside is root outside: only the mount stands between it and the limits.
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    bundle
        .namespace("user", None)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .set(
            "/mounts/6/options",
            json!(["nosuid", "noexec", "nodev", "rw"]),
        )
        .sh("for file in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do \
               test -e $file || continue; seen=yes; mkdir ${file%cgroup.procs}new 2>/dev/null && echo $file; \
             done; echo seen: $seen");
    env.run(&bundle).ok().prints("seen: yes");
}
