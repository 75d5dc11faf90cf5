//! A bundle: a root file system from busybox and a config.json that a test edits before it is written.

use crate::Must;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// What the scripts of the tests call; busybox itself knows more.
const APPLETS: &str = "sh cat ls id stat mount umount mkdir rmdir rm touch ln mv cp mknod mkfifo sleep true false kill ps tr grep sed \
    head tail cut sort wc env hostname ulimit readlink dd df date echo printf test seq uname stty tty id whoami nc chmod chown \
    sync awk find xargs dmesg sysctl setsid nsenter unshare";

/// A directory with `rootfs/` and `config.json`.
#[derive(Debug)]
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
}

/// Copies a program that is to be executed.
///
/// Another program does it: a descriptor of our own that writes would reach the processes that other tests start meanwhile, and
/// what is open for writing cannot be executed.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg(from).arg(to).status();
    assert!(copied.must("cp").success(), "copy {}", from.display());
}

impl Bundle {
    /// Makes a bundle in `dir`, which must not exist; the config is `spec()`, marked with the environment variable `mark`.
    pub fn make(dir: PathBuf, mark: &str) -> Self {
        let root = dir.join("rootfs");
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "home"] {
            fs::create_dir_all(root.join(name)).must(root.display());
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        copy_program(
            Path::new(busybox.must("busybox (package busybox-static)")),
            &root.join("bin/busybox"),
        );
        for applet in APPLETS.split_whitespace() {
            if !root.join("bin").join(applet).exists() {
                symlink("busybox", root.join("bin").join(applet)).must(applet);
            }
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n",
        )
        .must("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").must("group");
        let mut config = spec();
        config["process"]["env"]
            .as_array_mut()
            .must("process.env")
            .push(json!(mark));
        Self { dir, config }
    }

    /// The root file system on the host.
    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// Sets the value at a JSON pointer; absent objects on the way are made, `-` appends to an array.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut place = &mut self.config;
        for key in pointer.split('/').skip(1) {
            place = step(place, key);
        }
        *place = value;
        self
    }

    /// Removes the key at a JSON pointer.
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').must(pointer);
        let parent = self
            .config
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .must(pointer);
        parent.remove(key).must(pointer);
        self
    }

    /// Runs `args` as the container's process.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }

    /// Runs a shell script as the container's process.
    pub fn sh(&mut self, script: &str) -> &mut Self {
        self.args(&["sh", "-c", script])
    }

    /// Adds a mount.
    pub fn mount(
        &mut self,
        destination: &str,
        kind: &str,
        source: impl AsRef<Path>,
        options: &[&str],
    ) -> &mut Self {
        let source = source.as_ref();
        self.set(
            "/mounts/-",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }

    /// Adds a namespace, or replaces the one of this type when `path` is given.
    pub fn namespace(&mut self, kind: &str, path: Option<&str>) -> &mut Self {
        self.without_namespace(kind);
        let entry = path.map_or_else(
            || json!({"type": kind}),
            |path| json!({"type": kind, "path": path}),
        );
        self.set("/linux/namespaces/-", entry)
    }

    /// Removes a namespace.
    pub fn without_namespace(&mut self, kind: &str) -> &mut Self {
        let list = self.config["linux"]["namespaces"]
            .as_array_mut()
            .must("linux.namespaces");
        list.retain(|entry| entry["type"] != kind);
        self
    }

    /// Gives all five capability sets the same content.
    pub fn capabilities(&mut self, names: &[&str]) -> &mut Self {
        for set in [
            "bounding",
            "effective",
            "inheritable",
            "permitted",
            "ambient",
        ] {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
        self
    }

    /// Writes config.json.
    pub fn write(&self) {
        let text = serde_json::to_string_pretty(&self.config).must("config.json");
        fs::write(self.dir.join("config.json"), text).must("config.json");
    }
}

/// Goes one step of a JSON pointer down; what is absent is made, and `-` is a new element at the end of an array.
fn step<'a>(place: &'a mut Value, key: &str) -> &'a mut Value {
    if place.is_null() {
        *place = if key == "-" { json!([]) } else { json!({}) };
    }
    let Value::Array(list) = place else {
        return &mut place[key];
    };
    if key == "-" {
        list.push(Value::Null);
    }
    let index = key.parse().unwrap_or(list.len() - 1);
    list.get_mut(index).must(key)
}

/// Returns the config that `spec` writes, but without a terminal.
pub fn spec() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "orlop",
        "mounts": spec_mounts(),
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        }
    })
}

fn spec_mounts() -> Value {
    let entry = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        entry("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        entry("/dev/pts", "devpts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        entry("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        entry("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        entry("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        entry("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ])
}
