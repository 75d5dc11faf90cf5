//! Docker's oldest archive, from before images had configs: `repositories` names the topmost layer, and each layer has a folder with a
//! `json` that names its parent. The config is made of those.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::{Result, bail};
use image::{Config, Digest, History, Process, Reference};
use serde::Deserialize;
use store::{Lease, Store};

use super::collect::Collected;
use super::{Candidates, docker, found};
use crate::documents::{CONFIG, Read};
use crate::{Error, Kind};

/// Layers on each other.
const MOST: usize = image::Document::MOST_LAYERS;
/// Texts of all layers of all images, which go into their configs: a long one may be the parent of many.
const COPIED: u64 = 8 * CONFIG;

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
    /// Of the text.
    #[serde(skip)]
    bytes: u64,
}

/// The `json` of the layers. Each text is read once, however many folders have it: one file can stand in a hundred thousand.
struct Layers<'a> {
    collected: &'a Collected,
    /// By where the text is.
    read: BTreeMap<String, Rc<Layer>>,
    /// Bytes of the texts that configs were made of.
    copied: u64,
}

/// Finds the images that `repositories` names.
pub(crate) fn read(store: &Store, lease: &Lease, collected: &Collected) -> Result<Candidates> {
    let mut layers = Layers {
        collected,
        read: BTreeMap::new(),
        copied: 0,
    };
    let mut named: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    if let Some(text) = collected.text("repositories") {
        let repositories: BTreeMap<String, BTreeMap<String, String>> = parse("repositories", text)?;
        for (repository, tags) in repositories {
            for (tag, id) in tags {
                let name = format!("{repository}:{tag}");
                let name = name
                    .parse::<Reference>()
                    .map_err(|error| Error::new(Kind::Damaged, format!("repositories: {error}")))?;
                named.entry(id).or_default().push(name);
                found::images(named.len())?;
            }
        }
    } else if let Some(top) = layers.top()? {
        named.insert(top, Vec::new());
    }
    let mut images = Candidates::default();
    for (id, names) in named {
        let chain = layers.chain(&id)?;
        let (config, paths) = config(collected, &chain)?;
        let at = match images.place(&config.digest) {
            Some(at) => at,
            None => images.add(docker::candidate(store, lease, collected, &config, &paths)?)?,
        };
        images.name(at, names)?;
    }
    Ok(images)
}

fn parse<'a, T: Deserialize<'a>>(name: &str, text: &'a [u8]) -> Result<T> {
    let parsed = serde_json::from_slice(text);
    Ok(parsed.map_err(|error| Error::new(Kind::Damaged, format!("{name}: {error}")))?)
}

impl Layers<'_> {
    /// The one layer that is nobody's parent, where no names tell.
    fn top(&mut self) -> Result<Option<String>> {
        let ids: Vec<&str> = self
            .collected
            .texts_named("json")
            .map(|(id, _)| id)
            .collect();
        let mut parents = BTreeSet::new();
        for id in &ids {
            parents.extend(self.layer(id)?.parent.clone());
        }
        let mut tops = ids.into_iter().filter(|id| !parents.contains(*id));
        Ok(match (tops.next(), tops.next()) {
            (Some(top), None) => Some(top.to_string()),
            _ => None,
        })
    }

    /// The layers from the lowest to this one.
    fn chain(&mut self, top: &str) -> Result<Vec<(String, Rc<Layer>)>> {
        let mut chain = Vec::new();
        let mut next = Some(top.to_string());
        while let Some(id) = next {
            // Also where one is its own parent.
            if chain.len() == MOST {
                let text = format!("{id}/json: its parents never end");
                bail!(Error::new(Kind::Damaged, text));
            }
            let layer = self.layer(&id)?;
            self.copied += layer.bytes;
            if self.copied > COPIED {
                let text = format!("{id}/json: its layers' texts are too long for a config");
                bail!(Error::new(Kind::Damaged, text));
            }
            next = layer.parent.clone().filter(|parent| !parent.is_empty());
            chain.push((id, layer));
        }
        chain.reverse();
        Ok(chain)
    }

    fn layer(&mut self, id: &str) -> Result<Rc<Layer>> {
        let path = format!("{id}/json");
        let real = self.collected.real(&path);
        if let Some(layer) = self.read.get(&real) {
            return Ok(Rc::clone(layer));
        }
        let Some(text) = self.collected.text(&path) else {
            let text = format!("the archive lacks {path}");
            bail!(Error::new(Kind::Damaged, text));
        };
        let mut layer: Layer = parse(&path, text)?;
        layer.bytes = text.len() as u64;
        let layer = Rc::new(layer);
        self.read.insert(real, Rc::clone(&layer));
        Ok(layer)
    }
}

fn config(
    collected: &Collected,
    chain: &[(String, Rc<Layer>)],
) -> Result<(Read<Config>, Vec<String>)> {
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
