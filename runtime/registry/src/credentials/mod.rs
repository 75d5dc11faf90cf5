//! Logins: docker's and podman's files, and the helper programs that they name.
//!
//! ```text
//! {
//!   "auths": {
//!     "registry.example.com":          { "auth": base64("user:password") },
//!     "registry.example.com/team":     { .. },                       a part of a host: podman's; the longest wins
//!     "https://index.docker.io/v1/":   { "identitytoken": ".." }     docker.io, by docker's name for it
//!   },
//!   "credHelpers": { "registry.example.com": "pass" },               docker-credential-pass has this host's
//!   "credsStore": "secretservice",                                   docker-credential-secretservice has all
//!   ..                                                               kept as it is
//! }
//! ```
//!
//! Of a file, `credHelpers` come before `credsStore`, and that before `auths`; of several files, the first that has a login for the host wins.

mod file;
mod helper;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use file::Document;
use helper::Helper;

/// docker's name for the login at docker.io.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// A login at one host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Login {
    /// A user and a password.
    Password {
        /// Who.
        user: String,
        /// The password, or what a registry gives in its place.
        password: Secret,
    },
    /// What a token server gave for a password: it gives tokens for it.
    Identity {
        /// Who; empty where a helper program does not say.
        user: String,
        /// The refresh token.
        token: Secret,
    },
    /// A bearer token as it is (`registrytoken`).
    Token(Secret),
}

/// Where logins are looked for and kept.
#[derive(Debug, Clone)]
pub struct Credentials {
    files: Vec<PathBuf>,
    given: BTreeMap<String, Login>,
    patience: Duration,
}

impl Default for Credentials {
    fn default() -> Self {
        Self::from_files(Vec::new())
    }
}

impl Credentials {
    /// Takes files in the order of reading; missing ones are passed over. The last one is written to.
    pub fn from_files(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            given: BTreeMap::new(),
            // A helper may ask a person for the key of a key ring.
            patience: Duration::from_secs(60),
        }
    }

    /// Sets how long a helper program may take.
    #[must_use]
    pub fn helpers_within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Adds a login that is in no file; it comes before all of them.
    #[must_use]
    pub fn with(mut self, host: &str, login: Login) -> Self {
        self.given.insert(host.to_string(), login);
        self
    }

    /// Returns the login for a repository (`path` may be empty: for the host). Reads files and may run a helper program, so it blocks.
    pub fn lookup(&self, host: &str, path: &str) -> Result<Option<Login>> {
        if let Some(login) = self.given.get(host) {
            return Ok(Some(login.clone()));
        }
        for file in &self.files {
            let Some(document) = Document::read(file)? else {
                continue;
            };
            for key in keys(host, path) {
                if let Some(name) = document.helper(&key)
                    && let Some(login) = self.helper(name)?.get(&key)?
                {
                    return Ok(Some(login));
                }
            }
            if let Some(name) = document.store()
                && let Some(login) = self.helper(name)?.get(own_key(host))?
            {
                return Ok(Some(login));
            }
            if let Some(login) = document.login(&keys(host, path))? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// Keeps a login: with the helper program that the file names for the host, else in the file itself, which is returned then.
    pub fn store(&self, host: &str, login: &Login) -> Result<Option<PathBuf>> {
        let path = self.written()?;
        let mut document = Document::read(path)?.unwrap_or_else(|| Document::empty(path));
        let key = own_key(host);
        let plain = match document.helper(key).or(document.store()) {
            Some(name) => {
                self.helper(name)?.store(key, login)?;
                document.mark(key)?;
                None
            }
            None => {
                document.set(key, login)?;
                Some(path.clone())
            }
        };
        document.write()?;
        Ok(plain)
    }

    /// Forgets the login at a host in the file that is written to, and tells whether there was one. A login in another file stays.
    pub fn erase(&self, host: &str) -> Result<bool> {
        let path = self.written()?;
        let Some(mut document) = Document::read(path)? else {
            return Ok(false);
        };
        let key = own_key(host);
        let by_helper = match document.helper(key).or(document.store()) {
            Some(name) => self.helper(name)?.erase(key)?,
            None => false,
        };
        let in_file = document.remove(&keys(host, ""));
        if in_file {
            document.write()?;
        }
        Ok(by_helper || in_file)
    }

    fn written(&self) -> Result<&PathBuf> {
        self.files.last().ok_or_else(|| {
            Error::new(
                Kind::Settings,
                "no file is named in which a login could be kept",
            )
        })
    }

    fn helper(&self, name: &str) -> Result<Helper> {
        Helper::named(name, self.patience)
    }
}

/// The key under which we keep a host's login.
fn own_key(host: &str) -> &str {
    if is_hub(host) { HUB } else { host }
}

fn is_hub(host: &str) -> bool {
    matches!(
        host,
        "docker.io" | "index.docker.io" | "registry-1.docker.io"
    )
}

/// The keys that a login may be found under, longest first.
fn keys(host: &str, path: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = path;
    while !path.is_empty() {
        keys.push(format!("{host}/{path}"));
        path = path.rsplit_once('/').map_or("", |(front, _)| front);
    }
    if is_hub(host) {
        keys.push(HUB.to_string());
        keys.extend(["docker.io", "index.docker.io", "registry-1.docker.io"].map(str::to_string));
    } else {
        keys.push(host.to_string());
    }
    keys
}

#[cfg(test)]
mod tests;
