//! The verbs, from a container's creation to its end.

use crate::{Map, User};
use orlop_tests::{ConsoleSocket, Must, until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn every_verb_of_a_container_with_the_own_id_alone() {
    if let Some(user) = User::new("life, own id") {
        whole_life(&user, Map::Single);
    }
}

#[test]
fn every_verb_of_a_container_with_ranges() {
    if let Some(user) = User::new("life, ranges") {
        whole_life(&user, Map::Ranges);
    }
}

fn whole_life(user: &User, map: Map) {
    let mut bundle = user.bundle();
    user.map(&mut bundle, map);
    bundle.set("/root/readonly", json!(false));
    bundle.sh("id -u; echo made > /tmp/file; exec sleep 600");
    let id = user.create(&bundle);
    assert_eq!(user.state(&id)["status"], "created");
    assert_eq!(User::mode(&user.state_root()), (user.uid, 0o1700));
    let dir = user.state_root().join(&id);
    assert_eq!(User::mode(&dir), (user.uid, 0o711));
    assert_eq!(User::mode(&dir.join("state.json")), (user.uid, 0o600));
    user.orlop(&["start", &id]).run().ok();
    let pid = user.pid(&id);
    assert_eq!(User::owner_of(pid), user.uid);
    assert_eq!(user.state(&id)["owner"], format!("ot{}", user.uid));

    let exec = |args: &[&str]| user.orlop(&["exec", &id]).args(args).run();
    exec(&["id", "-u"]).ok().prints("0");
    until("a file", || {
        (exec(&["cat", "/tmp/file"]).rc == 0).then_some(())
    });
    exec(&["sh", "-c", "exit 7"]).exits(7);
    let made = bundle.rootfs().join("tmp/file");
    assert_eq!(fs::metadata(&made).must("the file").uid(), user.uid);
    let listed = user.orlop(&["list", "-q"]).run().ok().stdout();
    assert!(listed.lines().any(|line| line == id), "{listed}");
    let pids = user
        .orlop(&["ps", "--format", "json", &id])
        .run()
        .ok()
        .json();
    assert_eq!(pids, json!([pid]));
    user.orlop(&["kill", &id, "0"]).run().ok();
    user.orlop(&["delete", &id])
        .run()
        .refused(1, &["not stopped: running"]);
    user.orlop(&["kill", &id, "KILL"]).run().ok();
    user.reaches(&id, "stopped");
    user.orlop(&["delete", &id]).run().ok();
    assert!(!dir.exists());
}

#[test]
fn run_passes_the_exit_code_on_and_force_deletes_what_runs() {
    let Some(user) = User::new("run") else { return };
    let mut bundle = user.bundle();
    bundle.sh("echo out; exit 5");
    user.run(&bundle).exits(5).prints("out");
    bundle.args(&["sleep", "600"]);
    let id = user.start(&bundle);
    user.orlop(&["delete", "--force", &id]).run().ok();
    assert!(!user.state_root().join(&id).exists());
}

#[test]
fn other_users_of_the_container_are_others_on_the_host() {
    let Some(user) = User::new("other users") else {
        return;
    };
    let mut bundle = user.bundle();
    user.map(&mut bundle, Map::Ranges);
    bundle.set(
        "/process/user",
        json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 1002]}),
    );
    bundle.args(&["sleep", "600"]);
    let id = user.start(&bundle);
    assert_eq!(User::owner_of(user.pid(&id)), user.range.0 + 999);
    user.orlop(&["exec", &id, "id"])
        .run()
        .ok()
        .prints("uid=1000(user) gid=1001 groups=7,1002");
    user.orlop(&["exec", "--user", "5:6", "-g", "8", &id, "id"])
        .run()
        .ok()
        .prints("uid=5 gid=6 groups=7,8,1002");
    // It belongs to another user of the host; whoever made its user namespace may signal it all the same.
    user.orlop(&["kill", &id, "KILL"]).run().ok();
    user.reaches(&id, "stopped");
}

