//! docker's `daemon.json`, of which two keys concern registries, and its `certs.d`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::files;
use crate::hosts::{Able, HUB, Hosts, Mirror, Rule, Server, Tls, check_mirror, declared, unquoted};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    registry_mirrors: Option<Vec<String>>,
    insecure_registries: Option<Vec<String>>,
}

pub(crate) fn load(path: &Path, hosts: &mut Hosts) -> Result<()> {
    let Some(bytes) = files::read(path)? else {
        return Ok(());
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(());
    }
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| {
        let why = unquoted(&error.to_string());
        Error::new(Kind::Settings, format!("{}: {why}", path.display()))
    })?;
    for text in document.insecure_registries.unwrap_or_default() {
        let what = format!("{}: insecure-registries:", path.display());
        hosts.insecure.push(declared(&text, &what)?);
    }
    let mirrors = document.registry_mirrors.unwrap_or_default();
    let mirrors: Vec<Mirror> = mirrors.into_iter().map(mirror).collect();
    for mirror in &mirrors {
        check_mirror(&format!("{}: registry-mirrors", path.display()), mirror)?;
    }
    if !mirrors.is_empty() {
        hosts.rules.push(Rule {
            prefix: HUB.to_string(),
            mirrors,
            ..Rule::default()
        });
    }
    Ok(())
}

fn mirror(url: String) -> Mirror {
    let url = if url.contains("://") {
        url
    } else {
        format!("https://{url}")
    };
    Mirror {
        url,
        able: Able::PULL,
        insecure: false,
        override_path: false,
        namespace: false,
        server: Server::default(),
    }
}

/// Finds what directories of certificates have for a host: `*.crt` to trust, `*.cert` with `*.key` to show.
pub(crate) fn certificates(dirs: &[PathBuf], host: &str) -> Result<Tls> {
    let mut tls = Tls::default();
    // It becomes part of a path.
    if host.contains('/') || host.starts_with('.') {
        return Ok(tls);
    }
    for dir in dirs {
        let dir = dir.join(host);
        let fault = |error: std::io::Error| {
            Error::new(Kind::Settings, format!("{}: {error}", dir.display()))
        };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                continue;
            }
            Err(error) => return Err(fault(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            files.push(entry.map_err(fault)?.path());
        }
        files.sort();
        for file in files {
            match file.extension().and_then(|end| end.to_str()) {
                Some("crt") => tls.authorities.push(file),
                Some("cert") => {
                    let key = file.with_extension("key");
                    tls.client.push((file, key));
                }
                _ => {}
            }
        }
    }
    Ok(tls)
}
