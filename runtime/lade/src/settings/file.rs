//! The configuration file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{KEYS, Options, Surroundings};
use crate::failure::Failure;
use crate::mistake::near;

/// Where it is looked for when nobody names one.
const SYSTEM: &str = "/etc/lade/config.json";

/// A configuration file, with keys that are all known.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) path: PathBuf,
    keys: Map<String, Value>,
}

impl File {
    /// Reads the file that was named, which has to be there, or the one in its usual place, which need not.
    pub(super) fn find(options: &Options, around: &Surroundings<'_>) -> Result<Self, Failure> {
        let named = options.config.clone();
        if let Some(path) = named.or_else(|| around.path("LADE_CONFIG")) {
            let text = read(&path)?.ok_or_else(|| {
                Failure::new(format!("{}: there is no such file", path.display()))
                    .hint("--config and LADE_CONFIG name a configuration file")
            })?;
            return Self::parse(&path, &text);
        }
        let own = around
            .own("XDG_CONFIG_HOME", ".config")
            .filter(|_| !around.root);
        let own = own.map(|dir| dir.join("lade/config.json"));
        for path in own.into_iter().chain([PathBuf::from(SYSTEM)]) {
            if let Some(text) = read(&path)? {
                return Self::parse(&path, &text);
            }
        }
        Ok(Self::default())
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let name = path.display();
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Failure::new(format!("{name}: not JSON: {error}")))?;
        let Value::Object(keys) = value else {
            return Err(Failure::new(format!("{name}: not a JSON object")));
        };
        for (key, value) in &keys {
            if !KEYS.contains(&key.as_str()) {
                let known = match near(key, KEYS.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("the keys are {}", KEYS.join(", ")),
                };
                return Err(Failure::new(format!("{name}: unknown key {key:?}")).hint(known));
            }
            let plain = match value {
                Value::String(_) | Value::Bool(_) | Value::Number(_) => true,
                Value::Array(list) => list.iter().all(Value::is_string),
                Value::Null | Value::Object(_) => false,
            };
            if !plain {
                let text =
                    format!("{name}: {key}: {value} is not a text, a number or a list of texts");
                return Err(Failure::new(text));
            }
        }
        let path = path.to_owned();
        Ok(Self { path, keys })
    }

    /// Returns a value as a text: a list has commas between its words.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.keys.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Array(list) => {
                let words: Vec<_> = list.iter().filter_map(Value::as_str).collect();
                Some(words.join(","))
            }
            other => Some(other.to_string()),
        }
    }
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("read {}: {error}", path.display()))),
    }
}
