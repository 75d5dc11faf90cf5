//! containerd's `certs.d/HOST/hosts.toml`. Keys that we do not know are passed over: the file is not ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Value;
use toml::map::Map;

use crate::error::{Error, Kind, Result};
use crate::files;
use crate::hosts::native::parse;
use crate::hosts::{Able, Mirror, Server, Tls, unquoted};

/// What is said of one host.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) origin: Option<Mirror>,
}

#[derive(Deserialize)]
struct Document {
    server: Option<String>,
    /// In the order of the file, which is the order of asking.
    #[serde(default)]
    host: Map<String, Value>,
    #[serde(flatten)]
    origin: Entry,
}

#[derive(Deserialize, Default)]
struct Entry {
    capabilities: Option<Vec<String>>,
    ca: Option<Value>,
    client: Option<Value>,
    skip_verify: Option<bool>,
    override_path: Option<bool>,
    header: Option<Map<String, Value>>,
    dial_timeout: Option<String>,
}

/// Reads the first file that there is for a host.
pub(crate) fn load(dirs: &[PathBuf], host: &str) -> Result<Configured> {
    for dir in dirs {
        for name in names(host) {
            let file = dir.join(name).join("hosts.toml");
            if let Some(bytes) = files::read(&file)? {
                return read(&file, &bytes, host);
            }
        }
    }
    Ok(Configured::default())
}

/// A port is written `host_port_`, too: some file systems know no colon.
fn names(host: &str) -> Vec<String> {
    // It becomes part of a path.
    if host.contains('/') || host.starts_with('.') {
        return Vec::new();
    }
    let mut names = Vec::new();
    if let Some((name, port)) = host.rsplit_once(':')
        && !port.contains(']')
    {
        names.push(format!("{name}_{port}_"));
    }
    names.extend([host.to_string(), "_default".to_string()]);
    names
}

fn read(file: &Path, bytes: &[u8], host: &str) -> Result<Configured> {
    let document: Document = parse(file, bytes)?;
    let dir = file.parent().unwrap_or(Path::new("/"));
    let mut configured = Configured::default();
    for (url, value) in document.host {
        let entry: Entry = value.try_into().map_err(|error: toml::de::Error| {
            let at = format!("{}: host.{url:?}", file.display());
            Error::new(
                Kind::Settings,
                format!("{at}: {}", unquoted(error.message())),
            )
        })?;
        configured
            .mirrors
            .push(mirror(dir, with_scheme(&url), entry)?);
    }
    // Of `_default`, the server of each name is its own host.
    let url = document
        .server
        .map_or_else(|| with_scheme(host), |server| with_scheme(&server));
    let hub = url.trim_end_matches('/') == "https://docker.io";
    let url = if hub {
        "https://registry-1.docker.io".to_string()
    } else {
        url
    };
    configured.origin = Some(mirror(dir, url, document.origin)?);
    Ok(configured)
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") {
        return url.to_string();
    }
    format!("https://{url}")
}

fn mirror(dir: &Path, url: String, entry: Entry) -> Result<Mirror> {
    let able = match &entry.capabilities {
        Some(list) => {
            let has = |what: &str| list.iter().any(|one| one == what);
            Able {
                resolve: has("resolve"),
                pull: has("pull"),
                push: has("push"),
            }
        }
        None => Able {
            push: true,
            ..Able::PULL
        },
    };
    let server = Server {
        tls: Tls {
            anybody: entry.skip_verify.unwrap_or(false),
            authorities: paths(dir, entry.ca.as_ref()),
            client: pairs(dir, entry.client.as_ref()),
            named: None,
        },
        headers: headers(entry.header),
        connect: entry.dial_timeout.as_deref().and_then(duration),
    };
    Ok(Mirror {
        url,
        able,
        insecure: false,
        override_path: entry.override_path.unwrap_or(false),
        namespace: true,
        server,
    })
}

fn paths(dir: &Path, value: Option<&Value>) -> Vec<PathBuf> {
    match value {
        Some(Value::String(path)) => vec![dir.join(path)],
        Some(Value::Array(all)) => {
            let texts = all.iter().filter_map(Value::as_str);
            texts.map(|path| dir.join(path)).collect()
        }
        _ => Vec::new(),
    }
}

/// One file with both, files with both each, or pairs of certificate and key.
fn pairs(dir: &Path, value: Option<&Value>) -> Vec<(PathBuf, PathBuf)> {
    let both = |path: &str| (dir.join(path), dir.join(path));
    match value {
        Some(Value::String(path)) => vec![both(path)],
        Some(Value::Array(all)) => all
            .iter()
            .filter_map(|one| match one {
                Value::String(path) => Some(both(path)),
                Value::Array(pair) => {
                    let cert = pair.first()?.as_str()?;
                    let key = pair
                        .get(1)
                        .and_then(Value::as_str)
                        .filter(|key| !key.is_empty());
                    Some((dir.join(cert), dir.join(key.unwrap_or(cert))))
                }
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn headers(table: Option<Map<String, Value>>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value) in table.unwrap_or_default() {
        let value = match &value {
            Value::Array(all) => all.first().and_then(Value::as_str),
            other => other.as_str(),
        };
        headers.extend(value.map(|value| (name, value.to_string())));
    }
    headers
}

/// Reads Go's way of writing a time, of one unit: `5s`, `1.5m`, `300ms`.
fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = match &text[at..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let number: f64 = text[..at].parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}
