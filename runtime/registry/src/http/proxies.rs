//! Proxies, and whom they are not asked for.

use std::fmt;

use reqwest::Url;

use crate::error::{Error, Kind, Result};
use crate::hosts::address;

/// Proxies, as the caller's environment has them; loopback addresses are reached without.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For http addresses.
    pub http: Option<String>,
    /// For https addresses.
    pub https: Option<String>,
    /// Hosts that are reached without, between commas: names, which stand for all below them, too, addresses and ranges of them; and
    /// names with a port.
    pub no_proxy: Option<String>,
}

// An address of a proxy may hold a password.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

impl Proxies {
    /// Returns the proxy that may stand before an address, as it may be shown: `no_proxy` could still leave it out.
    pub(super) fn before(&self, url: &Url) -> Option<String> {
        let named = match url.scheme() {
            "http" => &self.http,
            _ => &self.https,
        };
        let loopback = url.host_str().is_some_and(address::is_loopback);
        let asked = !loopback && !self.leave_out(url);
        let named = named.as_deref().filter(|name| !name.is_empty() && asked)?;
        let bare = named.rsplit_once('@').map_or(named, |(_, bare)| bare);
        let bare = bare.split_once("://").map_or(bare, |(_, bare)| bare);
        Some(bare.trim_end_matches('/').to_string())
    }

    /// Tells whether a name with its port is left out, which the list below us does not know.
    pub(super) fn leave_out(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return false;
        };
        let names = self.no_proxy.iter().flat_map(|list| list.split(','));
        let mut names = names.filter_map(|name| name.trim().rsplit_once(':'));
        names.any(|(name, of)| {
            let name = name.trim_start_matches('.').to_ascii_lowercase();
            let front = host.strip_suffix(name.as_str());
            let covers = front.is_some_and(|front| front.is_empty() || front.ends_with('.'));
            covers && !name.is_empty() && of.parse() == Ok(port)
        })
    }

    pub(super) fn check(&self) -> Result<()> {
        self.each().map(|_| ())
    }

    pub(super) fn each(&self) -> Result<Vec<reqwest::Proxy>> {
        let mut none = "localhost,127.0.0.0/8,::1".to_string();
        if let Some(more) = &self.no_proxy {
            none = format!("{none},{more}");
        }
        let mut proxies = Vec::new();
        for (what, address) in [("http", &self.http), ("https", &self.https)] {
            let Some(address) = address.as_deref().filter(|address| !address.is_empty()) else {
                continue;
            };
            // The address is not quoted: it may hold a password.
            let wrong = |why: &str| {
                Error::new(
                    Kind::Settings,
                    format!("{what}_proxy, or the setting {what}-proxy: {why}"),
                )
            };
            let scheme = address
                .split_once("://")
                .map_or("http", |(scheme, _)| scheme);
            if !matches!(scheme, "http" | "https") {
                return Err(wrong("only proxies by http and https are known"));
            }
            let made = match what {
                "http" => reqwest::Proxy::http(address),
                _ => reqwest::Proxy::https(address),
            };
            let made = made.map_err(|_| wrong("is not an address"))?;
            proxies.push(made.no_proxy(reqwest::NoProxy::from_string(&none)));
        }
        Ok(proxies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_its_port_is_left_out() {
        for (list, url, want) in [
            ("a.example:5000", "https://a.example:5000/v2/", true),
            ("a.example:5000", "https://a.example/v2/", false),
            ("b.example, A.example:443", "https://a.example/v2/", true),
            (".example:443", "https://a.example/", true),
            ("example:443", "https://a.example/", true),
            ("example:443", "https://aexample/", false),
            ("[fd00::1]:80", "http://[fd00::1]/", true),
            // These the list below us knows.
            ("a.example", "https://a.example/", false),
            (":443", "https://a.example/", false),
            ("*", "https://a.example/", false),
        ] {
            let proxies = Proxies {
                no_proxy: Some(list.to_string()),
                ..Proxies::default()
            };
            let url = Url::parse(url).unwrap();
            assert_eq!(proxies.leave_out(&url), want, "{list} {url}");
        }
    }

    #[test]
    fn a_proxy_is_shown_without_its_login() {
        for (proxy, want) in [
            (
                "http://ann:hunter2@proxy.example:3128/",
                "proxy.example:3128",
            ),
            ("http://ann:hunt@er2@proxy.example", "proxy.example"),
            ("proxy.example:3128", "proxy.example:3128"),
        ] {
            let proxies = Proxies {
                https: Some(proxy.to_string()),
                ..Proxies::default()
            };
            let before = |url: &str| proxies.before(&Url::parse(url).unwrap());
            assert_eq!(before("https://a.example/").as_deref(), Some(want));
            assert_eq!(before("http://a.example/"), None);
            assert_eq!(before("https://localhost:5000/"), None);
        }
    }
}
