use std::path::Path;

use image::Config;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use super::{Accounts, Host, Network, Options, Place, Request, files, make};

const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n";
const GROUP: &[u8] = b"root:x:0:\nu:x:1000:\nwheel:x:10:root,u\n";

fn config(process: &Value) -> Config {
    let text = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": process,
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    Config::parse(text.to_string().as_bytes()).expect("a configuration")
}

fn made(process: &Value, options: &Options) -> Result<Value, String> {
    let host = Host {
        name: "host".to_owned(),
        kernel: (6, 1),
        unified: false,
        inner: false,
        groups: true,
        last_group: u32::MAX,
    };
    made_on(&host, process, options)
}

fn made_on(host: &Host, process: &Value, options: &Options) -> Result<Value, String> {
    let config = config(process);
    let request = Request {
        config: &config,
        options,
        accounts: Accounts {
            passwd: Some(PASSWD),
            group: Some(GROUP),
        },
        place: Place {
            id: "ID",
            root: Path::new("/root"),
            files: Path::new("/place"),
            cgroup: "/docker",
        },
        host,
    };
    let made = make(&request).map_err(|error| error.to_string())?;
    let typed: Spec = serde_json::from_value(made.clone()).expect("a valid specification");
    assert!(typed.process().is_some());
    Ok(made)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// What this one asked Docker 20.10 for was: `--network none -e A=mine -e HOSTNAME -w /x -u u`.
#[test]
fn a_container_is_what_docker_makes_of_it() {
    let process = json!({
        "Env": ["A=img", "B=1"],
        "Entrypoint": ["/bin/busybox"],
        "Cmd": ["sleep", "100"],
    });
    let options = Options {
        env: words(&["A=mine", "HOSTNAME"]),
        working_dir: Some("/x".to_owned()),
        user: Some("u".to_owned()),
        hostname: Some("HOST".to_owned()),
        network: Network::None,
        ..Options::default()
    };
    let mut ours = made(&process, &options).expect("a specification");
    let mut dockers: Value = serde_json::from_str(include_str!("docker.json")).expect("JSON");
    let take = |spec: &mut Value, parent: &str, key: &str| {
        let object = spec.pointer_mut(parent).and_then(Value::as_object_mut);
        object.and_then(|object| object.shift_remove(key))
    };
    // The profile has tests of its own; the version is the younger one's; no terminal and no limits are said or left out.
    for (parent, key) in [
        ("/linux", "seccomp"),
        ("", "ociVersion"),
        ("/process", "terminal"),
        ("/linux/resources", "memory"),
        ("/linux/resources", "cpu"),
        ("/linux/resources", "blockIO"),
    ] {
        take(&mut ours, parent, key);
        take(&mut dockers, parent, key);
    }
    // Docker hides one thing more since.
    let hidden = ours["linux"]["maskedPaths"].as_array_mut();
    let hidden = hidden.and_then(Vec::pop);
    assert_eq!(hidden, Some(json!("/sys/devices/virtual/powercap")));
    assert_eq!(
        serde_json::to_string_pretty(&ours).expect("text"),
        serde_json::to_string_pretty(&sorted_like(&ours, dockers)).expect("text"),
    );
}

/// Gives the members of objects the other value's order, so that a difference shows as few lines.
fn sorted_like(model: &Value, value: Value) -> Value {
    match (model, value) {
        (Value::Object(model), Value::Object(mut object)) => {
            let mut sorted = serde_json::Map::new();
            for (key, model) in model {
                if let Some(value) = object.shift_remove(key) {
                    sorted.insert(key.clone(), sorted_like(model, value));
                }
            }
            sorted.extend(object);
            Value::Object(sorted)
        }
        (Value::Array(model), Value::Array(list)) => {
            let models = model.iter().chain(std::iter::repeat(&Value::Null));
            list.into_iter()
                .zip(models)
                .map(|(value, model)| sorted_like(model, value))
                .collect()
        }
        (_, value) => value,
    }
}

fn check_args(
    process: &Value,
    entrypoint: Option<&str>,
    command: &[&str],
    want: Result<&[&str], &str>,
) {
    let options = Options {
        entrypoint: entrypoint.map(str::to_owned),
        command: words(command),
        ..Options::default()
    };
    let made = made(process, &options);
    let args = made.map(|spec| spec["process"]["args"].clone());
    assert_eq!(
        args,
        want.map(|args| json!(args)).map_err(str::to_owned),
        "{process} {entrypoint:?} {command:?}"
    );
}

#[test]
fn the_program_and_its_arguments() {
    let both = json!({ "Entrypoint": ["e"], "Cmd": ["c", "d"] });
    let only = json!({ "Cmd": ["c"] });
    check_args(&both, None, &[], Ok(&["e", "c", "d"]));
    check_args(&both, None, &["x"], Ok(&["e", "x"]));
    check_args(&both, Some("y"), &[], Ok(&["y"]));
    check_args(&both, Some("y"), &["x"], Ok(&["y", "x"]));
    check_args(&both, Some(""), &["x"], Ok(&["x"]));
    check_args(&both, Some(""), &[], Err("No command specified"));
    check_args(&only, None, &[], Ok(&["c"]));
    check_args(&only, None, &["x", "y"], Ok(&["x", "y"]));
    check_args(
        &json!({ "Entrypoint": [""], "Cmd": ["c"] }),
        None,
        &[],
        Ok(&["c"]),
    );
    check_args(&json!({}), None, &[], Err("No command specified"));
    check_args(&Value::Null, None, &["x"], Ok(&["x"]));
}

fn check_env(image: &[&str], said: &[&str], terminal: bool, want: Result<&[&str], &str>) {
    let options = Options {
        command: words(&["x"]),
        env: words(said),
        terminal,
        ..Options::default()
    };
    let made = made(&json!({ "Env": image }), &options);
    let env = made.map(|spec| spec["process"]["env"].clone());
    let want = want.map(|env| json!(env)).map_err(str::to_owned);
    assert_eq!(env, want, "{image:?} {said:?}");
}

#[test]
fn the_environment() {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let host = "HOSTNAME=host";
    check_env(&[], &[], false, Ok(&[path, host]));
    check_env(&[], &[], true, Ok(&[path, host, "TERM=xterm"]));
    check_env(
        &["A=1", "PATH=/p"],
        &[],
        false,
        Ok(&["PATH=/p", host, "A=1"]),
    );
    check_env(
        &["A=1", "B=2"],
        &["B=3", "C="],
        false,
        Ok(&[path, host, "B=3", "C=", "A=1"]),
    );
    check_env(&["A=1"], &["A"], false, Ok(&[path, host]));
    check_env(&[], &["HOSTNAME", "TERM"], true, Ok(&[path]));
    check_env(&[], &["A=1", "A=a=b"], false, Ok(&[path, host, "A=a=b"]));
    check_env(&[], &["=x"], false, Err("invalid environment variable: =x"));
}

#[test]
fn the_working_directory() {
    for (image, said, want) in [
        ("", None, Ok("/")),
        ("/a/../b/.//c/", None, Ok("/b/c")),
        ("relative", None, Ok("/relative")),
        ("/a", Some("/w"), Ok("/w")),
        (
            "/a",
            Some("w"),
            Err("the working directory 'w' is invalid, it needs to be an absolute path"),
        ),
    ] {
        let options = Options {
            command: words(&["x"]),
            working_dir: said.map(str::to_owned),
            ..Options::default()
        };
        let made = made(&json!({ "WorkingDir": image }), &options);
        let cwd = made.map(|spec| spec["process"]["cwd"].clone());
        assert_eq!(cwd, want.map(|cwd| json!(cwd)).map_err(str::to_owned));
    }
}

#[test]
fn the_network() {
    for (network, own) in [(Network::None, true), (Network::Host, false)] {
        let options = Options {
            command: words(&["x"]),
            network,
            ..Options::default()
        };
        let spec = made(&json!({}), &options).expect("a specification");
        let namespaces = spec["linux"]["namespaces"].as_array().expect("a list");
        assert_eq!(namespaces.contains(&json!({ "type": "network" })), own);
        assert_eq!(spec["linux"]["sysctl"].is_object(), own);
        assert_eq!(spec["hostname"], if own { "ID" } else { "host" });
        let files = files::make(network, "name", b"hosts", b"resolv");
        assert_eq!(files.hosts == b"hosts", !own);
        assert_eq!(files.hostname, b"name\n");
        assert_eq!(files.resolv_conf, b"resolv");
    }
    for (name, want) in [
        (
            "bridge",
            "network bridge is not there yet: host (the host's own) and none (nothing but lo) are",
        ),
        ("own", "network own not found: host and none are there"),
    ] {
        let error = name.parse::<Network>().expect_err("not there");
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn rights_are_the_users() {
    for (user, effective) in [("", true), ("0", true), ("u", false)] {
        let options = Options {
            command: words(&["x"]),
            user: Some(user.to_owned()),
            ..Options::default()
        };
        let spec = made(&json!({ "User": "root" }), &options).expect("a specification");
        let capabilities = &spec["process"]["capabilities"];
        assert_eq!(capabilities["bounding"].as_array().map(Vec::len), Some(14));
        assert_eq!(capabilities["effective"].is_array(), effective);
        assert!(capabilities["inheritable"].is_null());
    }
}

#[test]
fn a_user_namespace_of_ones_own() {
    let process = json!({ "Cmd": ["sh"] });
    for (network, last_group, range, sys, pts) in [
        (Network::None, 65_536, Some("0 65536"), "sysfs", 6),
        (Network::None, 0, Some("0 0"), "sysfs", 5),
        (Network::Host, 0, None, "bind", 5),
    ] {
        let host = Host {
            name: "host".to_owned(),
            kernel: (6, 1),
            unified: true,
            inner: true,
            groups: last_group > 0,
            last_group,
        };
        let options = Options {
            network,
            ..Options::default()
        };
        let made = made_on(&host, &process, &options).expect("a specification");
        let groups = made["process"]["user"]["additionalGids"].as_array();
        assert_eq!(groups.map(Vec::is_empty), Some(last_group == 0));
        assert_eq!(made["linux"]["resources"], Value::Null);
        assert_eq!(made["linux"]["cgroupsPath"], Value::Null);
        let found = &made["linux"]["sysctl"]["net.ipv4.ping_group_range"];
        assert_eq!(found.as_str(), range);
        let mounts = made["mounts"].as_array().expect("mounts");
        let mount = |at: &str| mounts.iter().find(|mount| mount["destination"] == at);
        let mount = |at: &str| mount(at).expect("a mount");
        assert_eq!(mount("/sys")["type"], sys);
        let options = mount("/sys")["options"].as_array().expect("options");
        assert!(options.contains(&json!("ro")));
        let options = mount("/dev/pts")["options"].as_array();
        assert_eq!(options.map(Vec::len), Some(pts));
    }
}
