//! `linux.netDevices`: devices of the host become the container's, as they are, and go back when there is no container after all.

use crate::user_namespace;
use orlop_tests::{Bundle, Env, Must, sys};
use serde_json::{Value, json};

/// A place with a network namespace of its own, which stands for the host's, so that no device of a test is on the machine.
fn place() -> Env {
    let env = Env::new();
    sys::private_network().must("a network namespace");
    env
}

#[track_caller]
fn ip(env: &Env, line: &str) -> String {
    let done = env.cmd("ip").args(line.split(' ')).run().ok();
    done.stdout()
}

/// Makes a pair of devices, the first of which has what a device can have.
fn device(env: &Env, name: &str) {
    for line in [
        format!("link add {name} type veth peer name {name}p"),
        format!("link set {name} mtu 1400 address 02:00:00:00:00:07"),
        format!("address add 10.7.0.1/24 dev {name} label {name}:1"),
        format!("address add 10.7.0.2/24 dev {name}"),
        format!("address add 10.8.0.1 peer 10.8.0.2 dev {name} noprefixroute"),
        format!("address add fd00:7::1/64 dev {name} nodad"),
        // A lease, and one for the wire alone: not the container's.
        format!("address add 10.9.0.1/24 dev {name} valid_lft 1000 preferred_lft 1000"),
        format!("address add 169.254.7.1/16 dev {name} scope link"),
        format!("link set {name} up"),
        format!("link set {name}p up"),
    ] {
        ip(env, &line);
    }
}

/// What of a device is to be the same elsewhere: MTU, hardware address, addresses with their flags and labels, up or not.
fn shape(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let wanted = |line: &&str| {
        (line.starts_with("inet") && line.contains("scope global") && !line.contains("dynamic"))
            || line.starts_with("link/")
            || line.contains("mtu")
    };
    let line = |line: &str| {
        if let Some((_, rest)) = line.split_once("mtu ") {
            let up = line.contains("UP") && !line.contains("NO-CARRIER");
            let mtu = rest.split(' ').next().must("the MTU");
            return format!("mtu {mtu} up {up}\n");
        }
        // The other end's namespace is numbered on either side in its own way.
        let words: Vec<&str> = line
            .split(' ')
            .take_while(|word| *word != "link-netnsid")
            .collect();
        words.join(" ") + "\n"
    };
    lines.filter(wanted).map(line).collect()
}

fn on_host(env: &Env, name: &str) -> String {
    shape(&ip(env, &format!("address show dev {name}"))).replace(name, "NAME")
}

/// The container's devices, by the host's program.
fn inside(env: &Env, id: &str, name: &str) -> String {
    let pid = env.pid(id).to_string();
    let command = env
        .cmd("nsenter")
        .args(["-t", &pid, "-n", "ip", "address", "show", "dev", name]);
    shape(&command.run().ok().stdout()).replace(name, "NAME")
}

fn names(env: &Env) -> String {
    let text = ip(env, "-o link show");
    let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
    text.lines().filter_map(name).collect::<Vec<_>>().join(" ")
}

fn devices(bundle: &mut Bundle, devices: Value) -> &mut Bundle {
    bundle.set("/linux/netDevices", devices)
}

#[test]
fn a_device_keeps_addresses_mtu_and_state() {
    for (user, given, name) in [
        (false, json!({"eth7": {}}), "eth7"),
        (false, json!({"eth7": {"name": "net1"}}), "net1"),
        (
            true,
            json!({"eth7": {"name": "a-longer-name-x"}}),
            "a-longer-name-x",
        ),
    ] {
        let env = place();
        device(&env, "eth7");
        let before = on_host(&env, "eth7");
        assert_eq!(before.lines().count(), 6, "{before}");
        let mut bundle = env.bundle();
        if user {
            user_namespace(&mut bundle);
        }
        let setting = format!("net.ipv4.conf.{name}.forwarding");
        devices(&mut bundle, given)
            .set("/linux/sysctl", json!({setting: "1"}))
            .args(&["sleep", "100"]);
        let id = env.create(&bundle);
        let there = inside(&env, &id, name);
        // A label that has become too long is the plain name.
        let wanted = if name.len() > 13 {
            before.replace("NAME:1", "NAME")
        } else {
            before
        };
        assert_eq!(there, wanted, "{name}");
        assert_eq!(names(&env), "lo eth7p", "it is not on the host any more");
        env.orlop(&["start", &id]).run().ok();
        let file = format!("/proc/sys/net/ipv4/conf/{name}/forwarding");
        env.exec(&id, &["cat", &file]).ok().prints("1");
        env.orlop(&["delete", "--force", &id]).run().ok();
        // A virtual device ends with its namespace, which the kernel takes down a little later.
        orlop_tests::until("the end of the pair", || {
            (names(&env) == "lo").then_some(())
        });
    }
}

