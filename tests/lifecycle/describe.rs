//! The verbs that only tell: list, ps, spec, features, plan and version.

use orlop_tests::{Env, Must, spec, sys, until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

#[test]
fn list_shows_containers_of_every_status() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.args(&["sleep", "100"]);
    let (a, b) = (env.create(&bundle), env.start(&bundle));
    bundle.args(&["true"]);
    let c = env.start(&bundle);
    env.reaches(&c, "stopped");

    let table = env.orlop(&["list"]).run().ok().stdout();
    let header: Vec<&str> = table
        .lines()
        .next()
        .must("a header")
        .split_whitespace()
        .collect();
    assert_eq!(
        header,
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    let rows = env.orlop(&["list", "-f", "json"]).run().ok().json();
    let rows = rows.as_array().must("an array");
    for (id, status) in [(&a, "created"), (&b, "running"), (&c, "stopped")] {
        assert!(
            table
                .lines()
                .any(|line| line.starts_with(&format!("{id} ")) && line.contains(status)),
            "{id} {status}\n{table}"
        );
        let row = rows.iter().find(|row| row["id"] == **id).must(id);
        assert_eq!(row["status"], status);
        assert_eq!(row["bundle"], json!(bundle.dir));
        assert_eq!(row["owner"], "root");
        let pid = if status == "stopped" { 0 } else { env.pid(id) };
        assert_eq!(row["pid"], pid, "{row}");
        assert!(
            row["created"].is_string()
                && row["rootfs"].is_string()
                && row["ociVersion"].is_string(),
            "{row}"
        );
    }
    let mut quiet: Vec<String> = env
        .orlop(&["list", "--quiet"])
        .run()
        .ok()
        .stdout()
        .lines()
        .map(str::to_owned)
        .collect();
    quiet.sort();
    assert_eq!(quiet, [a, b, c]);
}

#[test]
fn list_of_nothing() {
    let env = Env::new();
    env.orlop(&["list"])
        .run()
        .refused(1, &[env.root.to_str().must("a path")]);
    fs::create_dir(&env.root).must("the root");
    let done = env.orlop(&["list", "--format", "json"]).run().ok();
    // With the end of its line, which `while read` of a shell wants.
    assert_eq!(done.stdout(), "null\n", "{done}");
    assert_eq!(
        env.orlop(&["list"]).run().ok().stdout().lines().count(),
        1,
        "the header alone"
    );
    // An absent default root is nothing to complain about: nobody has run a container yet.
    sys::mount("tmpfs", "/run", "tmpfs", 0, "").must("hide /run");
    env.cmd(orlop_tests::orlop())
        .args(["list", "-q"])
        .run()
        .ok()
        .prints("");
    sys::umount("/run").must("uncover /run");
}

#[test]
fn a_state_root_that_cannot_be_read_is_no_empty_one() {
    let env = Env::new();
    let closed = env.dir.join("closed");
    fs::create_dir(&closed).must("a directory");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).must("its mode");
    fs::set_permissions(&env.dir, fs::Permissions::from_mode(0o755)).must("its mode");
    let as_nobody = |args: &[&str]| {
        let command = env.cmd(orlop_tests::orlop()).args(args);
        command
            .env("XDG_RUNTIME_DIR", &closed)
            .with(|command| {
                command.uid(65534).gid(65534);
            })
            .run()
    };
    for args in [&["list"][..], &["list", "-q"], &["delete", "-r", "."]] {
        as_nobody(args).refused(
            1,
            &[
                "state root",
                "/closed/orlop: permission denied",
                "XDG_RUNTIME_DIR",
                "--root",
            ],
        );
    }
    // The default is root's, where it is there.
    sys::mount("tmpfs", "/run", "tmpfs", 0, "mode=755").must("hide /run");
    fs::create_dir("/run/orlop").must("a directory");
    for args in [&["list"][..], &["state", "x"]] {
        let command = env.cmd(orlop_tests::orlop()).args(args);
        let done = command.with(|command| {
            command.env_remove("XDG_RUNTIME_DIR").uid(65534).gid(65534);
        });
        done.run().refused(
            1,
            &["/run/orlop: belongs to user 0", "XDG_RUNTIME_DIR", "--root"],
        );
    }
    sys::umount("/run").must("uncover /run");
}

