//! Texts that name hosts: `registry.example.com:5000`, `[::1]:5000`, `10.0.0.0/8`, `*.example.com`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Cuts the port off: `[::1]:5000` is `::1`.
pub(crate) fn name(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
            name
        }
        _ => host,
    }
}

/// Tells whether a host is this machine: what is said to it, no other machine hears.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = name(host);
    match name.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback(),
        Ok(IpAddr::V6(v6)) => {
            v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback())
        }
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// A declared host: a name with or without port, a range of addresses, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Declared {
    Host(String),
    Range(IpAddr, u8),
    Below(String),
}

impl Declared {
    /// Reads one; docker also takes addresses with a scheme here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
            .unwrap_or(text)
            .trim_end_matches('/');
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Self::Range(address, bits));
        }
        if let Some(domain) = text.strip_prefix("*.") {
            return (!domain.is_empty()).then(|| Self::Below(domain.to_ascii_lowercase()));
        }
        let fine = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '*');
        fine.then(|| Self::Host(text.to_ascii_lowercase()))
    }

    /// A name without port stands for all of its ports.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self {
            Self::Host(known) => *known == host || known == name(&host),
            Self::Below(domain) => {
                let front = name(&host).strip_suffix(domain.as_str());
                front.is_some_and(|front| front.len() > 1 && front.ends_with('.'))
            }
            Self::Range(network, bits) => name(&host)
                .parse::<IpAddr>()
                .is_ok_and(|address| within(address, *network, *bits)),
        }
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let cut = |v4: Ipv4Addr| u32::from(v4).checked_shr(32 - u32::from(bits));
            cut(address) == cut(network)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let cut = |v6: Ipv6Addr| u128::from(v6).checked_shr(128 - u32::from(bits));
            cut(address) == cut(network)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_all_of_its_names() {
        for (host, want) in [
            ("localhost", true),
            ("LOCALHOST:5000", true),
            ("127.0.0.1", true),
            ("127.9.8.7:443", true),
            ("[::1]:5000", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("128.0.0.1", false),
            ("[::2]", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), want, "{host}");
        }
    }

    #[test]
    fn what_a_declaration_covers() {
        for (declared, host, want) in [
            ("a.example", "a.example", true),
            ("a.example", "a.example:5000", true),
            ("a.example:5000", "a.example:5000", true),
            ("a.example:5000", "a.example", false),
            ("A.example", "a.EXAMPLE", true),
            ("http://a.example/", "a.example", true),
            ("10.0.0.0/8", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("fd00::/8", "[fd00::1]:5000", true),
            ("fd00::/8", "10.0.0.1", false),
            ("::/0", "[fd00::1]", true),
            ("*.example", "a.example:1", true),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*.example", "aexample", false),
        ] {
            let parsed = Declared::parse(declared).unwrap();
            assert_eq!(parsed.covers(host), want, "{declared} {host}");
        }
        for bad in ["", "10.0.0.0/33", "x/8", "*.", "a b", "*"] {
            assert_eq!(Declared::parse(bad), None, "{bad}");
        }
    }
}
