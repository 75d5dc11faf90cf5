//! Kernel parameters that belong to a namespace of the container.

use oci_spec::runtime::Spec;
use serde::Serialize;
use sys::process::Namespaces;

use super::Refusal;
use super::namespaces::NamespacePlan;

/// One write below `/proc/sys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sysctl {
    /// The path below `/proc/sys`.
    pub path: String,
    pub value: String,
    /// The JSON path.
    pub at: String,
    /// Whose parameter it is.
    #[serde(skip)]
    pub namespace: Namespaces,
}

/// Parameters of `kernel.` that each IPC namespace has its own value of (ipc_namespaces(7)).
const IPC: [&str; 9] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
    "kernel/auto_msgmni",
];

pub(super) fn plan(spec: &Spec, namespaces: &NamespacePlan) -> Result<Vec<Sysctl>, Refusal> {
    let map = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.sysctl().as_ref());
    let entry = |(name, value): (&String, &String)| {
        let at = format!("linux.sysctl[{name:?}]");
        let path = path(name);
        let (kind, word) = owner(&path).ok_or_else(|| {
            Refusal::new(
                &at,
                "is not a parameter of any namespace; setting it would change the host",
            )
        })?;
        if !namespaces.has(kind) {
            return Err(Refusal::new(
                &at,
                format!("would change the host; add {{\"type\": \"{word}\"}} to linux.namespaces"),
            ));
        }
        if path == "kernel/hostname" {
            return Err(Refusal::new(&at, "use the field hostname instead"));
        }
        Ok(Sysctl {
            path,
            value: value.clone(),
            at,
            namespace: kind,
        })
    };
    // By name, so that of several wrong ones the same is told every time.
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort();
    let mut plan: Vec<Sysctl> = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
    plan.sort_by(|a, b| a.path.cmp(&b.path));
    match plan.windows(2).find(|pair| pair[0].path == pair[1].path) {
        Some(pair) => Err(Refusal::new(
            &pair[1].at,
            format!("is the same parameter as {}; keep one of them", pair[0].at),
        )),
        None => Ok(plan),
    }
}

/// Turns either spelling of sysctl(8) into a path: the first separator decides what `.` and `/` mean in the rest.
fn path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(first) if name.as_bytes()[first] == b'/' => name.to_string(),
        _ => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
    }
}

fn owner(path: &str) -> Option<(Namespaces, &'static str)> {
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        None
    } else if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        Some((Namespaces::IPC, "ipc"))
    } else if path.starts_with("net/") {
        Some((Namespaces::NETWORK, "network"))
    } else if path == "kernel/domainname" || path == "kernel/hostname" {
        Some((Namespaces::UTS, "uts"))
    } else if path.starts_with("user/") {
        Some((Namespaces::USER, "user"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn both_spellings_give_the_same_path() {
        let check = |name: &str, want: &str| assert_eq!(path(name), want, "{name}");
        check("net.ipv4.ip_forward", "net/ipv4/ip_forward");
        check("net/ipv4/ip_forward", "net/ipv4/ip_forward");
        check(
            "net.ipv4.conf.eth0/1.forwarding",
            "net/ipv4/conf/eth0.1/forwarding",
        );
        check(
            "net/ipv4/conf/eth0.1/forwarding",
            "net/ipv4/conf/eth0.1/forwarding",
        );
    }
}
