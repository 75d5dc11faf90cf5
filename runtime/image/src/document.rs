//! Manifests and indexes: the documents that a registry hands out.
//!
//! One text can be made to mean two things: as an index to one program, as a manifest to another (CVE-2021-41190). So what a document
//! is gets settled before it is read: by its own `mediaType`, which must be what the registry declared, and by its keys, which must
//! be of one kind only and spelt exactly (Go takes `Manifests` for `manifests`).

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Descriptor, Digest, lenient, media, quoted};

/// Why a document is refused. Displays as one line without the document's name: who fetched it knows that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is larger than any honest one.
    #[error("the document has {size} bytes, at most {most} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// How many are allowed.
        most: usize,
    },
    /// It is no JSON, or a field is of another type than it must be.
    #[error("the document cannot be read: {0}")]
    Json(String),
    /// It is of a form that was replaced in 2016.
    #[error(
        "the document is a Docker manifest of schema 1, which cannot be verified and is no longer read; push the image again with a newer program"
    )]
    Schema1,
    /// It has the keys of a manifest and those of an index.
    #[error(
        "the document has {0} beside what belongs to its kind, so that two programs would read it differently"
    )]
    Ambiguous(&'static str),
    /// It says to be something else than its sender said.
    #[error("the document says that it is {found}, it was sent as {declared}")]
    Disagrees {
        /// What came with it.
        declared: String,
        /// What it says itself.
        found: String,
    },
    /// It is neither a manifest nor an index.
    #[error("the document is {0}, neither an image manifest nor an index")]
    Unknown(String),
    /// There are more of something than any honest document has.
    #[error("the document has {count} {what}, at most {most} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many are allowed.
        most: usize,
    },
    /// Embedded content is not what its digest says.
    #[error("the document embeds the content of {digest}, but {why}")]
    Data {
        /// Whose content it should be.
        digest: Digest,
        /// What is wrong.
        why: &'static str,
    },
    /// A field has a value that it must not have.
    #[error("the document's {0}")]
    Value(String),
}

impl From<serde_json::Error> for DocumentError {
    fn from(error: serde_json::Error) -> Self {
        // The text may quote the document, without end.
        let text = error.to_string();
        let short: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        Self::Json(short)
    }
}

/// What a tag names: an image (or an artifact), or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it at a time, never a list"
)]
pub enum Document {
    /// One image or artifact.
    Manifest(Manifest),
    /// Several, of which a platform chooses one.
    Index(Index),
}

impl Document {
    /// The largest document that is read, in bytes: what registries take at most.
    pub const MOST_BYTES: usize = 4 << 20;
    /// The most layers that an image may have: overlayfs mounts no more.
    pub const MOST_LAYERS: usize = 500;

    /// Reads a document that came with the media type `declared` (of an HTTP answer or of a descriptor).
    ///
    /// Types that say nothing (`application/json`, `application/octet-stream`, `text/plain`) count as none.
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self, DocumentError> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(DocumentError::TooLarge {
                size: bytes.len(),
                most: Self::MOST_BYTES,
            });
        }
        let declared = declared.map(bare_type).filter(|text| !says_nothing(text));
        let shape: Shape = serde_json::from_slice(bytes)?;
        let media_type = shape.settle(declared.as_deref())?;
        if media::is_index(&media_type) {
            let mut index: Index = serde_json::from_slice(bytes)?;
            index.media_type = media_type;
            check_data(index.manifests.iter().chain(&index.subject))?;
            return Ok(Self::Index(index));
        }
        let mut manifest: Manifest = serde_json::from_slice(bytes)?;
        manifest.media_type = media_type;
        let count = manifest.layers.len();
        if count > Self::MOST_LAYERS {
            return Err(DocumentError::TooMany {
                what: "layers",
                count,
                most: Self::MOST_LAYERS,
            });
        }
        let named = std::iter::once(&manifest.config).chain(&manifest.layers);
        check_data(named.chain(&manifest.subject))?;
        Ok(Self::Manifest(manifest))
    }

    /// Returns what the document is: its own word, or what it was sent as.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }

    /// Returns everything that the document names: config and layers, or manifests. Not its subject, which it only speaks about.
    pub fn links(&self) -> Vec<&Descriptor> {
        match self {
            Self::Manifest(manifest) => std::iter::once(&manifest.config)
                .chain(&manifest.layers)
                .collect(),
            Self::Index(index) => index.manifests.iter().collect(),
        }
    }
}

/// Returns a media type without parameters (`; charset=utf-8`), in lower case.
fn bare_type(text: &str) -> String {
    let end = text.find(';').unwrap_or(text.len());
    text[..end].trim().to_ascii_lowercase()
}

fn says_nothing(media_type: &str) -> bool {
    matches!(
        media_type,
        "" | "application/json" | "application/octet-stream" | "binary/octet-stream" | "text/plain"
    )
}

fn check_data<'a>(named: impl Iterator<Item = &'a Descriptor>) -> Result<(), DocumentError> {
    for descriptor in named {
        descriptor.check_data().map_err(|why| DocumentError::Data {
            digest: descriptor.digest,
            why,
        })?;
    }
    Ok(())
}

