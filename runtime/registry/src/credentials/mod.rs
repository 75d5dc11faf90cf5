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
}

/// A helper may ask a person for the key of a key ring.
const PATIENCE: Duration = Duration::from_secs(60);

impl Default for Credentials {
    fn default() -> Self {
        Self::from_files(Vec::new())
    }
}

impl Credentials {
    /// Takes files in the order of reading; missing ones are passed over. A login is written to the one that has one for its host, else to the
    /// last.
    pub fn from_files(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            given: BTreeMap::new(),
        }
    }

    /// Adds a login that is in no file; it comes before all of them.
    #[must_use]
    pub fn with(mut self, host: &str, login: Login) -> Self {
        self.given.insert(host.to_string(), login);
        self
    }

    /// Returns the login for a repository (`path` may be empty: for the host). Reads files and may run a helper program, so it blocks.
    pub fn lookup(&self, host: &str, path: &str) -> Result<Option<Login>> {
        let found = self.find(host, path)?;
        match found.failed {
            Some(error) => Err(error),
            None => Ok(found.login),
        }
    }

    /// Looks for a login. A helper program that is no help does not end it: most of what is pulled needs no login.
    pub(crate) fn find(&self, host: &str, path: &str) -> Result<Found> {
        if let Some(login) = self.given.get(host) {
            return Ok(Found::some(login.clone()));
        }
        let (keys, mut found) = (keys(host, path), Found::default());
        for file in &self.files {
            let Some(document) = Document::read(file)? else {
                continue;
            };
            let own = keys.iter().map(|key| (document.helper(key), key.as_str()));
            for (name, key) in own.chain([(document.store(), own_key(host))]) {
                let Some(name) = name else { continue };
                match self.helper(name).and_then(|helper| helper.get(key)) {
                    Ok(Some(login)) => return Ok(Found::some(login)),
                    Ok(None) => {}
                    Err(error) if error.kind() == Kind::NoProgram => found.missing = Some(error),
                    Err(error) => found.failed = Some(error),
                }
            }
            if let Some(login) = document.login(&keys)? {
                return Ok(Found::some(login));
            }
        }
        Ok(found)
    }

    /// Keeps a login: with the helper program that the file names for the host, else in the file itself, which is returned then.
    pub fn store(&self, host: &str, login: &Login) -> Result<Option<PathBuf>> {
        let (path, mut document) = self.place(host)?;
        let plain = match keeper(&document, host) {
            Some((name, key)) => {
                self.helper(name)?.store(&key, login)?;
                document.mark(&key)?;
                None
            }
            None => {
                document.set(own_key(host), login)?;
                Some(path.clone())
            }
        };
        document.write()?;
        Ok(plain)
    }

    /// Forgets the login at a host in every file, and tells whether there was one. What cannot be forgotten keeps the rest from nothing; the
    /// first such error is returned.
    pub fn erase(&self, host: &str) -> Result<bool> {
        let (mut erased, mut failed) = (false, None);
        for path in &self.files {
            let Some(mut document) = Document::read(path)? else {
                continue;
            };
            if let Some((name, key)) = keeper(&document, host) {
                match self.helper(name).and_then(|helper| helper.erase(&key)) {
                    Ok(had) => erased |= had,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            if document.remove(&keys(host, "")) {
                document.write()?;
                erased = true;
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(erased),
        }
    }

    /// Returns the file that a host's login belongs into: the first that has one, which would hide one in a later file; else the last.
    fn place(&self, host: &str) -> Result<(&PathBuf, Document)> {
        for path in &self.files {
            if let Some(document) = Document::read(path)?
                && self.has(&document, host)
            {
                return Ok((path, document));
            }
        }
        let path = self.files.last().ok_or_else(|| {
            Error::new(
                Kind::Settings,
                "no file is named in which a login could be kept",
            )
        })?;
        let document = Document::read(path)?;
        Ok((path, document.unwrap_or_else(|| Document::empty(path))))
    }

    fn has(&self, document: &Document, host: &str) -> bool {
        let keys = keys(host, "");
        let helped = || {
            let (name, key) = keeper(document, host)?;
            self.helper(name).and_then(|one| one.get(&key)).ok()?
        };
        document.names(&keys)
            || keys.iter().any(|key| document.helper(key).is_some())
            || helped().is_some()
    }

    fn helper(&self, name: &str) -> Result<Helper> {
        Helper::named(name, PATIENCE)
    }
}

/// What a look-up has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) login: Option<Login>,
    /// A helper program that is named and cannot be started.
    pub(crate) missing: Option<Error>,
    /// What a helper program said that could not answer.
    pub(crate) failed: Option<Error>,
}

impl Found {
    fn some(login: Login) -> Self {
        Self {
            login: Some(login),
            ..Self::default()
        }
    }
}

/// Returns the program that a file names for a host, and the key under which it has the login.
fn keeper<'a>(document: &'a Document, host: &str) -> Option<(&'a str, String)> {
    let own = keys(host, "")
        .into_iter()
        .find_map(|key| Some((document.helper(&key)?, key)));
    own.or_else(|| Some((document.store()?, own_key(host).to_string())))
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
