//! An image's config: how its program is started, what its layers are, and how it came about.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, Document, DocumentError, Platform, Time, lenient};

/// An image's config, of OCI or of Docker (they are the same).
///
/// Unknown fields are not kept, so this is written only for images made here; of others the bytes are kept as they came, because
/// their digest is the image's id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// When the image was made (RFC 3339).
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub created: Option<String>,
    /// Who made it.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub author: Option<String>,
    /// The processor it is for; empty where an old program wrote none.
    #[serde(default, deserialize_with = "lenient::null")]
    pub architecture: String,
    /// The kernel it is for; empty where an old program wrote none.
    #[serde(default, deserialize_with = "lenient::null")]
    pub os: String,
    /// Which version of the kernel; only Windows has that.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the kernel must be able to do.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Which kind of the processor.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub variant: Option<String>,
    /// How a container of it is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Process>,
    /// What it is made of.
    pub rootfs: RootFs,
    /// How it came about, the oldest step first.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
}

impl Config {
    /// The largest config that is read, in bytes.
    pub const MOST_BYTES: usize = 8 << 20;

    /// Reads a config. Its times are valid then, and its diff ids are of sha256 and not too many.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(DocumentError::TooLarge {
                size: bytes.len(),
                most: Self::MOST_BYTES,
            });
        }
        // serde would take a list of the fields' values, too, which is no config to anybody else.
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'[') {
            return Err(DocumentError::Json("it is a list".to_string()));
        }
        let config: Self = serde_json::from_slice(bytes)?;
        let count = config.rootfs.diff_ids.len();
        if count > Document::MOST_LAYERS {
            return Err(DocumentError::TooMany {
                what: "diff ids",
                count,
                most: Document::MOST_LAYERS,
            });
        }
        let odd = |diff_id: &&Digest| diff_id.algorithm() != crate::Algorithm::Sha256;
        if let Some(diff_id) = config.rootfs.diff_ids.iter().find(odd) {
            let text = format!("diff id {diff_id} is not of sha256, as all that exist are");
            return Err(DocumentError::Value(text));
        }
        let steps = config.history.iter().map(|step| &step.created);
        for created in std::iter::once(&config.created).chain(steps).flatten() {
            let checked: Result<Time, _> = created.parse();
            checked.map_err(|error| DocumentError::Value(format!("created: {error}")))?;
        }
        Ok(config)
    }

    /// Returns the platform it is for, in its one spelling; an old image that names none is for this machine's.
    pub fn platform(&self) -> Platform {
        let host = Platform::host();
        let or = |text: &String, host: String| {
            if text.is_empty() { host } else { text.clone() }
        };
        Platform {
            architecture: or(&self.architecture, host.architecture),
            os: or(&self.os, host.os),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
        .normal()
    }

    /// Returns the config as it is stored and pushed: the same bytes for the same value, everywhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers, and maps with strings for keys: nothing of this can fail, and memory does not.
        serde_json::to_vec(self).expect("plain values are written as JSON")
    }
}

/// How a container of the image is run, unless the user says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Process {
    /// `user[:group]`, by name or number; empty: root.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// Ports it listens on: `80/tcp`.
    #[serde(
        deserialize_with = "lenient::set",
        serialize_with = "lenient::write_set",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(
        deserialize_with = "lenient::words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub entrypoint: Vec<String>,
    /// The arguments after them, or the program if there is no entrypoint.
    #[serde(
        deserialize_with = "lenient::words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub cmd: Vec<String>,
    /// Paths whose content outlives a container.
    #[serde(
        deserialize_with = "lenient::set",
        serialize_with = "lenient::write_set",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    pub volumes: BTreeSet<String>,
    /// Where it starts; empty: `/`.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// Anything, by name.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// What ends it: `SIGTERM`, `15`.
    #[serde(
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub stop_signal: Option<String>,
    /// Of Windows: the command is one line already.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub args_escaped: bool,
    /// How to ask it whether it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What a build on top of it does first.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// What runs commands given as one string.
    #[serde(
        deserialize_with = "lenient::words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub shell: Vec<String>,
}

/// How to ask a container whether it is well. Times are nanoseconds; 0 is for what the engine takes by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `NONE`, or `CMD` and a command, or `CMD-SHELL` and a line for a shell; empty: as inherited.
    #[serde(
        deserialize_with = "lenient::words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// From one question to the next.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// How long an answer may take.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// How long after the start a bad answer does not count.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// From one question to the next during that.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// How many bad answers one after the other count.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What an image's root filesystem is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootFs {
    /// The digests of the layers' tars, the lowest first.
    pub diff_ids: Vec<Digest>,
}

impl Serialize for RootFs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            r#type: &'static str,
            diff_ids: &'a [Digest],
        }
        let written = Written {
            r#type: "layers",
            diff_ids: &self.diff_ids,
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RootFs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Read {
            #[serde(deserialize_with = "lenient::text")]
            r#type: Option<String>,
            #[serde(deserialize_with = "lenient::null")]
            diff_ids: Vec<Digest>,
        }
        let read = Read::deserialize(deserializer)?;
        match read.r#type.as_deref() {
            Some("layers") | None => Ok(Self {
                diff_ids: read.diff_ids,
            }),
            Some(other) => {
                let other = crate::quoted(other);
                let text = format!("rootfs type {other} is not known, it must be \"layers\"");
                Err(serde::de::Error::custom(text))
            }
        }
    }
}

/// One step of how an image came about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When (RFC 3339).
    #[serde(
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub created: Option<String>,
    /// By which command.
    #[serde(
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub author: Option<String>,
    /// What they said about it.
    #[serde(
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub comment: Option<String>,
    /// It changed no file: no layer belongs to it.
    #[serde(
        deserialize_with = "lenient::null",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
}

/// Returns for each layer the name of it and all below it: equal chain ids are equal trees.
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut below: Option<Digest> = None;
    let chain = diff_ids.iter().map(|diff_id| {
        let id = match below {
            None => *diff_id,
            Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
        };
        below = Some(id);
        id
    });
    chain.collect()
}

#[cfg(test)]
mod tests;