#[test]
fn a_device_that_was_off_is_switched_on_and_numbers_are_chosen() {
    let env = place();
    ip(&env, "link add one type veth peer name two");
    let mut bundle = env.bundle();
    devices(
        &mut bundle,
        json!({"one": {"name": "net%d"}, "two": {"name": "net%d"}}),
    )
    .args(&["sleep", "100"]);
    let id = env.create(&bundle);
    for name in ["net0", "net1"] {
        let there = inside(&env, &id, name);
        assert!(there.starts_with("mtu 1500 up true\n"), "{name}: {there}");
    }
    assert_eq!(names(&env), "lo");
}

#[test]
fn devices_join_a_network_that_is_there() {
    let env = place();
    device(&env, "eth7");
    let before = on_host(&env, "eth7");
    let mut holder = env.bundle();
    holder.args(&["sleep", "1000"]);
    let holder = env.start(&holder);
    let path = format!("/proc/{}/ns/net", env.pid(&holder));
    let mut bundle = env.bundle();
    devices(&mut bundle, json!({"eth7": {"name": "net1"}}))
        .namespace("network", Some(&path))
        .args(&["sleep", "100"]);
    let id = env.start(&bundle);
    assert_eq!(inside(&env, &id, "net1"), before);
    env.orlop(&["delete", "--force", &id]).run().ok();
    assert_eq!(
        inside(&env, &holder, "net1"),
        before,
        "the namespace lives on"
    );

    // A second one of that name finds its place taken, before anything is made.
    ip(&env, "link add eth8 type veth peer name eth8p");
    let mut bundle = env.bundle();
    devices(&mut bundle, json!({"eth8": {"name": "net1"}}))
        .namespace("network", Some(&path))
        .args(&["true"]);
    env.run(&bundle)
        .refused(1, &["linux.netDevices.eth8", "net1 is there already"]);
    assert_eq!(names(&env), "lo eth7p eth8p eth8");
}

/// What makes a creation fail, the text that says so, and how a bundle gets it.
type Spoil = (&'static str, &'static str, fn(&mut Bundle));

#[test]
fn a_device_comes_back_when_there_is_no_container_after_all() {
    let spoil: [Spoil; 4] = [
        ("a hook", "hooks.createRuntime[0]", |b| {
            let failing = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]);
            b.set("/hooks/createRuntime", failing);
        }),
        ("the program", "nosuch", |b| {
            b.args(&["nosuch"]);
        }),
        ("a user namespace", "nosuch", |b| {
            user_namespace(b);
            b.args(&["nosuch"]);
        }),
        // A bridge cannot leave; the other device has left before.
        ("another device", "linux.netDevices.fixed", |b| {
            b.set("/linux/netDevices/fixed", json!({}));
        }),
    ];
    for (case, words, spoil) in spoil {
        for name in ["eth7", "net1"] {
            let env = place();
            device(&env, "eth7");
            ip(&env, "link add fixed type bridge");
            let (before, all) = (on_host(&env, "eth7"), names(&env));
            let mut bundle = env.bundle();
            devices(&mut bundle, json!({"eth7": {"name": name}})).args(&["true"]);
            spoil(&mut bundle);
            env.run(&bundle).refused(1, &[words]);
            assert_eq!(on_host(&env, "eth7"), before, "{case}, as {name}");
            let mut after: Vec<_> = names(&env).split(' ').map(str::to_owned).collect();
            let mut all: Vec<_> = all.split(' ').map(str::to_owned).collect();
            after.sort();
            all.sort();
            assert_eq!(after, all, "{case}, as {name}");
        }
    }
}
