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
    /// Hosts that are reached without, between commas.
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
        let named = named
            .as_deref()
            .filter(|name| !name.is_empty() && !loopback)?;
        let bare = named.rsplit_once('@').map_or(named, |(_, bare)| bare);
        let bare = bare.split_once("://").map_or(bare, |(_, bare)| bare);
        Some(bare.trim_end_matches('/').to_string())
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
            let wrong = |why: &str| Error::new(Kind::Settings, format!("proxy for {what}: {why}"));
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
