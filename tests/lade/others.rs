//! Other people's programs on the same images: skopeo, umoci, podman, docker.

use orlop_tests::{Cmd, Done, Lade, Must, soon};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `skopeo copy` between two places, without signatures and TLS.
#[track_caller]
pub(crate) fn skopeo(lade: &Lade, from: &str, to: &str) -> Done {
    let args = [
        "--insecure-policy",
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        from,
        to,
    ];
    lade.other("skopeo").args(args).run().ok()
}

/// Prepares podman with a store of the test's own; its mounts go with its process.
pub(crate) fn podman(lade: &Lade) -> Cmd {
    let place = lade.env.dir.join("podman");
    fs::create_dir_all(&place).must(place.display());
    let conf = place.join("containers.conf");
    let networks = place.join("networks");
    let text = format!(
        "[containers]\ndefault_ulimits=[\"nofile=1024:1024\",\"nproc=4096:4096\"]\n[engine]\ncgroup_manager=\"cgroupfs\"\nevents_logger=\"file\"\n[network]\nnetwork_config_dir={networks:?}\n"
    );
    fs::write(&conf, text).must(conf.display());
    let root = |name: &str| place.join(name);
    lade.other("unshare")
        .env("CONTAINERS_CONF", &conf)
        .args([
            "--mount",
            "--propagation",
            "private",
            "podman",
            "--storage-driver",
            "vfs",
        ])
        .arg("--root")
        .arg(root("root"))
        .arg("--runroot")
        .arg(root("run"))
        .arg("--tmpdir")
        .arg(root("tmp"))
}

/// A docker daemon of the test's own, until it is dropped.
pub(crate) struct Docker {
    daemon: Child,
    socket: String,
    log: PathBuf,
}

impl Docker {
    /// Starts it, without a network; None, and says so, where there is none or where it does not start.
    pub(crate) fn start(lade: &Lade, case: &str) -> Option<Self> {
        let place = lade.env.dir.join("docker");
        fs::create_dir_all(&place).must(place.display());
        fs::write(place.join("daemon.json"), "{}").must("daemon.json");
        let at = |name: &str| format!("{}/{name}", place.display());
        let socket = format!("unix://{}", at("s"));
        let log = place.join("log");
        let file = fs::File::create(&log).must(log.display());
        let daemon = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "dockerd"])
            .args([
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("exec"),
                "--pidfile",
                &at("pid"),
            ])
            .args(["--config-file", &at("daemon.json"), "--host", &socket])
            .args([
                "--bridge",
                "none",
                "--iptables=false",
                "--ip-masq=false",
                "--storage-driver",
                "overlay2",
            ])
            .env("ORLOP_TEST", &lade.env.tag)
            .stdin(Stdio::null())
            .stdout(file.try_clone().must("the log"))
            .stderr(file)
            .spawn();
        let Ok(daemon) = daemon else {
            orlop_tests::skip(case, "no dockerd");
            return None;
        };
        let mut docker = Self {
            daemon,
            socket,
            log,
        };
        let answers = soon(Duration::from_secs(30), || {
            if docker.daemon.try_wait().must("its state").is_some() {
                return Some(false);
            }
            (docker.cmd(lade, &["version"]).run().rc == 0).then_some(true)
        });
        if answers == Some(true) {
            return Some(docker);
        }
        let log = fs::read_to_string(&docker.log).unwrap_or_default();
        orlop_tests::skip(
            case,
            &format!(
                "dockerd does not start: {}",
                log.lines().last().unwrap_or_default()
            ),
        );
        None
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> &std::path::Path {
        self.socket.trim_start_matches("unix://").as_ref()
    }

    pub(crate) fn cmd(&self, lade: &Lade, args: &[&str]) -> Cmd {
        let client = if std::path::Path::new("/usr/bin/docker").exists() {
            "/usr/bin/docker"
        } else {
            "docker"
        };
        lade.other(client).args(["--host", &self.socket]).args(args)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It stops its containerd by itself when it is asked to end.
        if let Ok(pid) = i32::try_from(self.daemon.id()) {
            orlop_tests::sys::kill(pid, libc::SIGTERM).unwrap_or_default();
        }
        let ended = soon(Duration::from_secs(20), || {
            self.daemon.try_wait().ok().flatten()
        });
        if ended.is_none() {
            self.daemon.kill().unwrap_or_default();
            self.daemon.wait().map(drop).unwrap_or_default();
        }
    }
}
