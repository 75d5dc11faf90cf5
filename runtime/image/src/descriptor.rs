//! Descriptors: how one document names another, or a blob.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Digest, Platform, lenient};

/// What a document says of some content: what it is, how it is found and how large it is.
///
/// Written with OCI's fields in OCI's order; unknown fields are not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Empty where the document gave none.
    #[serde(default, deserialize_with = "lenient::null")]
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size in bytes.
    #[serde(deserialize_with = "lenient::size")]
    pub size: u64,
    /// Where else the content may be had; never to be sent credentials.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub urls: Vec<String>,
    /// Anything, by name.
    #[serde(
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// The content itself in base64; [`Document::parse`](crate::Document::parse) has compared it with digest and size.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub data: Option<String>,
    /// For which machines an image is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Of an artifact: what kind.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Returns the descriptor of content of this digest and size.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Returns the descriptor of this content.
    pub fn of(media_type: &str, content: &[u8]) -> Self {
        // A slice is at most isize::MAX long.
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        Self::new(media_type, Digest::of(content), size)
    }

    /// Returns the content that is embedded here, if there is some and it is what digest and size say.
    pub fn content(&self) -> Option<Vec<u8>> {
        self.check_data().ok()?
    }

    /// Returns the embedded content, or why it is not what digest and size say.
    pub(crate) fn check_data(&self) -> Result<Option<Vec<u8>>, &'static str> {
        let Some(data) = &self.data else {
            return Ok(None);
        };
        let content = STANDARD.decode(data).map_err(|_| "it is not base64")?;
        if u64::try_from(content.len()) != Ok(self.size) {
            return Err("it has another size");
        }
        let mut hasher = crate::Hasher::new(self.digest.algorithm());
        hasher.update(&content);
        if hasher.finish() != self.digest {
            return Err("it has another digest");
        }
        Ok(Some(content))
    }
}
