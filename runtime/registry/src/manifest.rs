//! Manifests and indexes, from whoever has them.

use image::{Descriptor, Digest, Document, Hasher, Repository, media};
use reqwest::Method;
use serde::Deserialize;

use crate::auth::scope::Scopes;
use crate::client::{Client, Which};
use crate::error::{Error, Kind, Result};
use crate::hosts::Endpoint;
use crate::http::{Answer, Call};

/// A manifest or an index as a server gave it; its digest is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Byte for byte.
    pub bytes: Vec<u8>,
    /// What the document itself says, else what the server does.
    pub media_type: String,
    /// Of the bytes.
    pub digest: Digest,
    /// Who gave it.
    pub host: String,
}

impl Client {
    /// Fetches a manifest or an index. Mirrors are asked first; a tag only of those that may say what it means.
    pub async fn manifest(&self, repository: &Repository, which: &Which) -> Result<Fetched> {
        let tagged = matches!(which, Which::Tag(_));
        let servers = self.servers(
            repository,
            |able| if tagged { able.resolve } else { able.pull },
        )?;
        let mut servers = servers.iter().peekable();
        loop {
            let Some(server) = servers.next() else {
                return Err(Error::new(
                    Kind::Settings,
                    format!("{repository}: no server to ask"),
                ));
            };
            match self.manifest_of(server, which).await {
                Err(error) if servers.peek().is_some() => self.mirror_failed(server, &error),
                result => return result.map(|(fetched, _)| fetched),
            }
        }
    }

    /// Fetches a manifest from one server, with its `ETag`.
    pub(crate) async fn manifest_of(
        &self,
        server: &Endpoint,
        which: &Which,
    ) -> Result<(Fetched, Option<String>)> {
        let server = self.settle(server).await?;
        let object = format!("manifest {}:{which}", server.path);
        let call = self.manifest_call(&server, Method::GET, which, &object)?;
        let mut answer = self
            .ask(&server, &call, &Scopes::pull(&server.path))
            .await?;
        if !answer.status().is_success() {
            return Err(answer.refusal().await);
        }
        let bytes = match answer.body(Document::MOST_BYTES).await {
            Err(error) if error.is_passing() => {
                // Once more, from the start: it is small.
                answer = self
                    .ask(&server, &call, &Scopes::pull(&server.path))
                    .await?;
                answer.body(Document::MOST_BYTES).await?
            }
            other => other?,
        };
        let digest = checked(&server.host, &object, which, &answer, &bytes)?;
        let media_type = media_type(&server.host, &object, answer.header("content-type"), &bytes)?;
        let tag = answer.header("etag").map(str::to_string);
        let fetched = Fetched {
            bytes,
            media_type,
            digest,
            host: server.host.clone(),
        };
        Ok((fetched, tag))
    }

    fn manifest_call(
        &self,
        server: &Endpoint,
        method: Method,
        which: &Which,
        object: &str,
    ) -> Result<Call> {
        let url = server.url("manifests", &which.to_string());
        let mut call = self.call(server, method, url, object);
        for accepted in media::ACCEPT {
            call.header("accept", accepted)?;
        }
        Ok(call)
    }

    /// Asks what a tag means, or whether something is there, without fetching it. Servers that do not say it all are asked for the whole.
    pub async fn head(&self, repository: &Repository, which: &Which) -> Result<Option<Descriptor>> {
        let tagged = matches!(which, Which::Tag(_));
        let servers = self.servers(
            repository,
            |able| if tagged { able.resolve } else { able.pull },
        )?;
        let mut servers = servers.iter().peekable();
        let mut found = Ok(None);
        while let Some(server) = servers.next() {
            found = self.head_of(server, which).await;
            match &found {
                Ok(Some(_)) => break,
                Err(error) if servers.peek().is_some() => self.mirror_failed(server, error),
                _ => {}
            }
        }
        found
    }

    async fn head_of(&self, server: &Endpoint, which: &Which) -> Result<Option<Descriptor>> {
        let settled = self.settle(server).await?;
        let object = format!("manifest {}:{which}", settled.path);
        let call = self.manifest_call(&settled, Method::HEAD, which, &object)?;
        let answer = self
            .ask(&settled, &call, &Scopes::pull(&settled.path))
            .await?;
        match answer.status().as_u16() {
            200..=299 => {}
            404 => return Ok(None),
            405 | 501 => return self.whole_head(server, which).await,
            _ => return Err(answer.refusal().await),
        }
        let told = answer
            .header("docker-content-digest")
            .and_then(|text| text.parse().ok());
        let digest = match (which, told) {
            (Which::Digest(asked), Some(told)) if told != *asked => {
                return Err(Error::wrong(
                    &settled.host,
                    &object,
                    format!("the server has {told} for it"),
                ));
            }
            (Which::Digest(asked), _) => Some(*asked),
            (Which::Tag(_), told) => told,
        };
        let kind = answer
            .header("content-type")
            .map(essence)
            .filter(|kind| media::ACCEPT.contains(kind));
        match (digest, kind, answer.length()) {
            (Some(digest), Some(kind), Some(size)) => Ok(Some(Descriptor::new(kind, digest, size))),
            _ => self.whole_head(server, which).await,
        }
    }

