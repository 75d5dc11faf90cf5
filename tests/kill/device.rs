//! A network device that a container is given: it is never lost half way.

use orlop_tests::{Bundle, Env, Must, sys};
use serde_json::json;
use std::cell::RefCell;
use std::fs::File;
use std::os::fd::AsRawFd;

const NAME: &str = "eth7";
/// What it is called in the container.
const INSIDE: &str = "net1";

/// A pair of virtual devices in a network namespace that stands for the host's, and another namespace that a container may join.
#[derive(Debug)]
pub(crate) struct Device {
    other: File,
    joined: String,
    whole: RefCell<Option<String>>,
}

impl Device {
    /// Gives the calling thread a network namespace, and a bundle the device.
    pub(crate) fn new(bundle: &mut Bundle) -> Self {
        let other = std::thread::spawn(|| {
            sys::private_network().must("a network namespace");
            File::open("/proc/thread-self/ns/net").must("the network namespace")
        });
        let other = other.join().expect("the thread makes a namespace");
        sys::private_network().must("a network namespace");
        let joined = format!("/proc/{}/fd/{}", std::process::id(), other.as_raw_fd());
        bundle
            .set("/linux/netDevices", json!({NAME: {"name": INSIDE}}))
            .namespace("network", Some(&joined));
        Self {
            other,
            joined,
            whole: RefCell::new(None),
        }
    }

    /// Makes the device anew, as it was.
    pub(crate) fn renew(&self, env: &Env) {
        for (place, name) in [
            (None, NAME),
            (Some(&self.joined), INSIDE),
            (Some(&self.joined), NAME),
        ] {
            if show(env, place, name).is_some() {
                ip(env, place, &format!("link delete {name}"));
            }
        }
        for line in [
            format!("link add {NAME} type veth peer name {NAME}p"),
            format!("link set {NAME} mtu 1400 address 02:00:00:00:00:07"),
            format!("address add 10.7.0.1/24 dev {NAME}"),
            format!("address add fd00:7::1/64 dev {NAME} nodad"),
            format!("link set {NAME} up"),
        ] {
            assert!(ip(env, None, &line).is_some(), "ip {line}");
        }
        self.whole.replace(show(env, None, NAME));
    }

    /// Returns what is wrong with it after a kill: it is where it was and as it was, or in the namespace that was joined.
    pub(crate) fn lost(&self, env: &Env) -> Option<String> {
        let whole = self.whole.borrow().clone();
        match (show(env, None, NAME), show(env, Some(&self.joined), INSIDE)) {
            (Some(home), None) if whole.as_ref() == Some(&home) => None,
            (None, Some(_)) => None,
            (home, there) => Some(format!(
                "the device was {whole:?}, is {home:?}, in the other namespace {there:?}, descriptor {}",
                self.other.as_raw_fd()
            )),
        }
    }
}

/// Runs ip(8) here or in another network namespace; returns what it says, if it succeeds.
fn ip(env: &Env, place: Option<&String>, line: &str) -> Option<String> {
    let command = match place {
        Some(path) => env.cmd("nsenter").arg(format!("--net={path}")).arg("ip"),
        None => env.cmd("ip"),
    };
    let done = command.args(line.split(' ')).run();
    (done.rc == 0).then(|| done.stdout())
}

/// What of a device is to be kept: whether it is up, its MTU, its hardware address, its addresses.
fn show(env: &Env, place: Option<&String>, name: &str) -> Option<String> {
    let text = ip(env, place, &format!("address show dev {name}"))?;
    let mut kept = String::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some(at) = words.iter().position(|word| *word == "mtu") {
            let up = words.iter().any(|word| word.contains("UP"));
            kept += &format!("up {up} mtu {}", words[at + 1]);
        } else if words[0] == "link/ether" || line.contains("scope global") {
            kept += &format!(", {}", words[1]);
        }
    }
    Some(kept)
}