/// An image or an artifact: a config and layers. Written with OCI's fields in OCI's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`media::OCI_MANIFEST`] or [`media::DOCKER_MANIFEST`].
    #[serde(default, deserialize_with = "lenient::null")]
    pub media_type: String,
    /// Of an artifact: what kind.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub artifact_type: Option<String>,
    /// How the image is run, and what its layers are unpacked.
    pub config: Descriptor,
    /// The lowest first.
    #[serde(default, deserialize_with = "lenient::null")]
    pub layers: Vec<Descriptor>,
    /// Another manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Returns an OCI manifest of this config and these layers.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            media_type: media::OCI_MANIFEST.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Tells whether it is an image, whose config and layers have a meaning here; else it is an artifact, which is only kept.
    pub fn is_image(&self) -> bool {
        let config = match self.config.media_type.as_str() {
            media::OCI_CONFIG | media::DOCKER_CONFIG => true,
            // The first programs that wrote schema 2 said no more than this.
            "" | "application/octet-stream" => self.media_type == media::DOCKER_MANIFEST,
            _ => false,
        };
        let is_layer = |layer: &Descriptor| media::compression(&layer.media_type).is_some();
        // An attestation has an image's config and, for layers, statements about another image.
        config && (self.layers.is_empty() || self.layers.iter().any(is_layer))
    }

    /// Returns the manifest as it is stored and pushed: the same bytes for the same value, everywhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        written(self)
    }
}

/// A list of manifests (or of further lists). Written with OCI's fields in OCI's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// [`media::OCI_INDEX`] or [`media::DOCKER_LIST`].
    #[serde(default, deserialize_with = "lenient::null")]
    pub media_type: String,
    /// Of an artifact: what kind.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub artifact_type: Option<String>,
    /// What it lists.
    #[serde(default, deserialize_with = "lenient::null")]
    pub manifests: Vec<Descriptor>,
    /// Another manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Returns an OCI index of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            media_type: media::OCI_INDEX.to_owned(),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the index as it is stored and pushed: the same bytes for the same value, everywhere.
    pub fn to_bytes(&self) -> Vec<u8> {
        written(self)
    }
}

/// Writes a document after its `schemaVersion`, which is not kept because it is always 2.
fn written(document: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned<'a, T> {
        schema_version: u8,
        #[serde(flatten)]
        document: &'a T,
    }
    let versioned = Versioned {
        schema_version: 2,
        document,
    };
    // Strings, numbers, and maps with strings for keys: nothing of this can fail, and memory does not.
    serde_json::to_vec(&versioned).expect("plain values are written as JSON")
}

/// What tells one kind of document from another, and nothing else of it.
#[derive(Debug, Default)]
struct Shape {
    media_type: Option<String>,
    version: Option<u64>,
    config: bool,
    layers: bool,
    manifests: bool,
    fs_layers: bool,
}

impl Shape {
    /// Returns the media type that the document is to be read as.
    fn settle(self, declared: Option<&str>) -> Result<String, DocumentError> {
        let own = self.media_type.as_deref();
        let is_schema1 = |text: Option<&str>| {
            matches!(
                text,
                Some(media::DOCKER_SCHEMA1 | media::DOCKER_SCHEMA1_SIGNED)
            )
        };
        if self.version == Some(1) || is_schema1(own) || is_schema1(declared) {
            return Err(DocumentError::Schema1);
        }
        if let (Some(own), Some(declared)) = (own, declared)
            && own != declared
        {
            return Err(DocumentError::Disagrees {
                declared: quoted(declared),
                found: quoted(own),
            });
        }
        let media_type = match own.or(declared) {
            Some(media_type) => media_type,
            None if self.manifests => media::OCI_INDEX,
            None if self.config => media::OCI_MANIFEST,
            None => return Err(DocumentError::Unknown("something unnamed".to_owned())),
        };
        let needed = matches!(media_type, media::DOCKER_MANIFEST | media::DOCKER_LIST);
        if needed && own.is_none() {
            let text = format!("mediaType is missing, it must be {media_type}");
            return Err(DocumentError::Value(text));
        }
        let foreign = if media::is_index(media_type) {
            [(self.config, "config"), (self.layers, "layers")]
        } else if media::is_manifest(media_type) {
            [(self.manifests, "manifests"), (false, "")]
        } else {
            return Err(DocumentError::Unknown(quoted(media_type)));
        };
        let foreign = foreign.into_iter().chain([(self.fs_layers, "fsLayers")]);
        if let Some((_, key)) = foreign.into_iter().find(|(there, _)| *there) {
            return Err(DocumentError::Ambiguous(key));
        }
        match self.version {
            Some(2) => Ok(media_type.to_owned()),
            Some(other) => Err(DocumentError::Value(format!(
                "schemaVersion is {other}, it must be 2"
            ))),
            None => Err(DocumentError::Value(
                "schemaVersion is missing, it must be 2".to_owned(),
            )),
        }
    }
}

/// Every key that decides how a document is read.
const KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "fsLayers",
    "subject",
    "annotations",
];

/// Tells whether Go takes `key` for `known`: it folds case, and two letters beyond ASCII with it.
fn folds_to(key: &str, known: &str) -> bool {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(known.chars().map(fold))
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest or an index")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Shape, M::Error> {
        use serde::de::Error;

        let mut shape = Shape::default();
        let mut seen: Vec<&str> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let known = KEYS.iter().find(|known| folds_to(&key, known));
            if let Some(known) = known {
                if key != **known {
                    let key = quoted(&key);
                    return Err(M::Error::custom(format!("key {key} must be {known:?}")));
                }
                if seen.contains(known) {
                    return Err(M::Error::duplicate_field(known));
                }
                seen.push(known);
            }
            let is_there = |map: &mut M| Ok(map.next_value::<Option<IgnoredAny>>()?.is_some());
            match key.as_str() {
                "mediaType" => {
                    let text: Option<String> = map.next_value()?;
                    shape.media_type = text.filter(|text| !text.is_empty());
                }
                "schemaVersion" => shape.version = map.next_value()?,
                "config" => shape.config = is_there(&mut map)?,
                "layers" => shape.layers = is_there(&mut map)?,
                "manifests" => shape.manifests = is_there(&mut map)?,
                "fsLayers" => shape.fs_layers = is_there(&mut map)?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests;
