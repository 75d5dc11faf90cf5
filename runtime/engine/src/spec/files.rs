//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.

use super::Network;

/// What is written beside the bundle and bound over the image's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub hosts: Vec<u8>,
    pub hostname: Vec<u8>,
    pub resolv_conf: Vec<u8>,
}

const HOSTS: &str = "127.0.0.1\tlocalhost\n\
::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::0\tip6-localnet\n\
ff00::0\tip6-mcastprefix\n\
ff02::1\tip6-allnodes\n\
ff02::2\tip6-allrouters\n";

/// Makes them; `hosts` and `resolv_conf` are the host's.
#[must_use]
pub fn make(network: Network, hostname: &str, hosts: &[u8], resolv_conf: &[u8]) -> Files {
    let hosts = match network {
        Network::Host => hosts.to_owned(),
        Network::None => HOSTS.into(),
    };
    Files {
        hosts,
        hostname: format!("{hostname}\n").into_bytes(),
        resolv_conf: resolv_conf.to_owned(),
    }
}