    async fn whole_head(&self, server: &Endpoint, which: &Which) -> Result<Option<Descriptor>> {
        match self.manifest_of(server, which).await {
            Ok((fetched, _)) => {
                let size = fetched.bytes.len() as u64;
                Ok(Some(Descriptor::new(
                    &fetched.media_type,
                    fetched.digest,
                    size,
                )))
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Computes the digest of a manifest and compares it with what was asked for and with what the server says of it.
fn checked(
    host: &str,
    object: &str,
    which: &Which,
    answer: &Answer,
    bytes: &[u8],
) -> Result<Digest> {
    let of = |wanted: &Digest| {
        let mut hasher = Hasher::new(wanted.algorithm());
        hasher.update(bytes);
        hasher.finish()
    };
    let told: Option<Digest> = answer
        .header("docker-content-digest")
        .and_then(|text| text.trim().parse().ok());
    if let Which::Digest(asked) = which {
        let is = of(asked);
        if is != *asked {
            return Err(
                Error::wrong(host, object, format!("the content is {is}")).advise(
                    "the server, or somebody on the way, gives something else: do not use it",
                ),
            );
        }
    }
    if let Some(told) = told {
        let is = of(&told);
        if is != told {
            return Err(Error::wrong(
                host,
                object,
                format!("the server calls it {told}, but the content is {is}"),
            ));
        }
    }
    Ok(match which {
        Which::Digest(asked) => *asked,
        Which::Tag(_) => Digest::of(bytes),
    })
}

/// Cuts parameters off a media type.
fn essence(kind: &str) -> &str {
    kind.split(';').next().unwrap_or(kind).trim()
}

/// Decides what a document is. A document that says one thing and is served as another could be read in two ways (CVE-2021-41190).
fn media_type(host: &str, object: &str, served: Option<&str>, bytes: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
        schema_version: Option<u64>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let head: Head = serde_json::from_slice(bytes)
        .map_err(|_| Error::wrong(host, object, "what came is not a JSON document"))?;
    let served = served.map(essence).filter(|kind| !kind.is_empty());
    // What proxies and plain file servers say of any file.
    let told = served.filter(|kind| {
        ![
            "application/json",
            "application/octet-stream",
            "text/plain",
            "binary/octet-stream",
            "text/html",
        ]
        .contains(kind)
    });
    match (head.media_type, told) {
        (Some(own), Some(told)) if own != told => Err(Error::wrong(
            host,
            object,
            format!("is served as {told:?}, but says {own:?} of itself"),
        )),
        (Some(own), _) => Ok(own),
        (None, Some(told)) => Ok(told.to_string()),
        (None, None) if head.schema_version == Some(1) => Ok(media::DOCKER_SCHEMA1.to_string()),
        (None, None) if head.manifests.is_some() => Ok(media::OCI_INDEX.to_string()),
        (None, None) => Ok(media::OCI_MANIFEST.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_what_it_says_and_what_it_is_served_as() {
        let (m, i) = (media::OCI_MANIFEST, media::OCI_INDEX);
        let own = |kind: &str| format!(r#"{{"mediaType":"{kind}"}}"#);
        for (served, body, want) in [
            (Some(m), own(m), Some(m)),
            (
                Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
                own(m),
                Some(m),
            ),
            (Some(i), own(m), None),
            (Some(m), "{}".to_string(), Some(m)),
            (Some("text/plain"), own(i), Some(i)),
            (None, r#"{"manifests":[]}"#.to_string(), Some(i)),
            (
                None,
                r#"{"schemaVersion":1}"#.to_string(),
                Some(media::DOCKER_SCHEMA1),
            ),
            (None, "{}".to_string(), Some(m)),
            (Some(m), "<html>".to_string(), None),
            (Some(m), String::new(), None),
        ] {
            let got = media_type("h", "x", served, body.as_bytes()).ok();
            assert_eq!(got.as_deref(), want, "{served:?} {body}");
        }
    }
}
