//! podman's `registries.conf`, version 2, and its directories of more of them. Keys that we do not know are passed over.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::files;
use crate::hosts::native::parse;
use crate::hosts::{Able, Hosts, Mirror, Rule, Server};

#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "unqualified-search-registries")]
    search: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<Registry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    registries: Option<toml::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Other>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Other {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

/// Reads a file, or those of a directory by name.
pub(crate) fn load(path: &Path, hosts: &mut Hosts) -> Result<()> {
    if !path.is_dir() {
        return file(path, hosts);
    }
    let fault =
        |error: std::io::Error| Error::new(Kind::Settings, format!("{}: {error}", path.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fault)? {
        let name = entry.map_err(fault)?.path();
        if name.extension().is_some_and(|end| end == "conf") {
            names.push(name);
        }
    }
    names.sort();
    names.iter().try_for_each(|name| file(name, hosts))
}

fn file(path: &Path, hosts: &mut Hosts) -> Result<()> {
    let Some(bytes) = files::read(path)? else {
        return Ok(());
    };
    let document: Document = parse(path, &bytes)?;
    if document.registries.is_some() {
        return Err(Error::new(
            Kind::Settings,
            format!(
                "{}: is of version 1 ([registries.search] and the like)",
                path.display()
            ),
        )
        .advise("write it as version 2: [[registry]], unqualified-search-registries"));
    }
    // A later file replaces the list of an earlier one.
    if let Some(search) = document.search {
        hosts.search = search;
    }
    hosts.aliases.extend(document.aliases);
    for registry in document.registry {
        let rule = rule(registry).ok_or_else(|| {
            Error::new(
                Kind::Settings,
                format!(
                    "{}: a registry has neither prefix nor location",
                    path.display()
                ),
            )
        })?;
        // As does one of the same prefix.
        hosts.rules.retain(|known| {
            known.prefix != rule.prefix || !known.mirrors.is_empty() && rule.mirrors.is_empty()
        });
        hosts.rules.push(rule);
    }
    Ok(())
}

fn rule(registry: Registry) -> Option<Rule> {
    let prefix = if registry.prefix.is_empty() {
        registry.location.clone()
    } else {
        registry.prefix
    };
    if prefix.is_empty() {
        return None;
    }
    let digests = registry.mirror_by_digest_only;
    let location =
        Some(registry.location).filter(|location| !location.is_empty() && *location != prefix);
    Some(Rule {
        location,
        blocked: registry.blocked,
        insecure: registry.insecure,
        server: Server::default(),
        mirrors: registry
            .mirror
            .into_iter()
            .map(|other| mirror(other, digests))
            .collect(),
        prefix,
    })
}

fn mirror(other: Other, digests: bool) -> Mirror {
    let able = match other.pull_from_mirror.as_str() {
        "digest-only" => Able {
            resolve: false,
            ..Able::PULL
        },
        "tag-only" => Able {
            pull: false,
            ..Able::PULL
        },
        _ => Able {
            resolve: !digests,
            ..Able::PULL
        },
    };
    Mirror {
        url: other.location,
        able,
        insecure: other.insecure,
        override_path: false,
        namespace: false,
        server: Server::default(),
    }
}
