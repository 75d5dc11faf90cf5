//! Docker's oldest archive, from before images had configs: `repositories` names the topmost layer, and each layer has a folder with a
//! `json` that names its parent. The config is made of those.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use image::{Config, Digest, History, Process, Reference};
use serde::Deserialize;
use store::{Lease, Store};

use super::collect::Collected;
use super::{Candidate, docker};
use crate::documents::Read;
use crate::{Error, Kind};

/// Layers on each other.
const MOST: usize = image::Document::MOST_LAYERS;

/// One layer's `json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Layer {
    parent: Option<String>,
    created: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Process>,
    container_config: Option<Process>,
    throwaway: bool,
}

/// Finds the images that `repositories` names.
pub(crate) fn read(store: &Store, lease: &Lease, collected: &Collected) -> Result<Vec<Candidate>> {
    let mut found: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    if let Some(text) = collected.text("repositories") {
        let named: BTreeMap<String, BTreeMap<String, String>> = parse("repositories", text)?;
        for (repository, tags) in named {
            for (tag, id) in tags {
                let name = format!("{repository}:{tag}");
                let name = name
                    .parse::<Reference>()
                    .map_err(|error| Error::new(Kind::Damaged, format!("repositories: {error}")))?;
                found.entry(id).or_default().push(name);
            }
        }
    } else if let Some(top) = top(collected)? {
        found.insert(top, Vec::new());
    }
    let mut images = Vec::new();
    for (id, names) in found {
        let chain = chain(collected, &id)?;
        let (config, paths) = config(collected, &chain)?;
        let mut candidate = docker::candidate(store, lease, collected, &config, &paths)?;
        candidate.names = names;
        images.push(candidate);
    }
    Ok(images)
}

fn parse<'a, T: Deserialize<'a>>(name: &str, text: &'a [u8]) -> Result<T> {
    let parsed = serde_json::from_slice(text);
    Ok(parsed.map_err(|error| Error::new(Kind::Damaged, format!("{name}: {error}")))?)
}

/// The one layer that is nobody's parent, where no names tell.
fn top(collected: &Collected) -> Result<Option<String>> {
    let mut ids: Vec<&str> = collected.texts_named("json").map(|(id, _)| id).collect();
    for (_, text) in collected.texts_named("json") {
        let layer: Layer = parse("json", text)?;
        ids.retain(|id| layer.parent.as_deref() != Some(id));
    }
    Ok(match ids.as_slice() {
        [id] => Some((*id).to_string()),
        _ => None,
    })
}

/// The layers from the lowest to this one.
fn chain(collected: &Collected, top: &str) -> Result<Vec<(String, Layer)>> {
    let mut chain: Vec<(String, Layer)> = Vec::new();
    let mut next = Some(top.to_string());
    while let Some(id) = next {
        let path = format!("{id}/json");
        let Some(text) = collected.text(&path) else {
            bail!(Error::new(
                Kind::Damaged,
                format!("the archive lacks {path}")
            ));
        };
        let layer: Layer = parse(&path, text)?;
        next = layer.parent.clone().filter(|parent| !parent.is_empty());
        if chain.len() == MOST || chain.iter().any(|(other, _)| *other == id) {
            bail!(Error::new(
                Kind::Damaged,
                format!("{path}: its parents never end")
            ));
        }
        chain.push((id, layer));
    }
    chain.reverse();
    Ok(chain)
}

fn config(collected: &Collected, chain: &[(String, Layer)]) -> Result<(Read<Config>, Vec<String>)> {
    let mut config = Config::default();
    let mut paths = Vec::new();
    for (id, layer) in chain {
        let command = layer
            .container_config
            .as_ref()
            .map(|config| config.cmd.join(" "));
        config.history.push(History {
            created: layer.created.clone(),
            created_by: command.filter(|command| !command.is_empty()),
            author: layer.author.clone(),
            comment: layer.comment.clone(),
            empty_layer: layer.throwaway,
        });
        if layer.throwaway {
            continue;
        }
        let path = format!("{id}/layer.tar");
        let Some(blob) = collected.blob(&path) else {
            bail!(Error::new(
                Kind::Damaged,
                format!("the archive lacks {path}")
            ));
        };
        config.rootfs.diff_ids.push(blob.digest);
        paths.push(path);
    }
    if let Some((_, top)) = chain.last() {
        config.created.clone_from(&top.created);
        config.author.clone_from(&top.author);
        config.architecture = top
            .architecture
            .clone()
            .unwrap_or_else(|| "amd64".to_string());
        config.os = top.os.clone().unwrap_or_else(|| "linux".to_string());
        config.config.clone_from(&top.config);
    }
    let bytes = config.to_bytes();
    let digest = Digest::of(&bytes);
    let config = Read {
        digest,
        bytes,
        value: config,
    };
    Ok((config, paths))
}
