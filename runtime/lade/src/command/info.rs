//! `lade info`, `lade system info`.

use serde_json::Value;

use crate::failure::{Failure, print};
use crate::session::Session;
use crate::{format, sizes};

/// Show what lade has, and on what it runs
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print by a Go template, such as '{{.Images}}', or json
    #[arg(long, short = 'f')]
    format: Option<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let info = session.engine()?.info()?;
    let info = serde_json::to_value(info)
        .map_err(|error| Failure::new(format!("write the information: {error}")))?;
    match args.format.as_deref() {
        None | Some("") => print(&lines(&info, 0)),
        Some(template) => print(&format::object(template, &info)?),
    }
}

/// Writes an object as docker's `info` does: a line for each field, what is inside a field below it.
pub(super) fn lines(value: &Value, depth: usize) -> String {
    let indent = " ".repeat(depth);
    let mut out = String::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        let name = spaced(key);
        match value {
            Value::Null => {}
            Value::Object(inner) if inner.is_empty() => {}
            Value::Object(_) => {
                out.push_str(&format!("{indent}{name}:\n{}", lines(value, depth + 1)));
            }
            Value::Array(list) if list.is_empty() => {}
            Value::Array(list) => {
                out.push_str(&format!("{indent}{name}:\n"));
                for item in list {
                    out.push_str(&format!("{indent} {}\n", plain(key, item)));
                }
            }
            value => {
                let text = plain(key, value);
                if !text.is_empty() {
                    out.push_str(&format!("{indent}{name}: {text}\n"));
                }
            }
        }
    }
    out
}

fn plain(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if key == "MemTotal" => {
            number.as_u64().map_or_else(String::new, sizes::binary)
        }
        // Docker's pairs of a name and a value.
        Value::Array(pair) => {
            let words: Vec<_> = pair.iter().map(|item| plain(key, item)).collect();
            words.join(": ")
        }
        other => other.to_string(),
    }
}

/// Writes a field's name for people: docker's own words where it has some.
fn spaced(key: &str) -> String {
    let known = [
        ("Driver", "Storage Driver"),
        ("NCPU", "CPUs"),
        ("MemTotal", "Total Memory"),
        ("OSType", "OSType"),
        ("DockerRootDir", "Data Root"),
        ("OSVersion", "OS Version"),
        ("ID", "ID"),
    ];
    if let Some((_, name)) = known.iter().find(|(known, _)| *known == key) {
        return (*name).to_owned();
    }
    let mut out = String::new();
    let mut before = ' ';
    for letter in key.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        out.push(letter);
        before = letter;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_lines() {
        let info = serde_json::json!({
            "Images": 3, "ServerVersion": "0.1.0", "Driver": "overlay", "DriverStatus": [["Data", "1B"]],
            "MemTotal": 25_282_105_344_u64, "NCPU": 2, "Warnings": [], "Name": "", "Debug": false, "Swarm": {"LocalNodeState": "inactive"},
        });
        let want = "Images: 3\nServer Version: 0.1.0\nStorage Driver: overlay\nDriver Status:\n Data: 1B\nTotal Memory: 23.55GiB\nCPUs: 2\nDebug: false\nSwarm:\n Local Node State: inactive\n";
        assert_eq!(lines(&info, 0), want);
    }
}
