//! Create: a list of images that are in registries.

use image::{Config, Descriptor, Document, Platform, Reference};

use super::draft::{self, Draft, Member};
use super::parse;
use crate::documents::{self, CONFIG, Read};
use crate::progress::Quiet;
use crate::{Engine, Error, Kind, Result};

/// How to create a list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ManifestCreate {
    /// Add to a list that is there.
    pub amend: bool,
}

impl Engine {
    /// Puts a list together; returns docker's line.
    pub fn manifest_create(
        &self,
        list: &str,
        members: &[String],
        options: &ManifestCreate,
    ) -> Result<String> {
        let name = parse(list)?;
        let before = || {
            let before = draft::read(&self.store, &name)?;
            if before.is_some() && !options.amend {
                let text = format!(
                    "refusing to amend an existing manifest list with no --amend flag: {name}"
                );
                return Err(Error::new(Kind::Conflict, text));
            }
            Ok(before)
        };
        before()?;
        // Nobody waits for the network with us.
        let members = members.iter().map(|member| self.member(&parse(member)?));
        let members = members.collect::<Result<Vec<_>>>()?;
        let writing = draft::writing(&self.store)?;
        let mut draft = before()?.unwrap_or_else(|| Draft {
            name: name.canonical(),
            members: Vec::new(),
        });
        for member in members {
            draft.members.retain(|other| other.name != member.name);
            draft.members.push(member);
        }
        writing.write(&self.store, &name, &draft)?;
        Ok(format!("Created manifest list {}", name.canonical()))
    }

    /// Finds an image in its registry, and for which machine it is.
    fn member(&self, name: &Reference) -> Result<Member> {
        let document = self.registry_document(name)?;
        let Document::Manifest(manifest) = &document.value else {
            let text = format!("{name} is a manifest list; a list's members are images");
            return Err(Error::invalid(text));
        };
        let size = document.bytes.len() as u64;
        let mut descriptor = Descriptor::new(&manifest.media_type, document.digest, size);
        if manifest.is_image() {
            descriptor.platform = Some(self.platform(name, &manifest.config)?);
        }
        Ok(Member {
            name: name.canonical(),
            descriptor,
        })
    }

    fn platform(&self, name: &Reference, config: &Descriptor) -> Result<Platform> {
        let here = self.store.blob(&config.digest)?;
        let config: Read<Config> = if here.is_some() {
            documents::read_config(&self.store, &config.digest)?
        } else {
            let remote = self.remote()?;
            let client = &remote.client;
            let bytes = remote.run(&Quiet, |_| crate::pull::small(client, config, name, CONFIG));
            documents::parse_config(config.digest, bytes?)?
        };
        Ok(config.value.platform())
    }
}
