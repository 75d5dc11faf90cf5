//! Login and logout: what registries know this user by.

use std::path::PathBuf;

use registry::{Credentials, Login};

use crate::progress::Quiet;
use crate::{Error, Kind, Registries, Result, remote};

/// What docker means without a host.
const HUB: &str = "docker.io";

/// A login that was kept.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// Docker's line.
    pub line: String,
    /// The file in which the password can be read by whoever can read the file; none where a helper program has it, or a token is kept.
    pub plain: Option<PathBuf>,
}

impl Registries {
    /// Tries a login and keeps it.
    pub fn login(&self, host: Option<&str>, login: &Login) -> Result<LoggedIn> {
        let host = normal(host);
        let remote = self.remote()?;
        let client = &remote.client;
        let kept = remote.run(&Quiet, |_| async { client.login(&host, login).await })?;
        let credentials = self.credentials()?;
        // Where it lies already it stays, and nothing has to be written; a place that cannot be read is not it.
        let known = credentials.lookup(&host, "").unwrap_or_default();
        let file = match known {
            Some(known) if known == kept => None,
            _ => credentials.store(&host, &kept)?,
        };
        Ok(LoggedIn {
            line: "Login Succeeded".to_string(),
            plain: file.filter(|_| matches!(kept, Login::Password { .. })),
        })
    }

    /// Returns the login that is kept for a host; none where a program that keeps logins cannot say.
    pub fn kept_login(&self, host: Option<&str>) -> Result<Option<Login>> {
        let login = self.credentials()?.lookup(&normal(host), "");
        Ok(login.unwrap_or_default())
    }

    /// Forgets a login, in whichever files it is; returns docker's line.
    pub fn logout(&self, host: Option<&str>) -> Result<String> {
        let host = normal(host);
        if self.credentials()?.erase(&host)? {
            Ok(format!("Removing login credentials for {host}"))
        } else {
            Ok(format!("Not logged in to {host}"))
        }
    }

    fn credentials(&self) -> Result<Credentials> {
        let network = &self.settings.network;
        if network.credentials.is_empty() {
            return Err(
                Error::new(Kind::Invalid, "there is no file to keep logins in")
                    .with_hint("set HOME, DOCKER_CONFIG or REGISTRY_AUTH_FILE"),
            );
        }
        Ok(remote::credentials(network))
    }
}

/// A host as names of images have it, out of what people give: an address, Docker Hub's old names, nothing.
fn normal(host: Option<&str>) -> String {
    let host = host.unwrap_or(HUB);
    let bare = host.split_once("://").map_or(host, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or(bare);
    match bare {
        "" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com" => HUB.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_people_write_them() {
        for (given, host) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("localhost:5000"), "localhost:5000"),
            (Some("http://localhost:5000/v2/"), "localhost:5000"),
            (Some("quay.io/team"), "quay.io"),
        ] {
            assert_eq!(normal(given), host, "{given:?}");
        }
    }
}
