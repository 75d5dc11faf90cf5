//! Where a manager can be reached.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A Unix socket on which systemd, or a message bus, answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// systemd's own socket, without a bus in between: `/run/systemd/private`.
    Direct(PathBuf),
    /// A message bus that systemd is on.
    Bus(Socket),
}

/// The name of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Socket {
    Path(PathBuf),
    /// A name without a file (unix(7)).
    Abstract(Vec<u8>),
}

impl Address {
    /// Returns where the system's manager answers, the quickest way first.
    #[must_use]
    pub fn system() -> Vec<Self> {
        vec![
            Self::Direct("/run/systemd/private".into()),
            Self::Bus(Socket::Path("/run/dbus/system_bus_socket".into())),
        ]
    }

    /// Returns where a user's manager answers, from the user's `XDG_RUNTIME_DIR` and `DBUS_SESSION_BUS_ADDRESS`, which only
    /// the program may read.
    #[must_use]
    pub fn user(runtime_dir: Option<PathBuf>, bus_address: Option<&str>) -> Vec<Self> {
        let direct = runtime_dir
            .as_ref()
            .map(|dir| Self::Direct(dir.join("systemd/private")));
        let named = bus_address.map_or_else(Vec::new, parse);
        let usual = runtime_dir
            .filter(|_| named.is_empty())
            .map(|dir| Self::Bus(Socket::Path(dir.join("bus"))));
        direct.into_iter().chain(named).chain(usual).collect()
    }
}

/// Parses a D-Bus address (D-Bus specification, "Server Addresses"); transports other than Unix sockets are passed over.
fn parse(text: &str) -> Vec<Address> {
    let one = |entry: &str| {
        let keys = entry.strip_prefix("unix:")?;
        keys.split(',')
            .find_map(|pair| match pair.split_once('=')? {
                ("path", path) => {
                    use std::os::unix::ffi::OsStringExt;
                    let path = std::ffi::OsString::from_vec(unescape(path)?);
                    Some(Address::Bus(Socket::Path(path.into())))
                }
                ("abstract", name) => Some(Address::Bus(Socket::Abstract(unescape(name)?))),
                _ => None,
            })
    };
    text.split(';').filter_map(one).collect()
}

/// Undoes the percent escapes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (hex, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Direct(path) | Self::Bus(Socket::Path(path)) => path.display().fmt(f),
            Self::Bus(Socket::Abstract(name)) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_session_bus() {
        let check = |text: &str, want: &[&str]| {
            let found: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, want, "{text}");
        };
        check("unix:path=/run/user/1000/bus", &["/run/user/1000/bus"]);
        check("unix:path=/a%20b,guid=12", &["/a b"]);
        check(
            "tcp:host=x,port=1;unix:abstract=/tmp/dbus-1",
            &["@/tmp/dbus-1"],
        );
        check("unix:path=/a;unix:path=/b", &["/a", "/b"]);
        check("unix:path=/a%2", &[]);
        check("", &[]);
        let user = Address::user(Some("/run/user/7".into()), None);
        let user: Vec<_> = user.iter().map(ToString::to_string).collect();
        assert_eq!(user, ["/run/user/7/systemd/private", "/run/user/7/bus"]);
    }
}
