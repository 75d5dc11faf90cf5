//! Import: a tar of files becomes an image of one layer.

mod changes;
mod url;

use std::io::Read;
use std::os::fd::AsFd;

use anyhow::Context;
use image::{Config, Digest, History, Platform, Reference};
use store::{ImageRecord, NewName, Records, Staged};

use crate::archive::plain;
use crate::{Engine, Event, Progress, Result, tag, time, unpack};

/// Bytes of holes in a tar: its layer has them as zeros, which are hashed here, and again at each push. A file of last logins that has an
/// entry for a very large user id is what has so many.
const HOLES: u64 = 16 << 30;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The name of the image.
    pub name: Option<String>,
    /// Instructions of a Dockerfile that change the image's config.
    pub changes: Vec<String>,
    /// For the history.
    pub message: String,
    /// For which machine the files are; none: for this one.
    pub platform: Option<Platform>,
    /// Where the tar comes from, for the history: `-`, or a file's name.
    pub source: String,
}

impl Engine {
    /// Makes an image of a tar, which may be compressed, and returns its id.
    pub fn import(
        &self,
        input: &mut (dyn Read + Send),
        options: &Import,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let name = options.name.as_deref().map(tag::parse).transpose()?;
        let mut config = config(options)?;
        let mut how = unpack::options();
        how.limits.holes = HOLES;
        let lease = self.store.lease()?;
        let layer = plain(input, |tar| {
            let new = self.store.unpack_unknown(&lease)?;
            let unpacked = layer::unpack(tar, new.dir(), &how);
            let unpacked = unpacked.map_err(|error| unpack::placed(error, &new))?;
            for warning in &unpacked.warnings {
                progress.event(Event::Warning(warning.clone()));
            }
            // The layer's tar is what is made of its files here, not what came in: so it can be made again at any time.
            let packed = layer::pack(new.dir().as_fd(), std::io::sink())?;
            let diff_id = Digest::from_sha256(packed.tar_sha256);
            Ok((diff_id, new.finish(&diff_id)?, unpacked.bytes))
        });
        let layer = layer.map_err(|error| match error.downcast_ref() {
            Some(layer::Error::Archive { .. }) => error.context("this is no tar, or a damaged one"),
            _ => error,
        });
        let what = || match options.source.as_str() {
            "" | "-" => "import standard input".to_owned(),
            source => format!("import {source}"),
        };
        let (diff_id, layer, size) = layer.with_context(what)?;
        config.rootfs.diff_ids = vec![diff_id];
        let bytes = config.to_bytes();
        let blob = self.store.stage_bytes(&lease, &bytes)?;
        let id = *blob.digest();
        let staged = Staged {
            blobs: vec![blob],
            layers: vec![layer],
        };
        self.store
            .commit(staged, records(id, &config, size, name))?;
        Ok(id)
    }
}

fn config(options: &Import) -> Result<Config> {
    let platform = options
        .platform
        .clone()
        .unwrap_or_else(Platform::host)
        .normal();
    let created = Some(time::rfc3339(time::now()));
    let comment = if options.message.is_empty() {
        format!("Imported from {}", options.source)
    } else {
        options.message.clone()
    };
    Ok(Config {
        created: created.clone(),
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version,
        variant: platform.variant,
        config: Some(changes::apply(&options.changes)?),
        history: vec![History {
            created,
            comment: Some(comment),
            ..History::default()
        }],
        ..Config::default()
    })
}

fn records(id: Digest, config: &Config, size: u64, name: Option<Reference>) -> Records {
    let image = ImageRecord {
        id,
        manifest: None,
        config: Some(id),
        layers: config.rootfs.diff_ids.clone(),
        created: config.created.clone(),
        platform: Some(config.platform().to_string()),
        size,
    };
    let names = name.into_iter().map(|name| NewName {
        name: name.canonical(),
        image: id,
        manifest: None,
    });
    Records {
        names: names.collect(),
        images: vec![image],
        ..Records::default()
    }
}
