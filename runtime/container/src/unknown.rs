//! Properties of a configuration that nothing reads.
//!
//! The specification wants them passed over, so that one configuration serves newer runtimes and older ones. A name that is spelled wrongly
//! is one too, and for that whoever asks for the plan is told of them.

use serde_json::{Map, Value};

/// Returns the JSON paths of those properties of `given` that it no longer has as it was read.
pub(crate) fn properties(given: &Value, read: &Value) -> Vec<String> {
    let mut found = Vec::new();
    find(given, read, "", &mut found);
    found
}

fn find(given: &Value, read: &Value, at: &str, found: &mut Vec<String>) {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => fields(given, read, at, found),
        // What is read as a set has no order, and no properties.
        (Value::Array(given), Value::Array(read)) if given.len() == read.len() => {
            for (index, (given, read)) in given.iter().zip(read).enumerate() {
                find(given, read, &format!("{at}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn fields(
    given: &Map<String, Value>,
    read: &Map<String, Value>,
    at: &str,
    found: &mut Vec<String>,
) {
    let dot = if at.is_empty() { "" } else { "." };
    for (name, value) in given {
        let here = format!("{at}{dot}{}", name.escape_default());
        match read.get(name) {
            Some(read) => find(value, read, &here, found),
            // As good as absent; the one empty list that what reads it takes for that.
            None if value.is_null() || here == "linux.intelRdt.schemata" => {}
            None => found.push(here),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::properties;
    use oci_spec::runtime::Spec;
    use serde_json::{Value, json};

    fn check(given: &Value, want: &[&str]) {
        let spec: Spec = serde_json::from_value(given.clone()).unwrap();
        let read = serde_json::to_value(spec).unwrap();
        assert_eq!(properties(given, &read), want, "{given}");
    }

    fn process() -> Value {
        let capabilities = json!(["CAP_KILL", "CAP_CHOWN"]);
        json!({
            "terminal": true, "consoleSize": {"height": 1, "width": 1}, "cwd": "/", "env": ["A=b"], "args": ["x"],
            "user": {"uid": 0, "gid": 0, "umask": 18, "additionalGids": [1]},
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "inheritable": capabilities, "permitted": capabilities, "ambient": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 1, "soft": 1}],
            "noNewPrivileges": true, "apparmorProfile": "p", "selinuxLabel": "l", "oomScoreAdj": 1,
            "scheduler": {"policy": "SCHED_OTHER", "nice": 1, "priority": 0, "runtime": 0, "deadline": 0, "period": 0},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 1},
            "execCPUAffinity": {"initial": "0", "final": "0"},
        })
    }

    #[test]
    fn every_property_of_the_specification_is_known() {
        let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
        let hook = json!([{"path": "/h", "args": ["h"], "env": ["A=b"], "timeout": 1}]);
        let throttle = json!([{"major": 8, "minor": 0, "rate": 1}]);
        let resources = json!({
            "devices": [{"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"}],
            "memory": {
                "limit": 1, "reservation": 1, "swap": 1, "kernel": 1, "kernelTCP": 1, "swappiness": 1, "disableOOMKiller": true,
                "useHierarchy": true, "checkBeforeUpdate": true,
            },
            "cpu": {
                "shares": 1, "quota": 1, "period": 1, "burst": 1, "realtimeRuntime": 1, "realtimePeriod": 1, "cpus": "0", "mems": "0", "idle": 1,
            },
            "blockIO": {
                "weight": 10, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}],
                "throttleReadBpsDevice": throttle, "throttleWriteBpsDevice": throttle,
                "throttleReadIOPSDevice": throttle, "throttleWriteIOPSDevice": throttle,
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "network": {"classID": 1, "priorities": [{"name": "lo", "priority": 1}]},
            "pids": {"limit": 1},
            "rdma": {"mlx5_1": {"hcaHandles": 1, "hcaObjects": 1}},
            "unified": {"memory.high": "1"},
        });
        let seccomp = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/l", "listenerMetadata": "m",
            "syscalls": [{
                "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"}],
            }],
        });
        let linux = json!({
            "devices": [{"type": "c", "path": "/d", "major": 1, "minor": 3, "fileMode": 438, "uid": 0, "gid": 0}],
            "uidMappings": map, "gidMappings": map, "sysctl": {"a.b": "1"}, "cgroupsPath": "/c",
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/n"}],
            "netDevices": {"eth0": {"name": "eth1"}}, "resources": resources, "seccomp": seccomp,
            "rootfsPropagation": "private", "maskedPaths": ["/m"], "readonlyPaths": ["/r"], "mountLabel": "l",
            "intelRdt": {
                "closID": "c", "schemata": [], "l3CacheSchema": "L3:0=1", "memBwSchema": "MB:0=1", "enableMonitoring": true,
            },
            "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            "personality": {"domain": "LINUX"},
            "timeOffsets": {"monotonic": {"secs": 1, "nanosecs": 1}},
        });
        let whole = json!({
            "ociVersion": "1.3.0", "hostname": "h", "domainname": "d", "annotations": {"a.b": "c"},
            "root": {"path": "r", "readonly": true}, "process": process(), "linux": linux,
            "mounts": [{"destination": "/m", "type": "t", "source": "s", "options": ["ro"], "uidMappings": map, "gidMappings": map}],
            "hooks": {
                "prestart": hook, "createRuntime": hook, "createContainer": hook, "startContainer": hook, "poststart": hook, "poststop": hook,
            },
        });
        check(&whole, &[]);
    }

    #[test]
    fn others_are_named_by_their_path() {
        let given = json!({
            "ociVersion": "1.3.0",
            "proces": {},
            "mounts": [{"destination": "/a"}, {"destination": "/b", "opts": []}],
            "linux": {"pids": null, "resources": {"memory": {"Limit": 1}}, "a\u{1b}": 1},
        });
        let want = [
            "proces",
            "mounts[1].opts",
            "linux.resources.memory.Limit",
            "linux.a\\u{1b}",
        ];
        let mut want = want.map(String::from).to_vec();
        let spec: Spec = serde_json::from_value(given.clone()).unwrap();
        let mut found = properties(&given, &serde_json::to_value(spec).unwrap());
        want.sort();
        found.sort();
        assert_eq!(found, want);
    }
}
