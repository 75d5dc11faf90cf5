//! One file of logins. What we do not know in it stays as it is, in its place.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde_json::{Map, Value};

use crate::credentials::Login;
use crate::error::{Error, Kind, Result};
use crate::files;
use crate::secret::Secret;

/// Hand-made files have no padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A file as it was read. Debug would show what is in it.
pub(crate) struct Document {
    path: PathBuf,
    all: Map<String, Value>,
}

impl Document {
    pub(crate) fn empty(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            all: Map::new(),
        }
    }

    /// Reads a file; nothing where there is none. An empty file is an empty document.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = files::read(path)? else {
            return Ok(None);
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(Some(Self::empty(path)));
        }
        let all = serde_json::from_slice(&bytes).map_err(|error| {
            // The parser's own words could quote a secret; its place cannot.
            let place = format!("line {} column {}", error.line(), error.column());
            Error::new(
                Kind::Settings,
                format!("{}: is not a JSON object ({place})", path.display()),
            )
            .advise("repair it or move it away, then log in again")
        })?;
        Ok(Some(Self {
            path: path.to_path_buf(),
            all,
        }))
    }

    pub(crate) fn write(&self) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(&self.all)
            .map_err(|_| Error::new(Kind::Settings, "logins cannot be written as JSON"))?;
        bytes.push(b'\n');
        files::replace(&self.path, &bytes)
    }

    /// Returns the helper program for one key.
    pub(crate) fn helper(&self, key: &str) -> Option<&str> {
        let name = self.all.get("credHelpers")?.as_object()?.get(key)?.as_str();
        name.filter(|name| !name.is_empty())
    }

    /// Returns the helper program for every host.
    pub(crate) fn store(&self) -> Option<&str> {
        let name = self.all.get("credsStore")?.as_str();
        name.filter(|name| !name.is_empty())
    }

    /// Returns the login under the first of some keys that has one.
    pub(crate) fn login(&self, keys: &[String]) -> Result<Option<Login>> {
        let Some(auths) = self.auths() else {
            return Ok(None);
        };
        for key in keys {
            let exact = auths.get(key);
            // Older files have addresses in the place of hosts.
            let found = exact.or_else(|| {
                let mut all = auths.iter();
                all.find(|(known, _)| host_of(known) == Some(key))
                    .map(|(_, value)| value)
            });
            if let Some(entry) = found
                && let Some(login) = self.entry(key, entry)?
            {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// Tells whether there is an entry under one of some keys, be it empty.
    pub(crate) fn names(&self, keys: &[String]) -> bool {
        let mut known = self.auths().into_iter().flat_map(Map::keys);
        known.any(|known| stands_for(known, keys))
    }

    fn auths(&self) -> Option<&Map<String, Value>> {
        self.all.get("auths")?.as_object()
    }

    fn entry(&self, key: &str, entry: &Value) -> Result<Option<Login>> {
        let text = |name: &str| {
            let text = entry.get(name).and_then(Value::as_str);
            text.filter(|text| !text.is_empty())
        };
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Login::Token(Secret::new(token))));
        }
        let pair = match text("auth") {
            Some(auth) => Some(decode(auth).ok_or_else(|| {
                Error::new(
                    Kind::Settings,
                    format!(
                        "{}: auths: {key}: auth is not base64 of user:password",
                        self.path.display()
                    ),
                )
                .advise("log in again")
            })?),
            None => None,
        };
        let (user, password) = pair.unwrap_or_default();
        let user = text("username").map_or(user, str::to_string);
        let password = text("password").map_or(password, str::to_string);
        if let Some(token) = text("identitytoken") {
            let token = Secret::new(token);
            return Ok(Some(Login::Identity { user, token }));
        }
        if user.is_empty() {
            return Ok(None);
        }
        let password = Secret::new(password);
        Ok(Some(Login::Password { user, password }))
    }

    /// Puts a login under a key.
    pub(crate) fn set(&mut self, key: &str, login: &Login) -> Result<()> {
        let encoded = |user: &str, password: &str| {
            Value::String(STANDARD.encode(format!("{user}:{password}")))
        };
        let mut entry = Map::new();
        match login {
            Login::Password { user, password } => {
                entry.insert("auth".into(), encoded(user, password.expose()));
            }
            Login::Identity { user, token } => {
                entry.insert("auth".into(), encoded(user, ""));
                entry.insert("identitytoken".into(), token.expose().into());
            }
            Login::Token(token) => {
                entry.insert("registrytoken".into(), token.expose().into());
            }
        }
        self.put(key, entry)
    }

    /// Notes that a helper program has the login of a key, as docker does: other programs list hosts from here.
    pub(crate) fn mark(&mut self, key: &str) -> Result<()> {
        self.put(key, Map::new())
    }

    fn put(&mut self, key: &str, entry: Map<String, Value>) -> Result<()> {
        let auths = self.all.entry("auths").or_insert_with(|| Map::new().into());
        // An empty list is what some languages write for an empty object.
        if auths.is_null() || auths.as_array().is_some_and(Vec::is_empty) {
            *auths = Map::new().into();
        }
        let auths = auths.as_object_mut().ok_or_else(|| {
            Error::new(
                Kind::Settings,
                format!("{}: auths is not an object", self.path.display()),
            )
        })?;
        auths.insert(key.to_string(), entry.into());
        Ok(())
    }

    /// Removes what lies under some keys, and tells whether there was something.
    pub(crate) fn remove(&mut self, keys: &[String]) -> bool {
        let Some(auths) = self.all.get_mut("auths").and_then(Value::as_object_mut) else {
            return false;
        };
        let before = auths.len();
        auths.retain(|known, _| !stands_for(known, keys));
        auths.len() != before
    }
}

fn stands_for(known: &str, keys: &[String]) -> bool {
    keys.iter()
        .any(|key| key == known || host_of(known) == Some(key))
}

/// Returns the host of a key that is an address.
fn host_of(key: &str) -> Option<&str> {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))?;
    bare.split('/').next()
}

fn decode(auth: &str) -> Option<(String, String)> {
    let bytes = LENIENT.decode(auth.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // docker itself pads so.
    let password = password.trim_end_matches('\0');
    Some((user.to_string(), password.to_string()))
}
