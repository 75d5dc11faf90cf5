//! A bundle: a directory with a `config.json`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Mount, Process, Spec};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{shape, spelling, unknown};

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
        Self::parse(dir, &read(&file)?, &file.display().to_string())
    }

    /// Parses a configuration for a bundle directory, of which nothing is looked at; `name` says where it is from.
    pub fn parse(dir: PathBuf, config: &[u8], name: &str) -> Result<Self> {
        let spec = parse_document(config, name)?;
        if let Some(path) = nul(config, &spec)? {
            bail!("{name}: {path}: holds a NUL character, which no text for the kernel may");
        }
        Ok(Self { dir, spec })
    }
}

/// Returns the JSON paths of what a bundle's configuration, or `config` in its place, has and the specification does not know.
///
/// It is read once more for that: a creation, which passes all of it over, has no use for its text.
pub fn unknown_properties(bundle: &Bundle, config: Option<&Path>) -> Result<Vec<String>> {
    let file = config.map_or_else(|| bundle.dir.join("config.json"), Path::to_path_buf);
    let mut given = parse_json(&read(&file)?, &file.display().to_string())?;
    spelling::translate(&mut given);
    let known = serde_json::to_value(&bundle.spec).context("write the configuration as JSON")?;
    Ok(unknown::properties(&given, &known))
}

/// Returns the JSON path of a text with a NUL in it. JSON has one way to write it, so that most configurations are not looked through.
fn nul(config: &[u8], spec: &Spec) -> Result<Option<String>> {
    let mut behind = config.split(|byte| *byte == b'\\').skip(1);
    if !behind.any(|rest| rest.starts_with(b"u0000")) {
        return Ok(None);
    }
    let mut value = serde_json::to_value(spec).context("write the configuration as JSON")?;
    // For the hooks to read, and for nobody else.
    value.as_object_mut().map(|all| all.remove("annotations"));
    Ok(find_nul(&value, ""))
}

fn find_nul(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(|| at.to_string()),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .find_map(|(index, value)| find_nul(value, &format!("{at}[{index}]"))),
        Value::Object(map) => map.iter().find_map(|(key, value)| {
            let dot = if at.is_empty() { "" } else { "." };
            let here = format!("{at}{dot}{}", key.escape_default());
            if key.contains('\0') {
                return Some(here);
            }
            find_nul(value, &here)
        }),
        _ => None,
    }
}

/// Reads a list of mounts, as `mounts` of a configuration has them: that list alone, or an object with it.
pub fn load_mounts(file: &Path) -> Result<Vec<Mount>> {
    parse_mounts(&read(file)?, &file.display().to_string())
}

/// Parses such a list; `name` says where it is from.
pub fn parse_mounts(bytes: &[u8], name: &str) -> Result<Vec<Mount>> {
    #[derive(Deserialize)]
    struct Section {
        mounts: Vec<Mount>,
    }
    let list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if list {
        parse_json(bytes, name)
    } else {
        parse_document::<Section>(bytes, name).map(|section| section.mounts)
    }
}

/// Reads the `process.json` that `exec --process` names.
pub fn load_process(file: &Path) -> Result<Process> {
    parse_process(&read(file)?, &file.display().to_string())
}

/// Parses a `process.json`; `name` says where it is from.
pub fn parse_process(bytes: &[u8], name: &str) -> Result<Process> {
    parse_document(bytes, name)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| anyhow::anyhow!("{}: {}", file.display(), lower(&error)))
}

/// Parses a JSON object of the specification; `name` says where it is from. A list in the place of an object is refused: what reads the
/// text would take its elements for the object's fields, one after the other.
pub(crate) fn parse_document<T: DeserializeOwned>(bytes: &[u8], name: &str) -> Result<T> {
    if let Some(path) = shape::misplaced_list(bytes) {
        let path = if path.is_empty() { path } else { path + ": " };
        bail!("{name}: {path}is a list; write an object, {{\"NAME\": VALUE, ...}}");
    }
    parse_json(bytes, name)
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
        bail!("{name}: {}", plain_words(&plain.to_string()))
    })
}

fn tracked<'de, T: DeserializeOwned, D>(json: D, name: &str) -> Result<T>
where
    D: serde::Deserializer<'de, Error = serde_json::Error>,
{
    serde_path_to_error::deserialize(json).map_err(|error| {
        let inner = plain_words(&error.inner().to_string());
        // A field that is missing is not on the way to itself.
        let missing = inner
            .strip_prefix("missing field `")
            .and_then(|rest| rest.split('`').next());
        let path = error.path().to_string();
        // Where the text ends too early there is a place without a name.
        let path = path.strip_suffix('?').unwrap_or(&path);
        match (path.strip_suffix('.').unwrap_or(path), missing) {
            ("" | ".", None) => anyhow::anyhow!("{name}: {inner}"),
            ("" | ".", Some(field)) => anyhow::anyhow!("{name}: {field}: {inner}"),
            (path, None) => anyhow::anyhow!("{name}: {path}: {inner}"),
            (path, Some(field)) => anyhow::anyhow!("{name}: {path}.{field}: {inner}"),
        }
    })
}

/// Says in our words what the crates that read JSON and the specification's names say in theirs.
fn plain_words(text: &str) -> String {
    if let Some(rest) = text.strip_prefix("EOF while parsing ") {
        return format!("the text ends in the middle of {rest}; is it whole?");
    }
    if let Some((name, _)) = text
        .strip_prefix("no variant for ")
        .and_then(|rest| rest.split_once(" (converted to "))
    {
        return format!(
            "unknown capability {name:?}; use a name of capabilities(7), such as CAP_NET_ADMIN"
        );
    }
    if let Some(list) = text.strip_prefix("Invalid execCPUAffinity format: ") {
        return format!("{list:?} is not a list of processors; write one such as \"0-3,5\"");
    }
    text.to_owned()
}

/// Returns an I/O error's reason as messages use it, without the errno's number.
#[must_use]
pub fn lower(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(
        || error.to_string(),
        |raw| sys::reason(sys::Errno::from_raw(raw)),
    )
}
