//! A bundle: a directory with a `config.json`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use oci_spec::runtime::{Mount, Process, Spec};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::spelling;

/// A bundle as it was read, before anything is decided.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute, without symlinks.
    pub dir: PathBuf,
    pub spec: Spec,
}

impl Bundle {
    /// Reads `config.json` of a bundle directory, or `config` in its place.
    ///
    /// Unknown fields are passed over, as the specification demands; a field of a wrong shape is named by its JSON path.
    pub fn load(dir: &Path, config: Option<&Path>) -> Result<Self> {
        let dir = dir
            .canonicalize()
            .map_err(|error| anyhow::anyhow!("bundle {}: {}", dir.display(), lower(&error)))?;
        let file = config.map_or_else(|| dir.join("config.json"), Path::to_path_buf);
        let spec = read_json(&file)?;
        Ok(Self { dir, spec })
    }
}

/// Reads a list of mounts, as `mounts` of a configuration has them: that list alone, or an object with it.
pub fn load_mounts(file: &Path) -> Result<Vec<Mount>> {
    #[derive(Deserialize)]
    struct Section {
        mounts: Vec<Mount>,
    }
    let bytes = std::fs::read(file)
        .map_err(|error| anyhow::anyhow!("{}: {}", file.display(), lower(&error)))?;
    let name = file.display().to_string();
    let list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if list {
        parse_json(&bytes, &name)
    } else {
        parse_json::<Section>(&bytes, &name).map(|section| section.mounts)
    }
}

/// Reads the `process.json` that `exec --process` names.
pub fn load_process(file: &Path) -> Result<Process> {
    read_json(file)
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => bail!("{}: {}", file.display(), lower(&error)),
    };
    parse_json(&bytes, &file.display().to_string())
}

/// Parses JSON from anywhere; `name` says where from.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T> {
    // The path is tracked only when it is needed: tracking doubles the time of a parse that succeeds.
    serde_json::from_slice(bytes).or_else(|plain| {
        if let Ok(mut value) = serde_json::from_slice(bytes)
            && spelling::translate(&mut value)
        {
            return tracked(value, name);
        }
        tracked::<T, _>(&mut serde_json::Deserializer::from_slice(bytes), name)?;
        bail!("{name}: {plain}")
    })
}

fn tracked<'de, T: DeserializeOwned, D>(json: D, name: &str) -> Result<T>
where
    D: serde::Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(json).map_err(|error| {
        let inner = error.inner().to_string();
        // A field that is missing is not on the way to itself.
        let missing = inner
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next());
        let path = error.path().to_string();
        match (path.as_str(), missing) {
            (".", None) => anyhow::anyhow!("{name}: {inner}"),
            (".", Some(field)) => anyhow::anyhow!("{name}: {field}: {inner}"),
            (path, None) => anyhow::anyhow!("{name}: {path}: {inner}"),
            (path, Some(field)) => anyhow::anyhow!("{name}: {path}.{field}: {inner}"),
        }
    })
}

/// Returns an I/O error's reason as messages use it, without the errno's number.
#[must_use]
pub fn lower(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |raw| sys::reason(sys::Errno::from_raw(raw)),
    )
}