#[test]
fn ps_shows_host_pids() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle.sh("sleep 1000 & sleep 1000 & wait");
    let id = env.start(&bundle);
    let pids = until("three processes", || {
        let pids = env
            .orlop(&["ps", "--format", "json", &id])
            .run()
            .ok()
            .json();
        (pids.as_array().must("an array").len() == 3).then_some(pids)
    });
    assert!(
        pids.as_array()
            .must("an array")
            .contains(&json!(env.pid(&id))),
        "init is missing: {pids}"
    );
    let table = env.orlop(&["ps", &id]).run().ok().stdout();
    let header: Vec<&str> = table
        .lines()
        .next()
        .must("a header")
        .split_whitespace()
        .collect();
    let column = header
        .iter()
        .position(|name| *name == "PID")
        .must("a column PID");
    let mut shown: Vec<Value> = table
        .lines()
        .skip(1)
        .map(|line| {
            json!(
                line.split_whitespace()
                    .nth(column)
                    .and_then(|pid| pid.parse::<i64>().ok())
            )
        })
        .collect();
    let mut wanted = pids.as_array().must("an array").clone();
    shown.sort_by_key(Value::as_i64);
    wanted.sort_by_key(Value::as_i64);
    assert_eq!(shown, wanted, "{table}");
    let table = env
        .orlop(&["ps", &id, "-o", "pid,comm"])
        .run()
        .ok()
        .stdout();
    let header: Vec<&str> = table
        .lines()
        .next()
        .must("a header")
        .split_whitespace()
        .collect();
    assert_eq!(
        (header, table.lines().count()),
        (vec!["PID", "COMMAND"], 4),
        "ps options are passed on:\n{table}"
    );
}

#[test]
fn spec_writes_a_config_that_runs() {
    let env = Env::new();
    let bundle = env.bundle();
    env.orlop(&["spec"]).dir(&bundle.dir).run().ok();
    let path = bundle.dir.join("config.json");
    let text = fs::read_to_string(&path).must("config.json");
    let mut config: Value = serde_json::from_str(&text).must("config.json");
    assert_eq!(config["process"]["terminal"], true);
    assert_eq!(config["process"]["args"], json!(["sh"]));
    env.orlop(&["spec"])
        .dir(&bundle.dir)
        .run()
        .refused(1, &["config.json"]);
    assert_eq!(
        fs::read_to_string(&path).must("config.json"),
        text,
        "an existing config.json is overwritten"
    );

    for key in ["root", "linux"] {
        for (name, wanted) in spec()[key].as_object().must(key) {
            // Later kernels add masked paths and a cgroup namespace; what the classic config has must be there.
            let (have, wanted) = (&config[key][name], wanted);
            let all = wanted.as_array().is_none_or(|list| {
                list.iter()
                    .all(|entry| have.as_array().is_some_and(|have| have.contains(entry)))
            });
            assert!(
                if wanted.is_array() {
                    all
                } else {
                    have == wanted
                },
                "{key}.{name}: {have} lacks something of {wanted}"
            );
        }
    }
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["echo", "ran"]);
    fs::write(&path, config.to_string()).must("config.json");
    env.orlop(&["run", "--bundle"])
        .arg(&bundle.dir)
        .arg(env.id())
        .run()
        .ok()
        .prints("ran");
}

