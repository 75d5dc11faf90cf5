//! Annotate: says for which machine a member of a list is.

use image::Platform;

use super::{draft, parse};
use crate::{Engine, Error, Result};

/// What to say. Nothing: it stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Annotate {
    /// The kernel.
    pub os: Option<String>,
    /// The processor.
    pub architecture: Option<String>,
    /// Which kind of it.
    pub variant: Option<String>,
    /// Which version of the kernel.
    pub os_version: Option<String>,
    /// What the kernel must be able to do.
    pub os_features: Vec<String>,
}

impl Engine {
    /// Changes for which machine a member of a list is.
    pub fn manifest_annotate(&self, list: &str, member: &str, options: &Annotate) -> Result<()> {
        let (name, member) = (parse(list)?, parse(member)?.canonical());
        let none = || Error::not_found(format!("No such manifest: {name}"));
        draft::read(&self.store, &name)?.ok_or_else(none)?;
        let writing = draft::writing(&self.store)?;
        let mut draft = draft::read(&self.store, &name)?.ok_or_else(none)?;
        let found = draft.members.iter_mut().find(|other| other.name == member);
        let found = found.ok_or_else(|| {
            Error::not_found(format!(
                "manifest for image {member} does not exist in {name}"
            ))
        })?;
        let mut platform = found
            .descriptor
            .platform
            .clone()
            .unwrap_or_else(Platform::default);
        let set = |field: &mut String, value: &Option<String>| {
            if let Some(value) = value {
                field.clone_from(value);
            }
        };
        set(&mut platform.os, &options.os);
        set(&mut platform.architecture, &options.architecture);
        platform.variant = options.variant.clone().or(platform.variant);
        platform.os_version = options.os_version.clone().or(platform.os_version);
        for feature in &options.os_features {
            if !platform.os_features.contains(feature) {
                platform.os_features.push(feature.clone());
            }
        }
        if platform.os.is_empty() || platform.architecture.is_empty() {
            let text = format!("{member} has no platform yet: say --os and --arch");
            return Err(Error::invalid(text));
        }
        let said = options.os.is_some() || options.architecture.is_some();
        if said && !platform.is_known() {
            let Platform {
                os, architecture, ..
            } = &platform;
            // Docker's sentence.
            let text = format!(
                "manifest entry for image has unsupported os/arch combination: {os}/{architecture}"
            );
            return Err(Error::invalid(text)
                .with_hint("they are Go's words: linux/amd64, linux/arm64, windows/amd64"));
        }
        found.descriptor.platform = Some(platform);
        Ok(writing.write(&self.store, &name, &draft)?)
    }

    /// Forgets lists; returns a line for each that is gone.
    pub fn manifest_remove(&self, lists: &[String]) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for list in lists {
            let name = parse(list)?;
            let none = draft::read(&self.store, &name)?.is_none();
            if none || !draft::writing(&self.store)?.remove(&self.store, &name)? {
                return Err(Error::not_found(format!("No such manifest: {name}")));
            }
            lines.push(format!("Untagged: {name}"));
        }
        Ok(lines)
    }
}