#[test]
fn a_bundle_of_spec_runs_at_once() {
    let Some(user) = User::new("spec") else {
        return;
    };
    let mut bundle = user.env.bundle();
    user.give(&bundle.dir);
    let at = bundle.dir.to_str().must("a plain path").to_owned();
    user.orlop(&["spec", "--rootless", "--bundle", &at])
        .run()
        .ok();
    let config: Value =
        serde_json::from_slice(&fs::read(bundle.dir.join("config.json")).must("config.json"))
            .must("JSON");
    assert_eq!(config["linux"]["uidMappings"][0]["hostID"], user.uid);
    bundle.config = config;
    let mark = format!("ORLOP_TEST={}", user.env.tag);
    bundle
        .set("/process/env/-", json!(mark))
        .set("/process/terminal", json!(false));
    bundle.sh("id -u; cat /proc/sys/kernel/hostname");
    let done = user.run(&bundle).ok().prints("0\norlop");
    // Nothing but what no user has: the cgroups of this machine.
    assert!(done.stderr().lines().count() <= 1, "{done}");
}

#[test]
fn a_configuration_without_a_user_namespace_gets_one() {
    let Some(user) = User::new("automatic") else {
        return;
    };
    let mut bundle = user.env.bundle();
    user.give(&bundle.dir);
    bundle.sh("id -u; cat /proc/self/uid_map");
    let done = user.run(&bundle).ok();
    assert!(done.stdout().starts_with("0\n"), "{done}");
    let map: Vec<String> = done
        .stdout()
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect();
    assert_eq!(map, ["0", &user.uid.to_string(), "1"]);
    for part in [
        "linux.namespaces",
        "one is made",
        "gid=5 is no id of the container",
    ] {
        assert!(done.stderr().contains(part), "{part}\n{done}");
    }
}

#[test]
fn a_terminal_goes_to_the_console_socket_or_stays_here() {
    let Some(user) = User::new("terminal") else {
        return;
    };
    let mut bundle = user.bundle();
    bundle.set("/process/terminal", json!(true));
    bundle.sh("tty; exec sleep 600").write();
    let socket = ConsoleSocket::listen(user.env.dir.join("console"));
    user.give(&socket.path);
    let id = user.env.id();
    let path = socket.path.to_str().must("a plain path");
    user.orlop(&["create", "--console-socket", path, "--bundle"])
        .arg(&bundle.dir)
        .arg(&id)
        .run()
        .ok();
    let (name, master) = socket.receive();
    assert_eq!(name, b"/dev/ptmx");
    user.orlop(&["start", &id]).run().ok();
    let mut said = String::new();
    let mut master = fs::File::from(master);
    while !said.contains('\n') {
        let mut buffer = [0; 64];
        let length = std::io::Read::read(&mut master, &mut buffer).must("the terminal");
        said += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(said.starts_with("/dev/"), "{said:?}");
    user.orlop(&["exec", "--tty", "--console-socket", path, "-d", &id, "true"])
        .run()
        .ok();
    socket.receive();
}

#[test]
fn descriptors_sockets_files_and_hooks_are_as_root_has_them() {
    let Some(user) = User::new("descriptors") else {
        return;
    };
    let mut bundle = user.bundle();
    let own = user.env.dir.join("own");
    let hook = |name: &str| {
        let said = own.join(name);
        json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("id -u > {}", said.display())]}])
    };
    for name in ["createRuntime", "createContainer", "poststart", "poststop"] {
        bundle.set(&format!("/hooks/{name}"), hook(name));
    }
    bundle.sh("cat <&3; exec sleep 600").write();
    let socket = ConsoleSocket::listen(user.env.dir.join("pidfd"));
    user.give(&socket.path);
    let id = user.env.id();
    let given = fs::File::open("/etc/hostname").must("a file");
    let pid_file = own.join("pid");
    let create = user.orlop(&["create", "--preserve-fds", "1", "--pidfd-socket"]);
    let create = create
        .arg(&socket.path)
        .arg("--pid-file")
        .arg(&pid_file)
        .arg("--bundle");
    create
        .arg(&bundle.dir)
        .arg(&id)
        .with(|command| orlop_tests::sys::give_fd(command, given, 3))
        .run()
        .ok();
    socket.receive();
    user.orlop(&["start", &id]).run().ok();
    let pid = user.pid(&id);
    assert_eq!(
        fs::read_to_string(&pid_file).must("pid file"),
        pid.to_string()
    );
    user.orlop(&["delete", "--force", &id]).run().ok();
    let said = |name: &str| fs::read_to_string(own.join(name)).must(name);
    // Those of the runtime namespace run as the user, the container's as its root.
    assert_eq!(said("createRuntime").trim(), user.uid.to_string());
    assert_eq!(said("createContainer").trim(), "0");
    assert_eq!(said("poststart").trim(), user.uid.to_string());
    assert_eq!(said("poststop").trim(), user.uid.to_string());
}