#[test]
fn spec_takes_a_bundle_and_a_rootless_form() {
    let env = Env::new();
    let bundle = env.bundle();
    env.orlop(&["spec", "--rootless", "--bundle"])
        .arg(&bundle.dir)
        .run()
        .ok();
    let text = fs::read_to_string(bundle.dir.join("config.json")).must("config.json");
    let config: Value = serde_json::from_str(&text).must("config.json");
    let namespaces = config["linux"]["namespaces"].as_array().must("namespaces");
    assert!(
        namespaces.contains(&json!({"type": "user"}))
            && !namespaces.contains(&json!({"type": "network"})),
        "{text}"
    );
    assert_eq!(
        config["linux"]["uidMappings"],
        json!([{"containerID": 0, "hostID": 0, "size": 1}])
    );
    assert!(
        config["linux"]["resources"].is_null(),
        "an ordinary user has no cgroup to write to: {text}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn features_need_no_root_directory_and_no_privilege() {
    let env = Env::new();
    let copy = env.dir.join("orlop");
    orlop_tests::copy_program(&orlop_tests::orlop(), &copy);
    let command = env.cmd(&copy).args(["--root", "/nosuch/root", "features"]);
    let command = command.with(|command| {
        command.env_clear().uid(65534).gid(65534);
    });
    let done = command.run().ok();
    assert_eq!(done.stderr(), "");
    let features = done.json();
    for key in [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ] {
        assert!(!features[key].is_null(), "{key} is missing\n{done}");
    }
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        assert!(
            features["hooks"]
                .as_array()
                .must("hooks")
                .contains(&json!(kind)),
            "{kind}"
        );
    }
    for kind in ["pid", "network", "mount", "ipc", "uts", "user", "cgroup"] {
        assert!(
            features["linux"]["namespaces"]
                .as_array()
                .must("namespaces")
                .contains(&json!(kind)),
            "{kind}"
        );
    }
    for option in ["ro", "rw", "rbind", "nosuid", "tmpcopyup", "rshared"] {
        assert!(
            features["mountOptions"]
                .as_array()
                .must("mountOptions")
                .contains(&json!(option)),
            "{option}"
        );
    }
    let linux = &features["linux"];
    assert_eq!(linux["cgroup"]["v1"], true, "{linux}");
    assert_eq!(linux["seccomp"]["enabled"], true, "{linux}");
    assert!(
        linux["capabilities"]
            .as_array()
            .must("capabilities")
            .contains(&json!("CAP_SYS_ADMIN")),
        "{linux}"
    );
    assert!(
        linux["seccomp"]["actions"]
            .as_array()
            .must("actions")
            .contains(&json!("SCMP_ACT_ERRNO")),
        "{linux}"
    );
    let flag = |name: &str| json!(format!("SECCOMP_FILTER_FLAG_{name}"));
    for key in ["knownFlags", "supportedFlags"] {
        // The kernels of the tests know them all.
        assert_eq!(
            linux["seccomp"][key],
            json!([
                flag("LOG"),
                flag("SPEC_ALLOW"),
                flag("TSYNC"),
                flag("WAIT_KILLABLE_RECV")
            ]),
            "{linux}"
        );
    }
    // containerd and Kubernetes act on these two: pods with user namespaces, and mounts that are read-only all the way down.
    assert_eq!(
        linux["mountExtensions"]["idmap"]["enabled"], true,
        "{linux}"
    );
    assert!(
        features["mountOptions"]
            .as_array()
            .must("mountOptions")
            .contains(&json!("rro")),
        "{features}"
    );
}

#[test]
fn version_names_the_program_it_is_called_as() {
    let env = Env::new();
    let link = env.dir.join("runc");
    symlink(orlop_tests::orlop(), &link).must("a link");
    let name = orlop_tests::orlop()
        .file_name()
        .must("a name")
        .to_string_lossy()
        .into_owned();
    for (program, name) in [(orlop_tests::orlop(), name.as_str()), (link, "runc")] {
        for flag in ["--version", "-v"] {
            let text = env.cmd(&program).arg(flag).run().ok().stdout();
            let first = text.lines().next().must("a line");
            assert!(first.starts_with(&format!("{name} version ")), "{text}");
            for start in ["spec: ", "commit: "] {
                assert!(text.lines().any(|line| line.starts_with(start)), "{text}");
            }
        }
    }
}

#[test]
fn as_runc_messages_and_root_are_runcs() {
    let env = Env::new();
    let link = env.dir.join("runc");
    symlink(orlop_tests::orlop(), &link).must("a link");
    sys::mount("tmpfs", "/run", "tmpfs", 0, "").must("a /run of the test's own");
    let mut bundle = env.bundle();
    bundle.args(&["nosuch"]).write();
    let dir = bundle.dir.clone();
    let run = |program: &std::path::Path, id: &str| {
        env.cmd(program)
            .args(["create", "--bundle"])
            .arg(&dir)
            .arg(id)
            .run()
    };
    let text = "runc create failed: unable to start container process: error during container init: exec: \"nosuch\": executable file not found in $PATH";
    run(&link, &env.id()).refused(1, &[text]);
    run(&orlop_tests::orlop(), &env.id()).refused(1, &["orlop create failed: "]);
    bundle.args(&["true"]).write();
    let id = env.id();
    for (program, root) in [(link, "/run/runc"), (orlop_tests::orlop(), "/run/orlop")] {
        run(&program, &id).ok();
        assert!(
            std::path::Path::new(root)
                .join(&id)
                .join("state.json")
                .exists(),
            "{root}"
        );
        env.cmd(&program).args(["delete", &id]).run().ok();
    }
    sys::umount("/run").must("uncover /run");
}

#[test]
fn plan_names_what_the_specification_does_not_know() {
    let env = Env::new();
    let mut bundle = env.bundle();
    bundle
        .set("/process/noNewPrivilege", json!(true))
        .set("/linux/resorces", json!({"pids": {"limit": 1}}))
        .set("/mounts/0/option", json!(["ro"]))
        .set("/linux/absent", json!(null))
        .set("/annotations", json!({"anything": "goes"}))
        .sh("echo ran")
        .write();
    let data = env.orlop(&["plan", "--json"]).arg(&bundle.dir);
    let data = data.run().ok().json();
    let mut named: Vec<_> = data["warnings"]
        .as_array()
        .must("warnings")
        .iter()
        .filter_map(|line| line.as_str()?.split_once(": the specification has no"))
        .map(|(at, _)| at.to_owned())
        .collect();
    named.sort();
    let wanted = [
        "linux.resorces",
        "mounts[0].option",
        "process.noNewPrivilege",
    ];
    assert_eq!(named, wanted, "{data}");
    let text = env.orlop(&["plan"]).arg(&bundle.dir).run().ok().stdout();
    for at in wanted {
        let line = format!("ignored     {at}: the specification has no such property");
        assert!(text.contains(&line), "{line}: {text}");
    }
    // The specification wants them passed over.
    let run = env.orlop(&["run", "--bundle"]).arg(&bundle.dir);
    run.arg(env.id()).run().ok().prints("ran");
    env.orlop(&["spec", "--bundle"]).arg(&env.dir).run().ok();
    let data = env.orlop(&["plan", "--json"]).arg(&env.dir).run().ok();
    assert!(!data.stdout().contains("no such property"), "{data}");
}

#[test]
fn plan_tells_the_steps_and_does_nothing() {
    let env = Env::new();
    let world = env.world();
    let mut bundle = env.bundle();
    bundle
        .args(&["echo", "planned"])
        .set("/linux/resources/pids", json!({"limit": 77}))
        .write();
    let text = env.orlop(&["plan"]).arg(&bundle.dir).run().ok().stdout();
    for part in [
        "/proc",
        "/dev/pts",
        "CAP_KILL",
        "pids.max",
        "77",
        "echo",
        "/proc/kcore",
    ] {
        assert!(text.contains(part), "{part} is not in the plan:\n{text}");
    }
    let data = env
        .orlop(&["plan", "--json"])
        .arg(&bundle.dir)
        .run()
        .ok()
        .json();
    assert!(data.is_object(), "{data}");
    for option in ["--bundle", "-b"] {
        assert_eq!(
            data,
            env.orlop(&["plan", option])
                .arg(&bundle.dir)
                .arg("--json")
                .run()
                .ok()
                .json(),
            "the same input, the same plan"
        );
    }
    env.as_before(&world, "plan");
}

#[test]
fn plan_tells_of_clocks_devices_and_annotations() {
    let env = Env::new();
    let mut bundle = env.bundle();
    let hook = json!([{"path": "/bin/true"}]);
    bundle
        .namespace("time", None)
        .set("/linux/timeOffsets", json!({"boottime": {"secs": 86400}}))
        .set("/linux/netDevices", json!({"eth7": {"name": "net%d"}}))
        .set("/hooks/prestart", hook)
        .set(
            "/annotations",
            json!({
                "run.oci.hooks.stderr": "/log",
                "run.oci.keep_original_groups": "1",
                "run.oci.pidfd_receiver": "/socket",
                "run.oci.handler": "krun",
            }),
        )
        .write();
    let done = env.orlop(&["plan"]).arg(&bundle.dir).run().ok();
    for part in [
        "clock       boottime 86400 s and 0 ns from the host's\n",
        "netdevice   eth7 as net%d\n",
        "hook        stderr to /log\n",
        "groups the caller's\n",
        "pidfd       to /socket\n",
        "ignored     annotations[\"run.oci.handler\"]",
    ] {
        assert!(done.stdout().contains(part), "{part}\n{done}");
    }
}
