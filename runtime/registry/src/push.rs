//! Manifests to a server, and what comes before: is the blob there, and can it be had from a neighbour?

use image::{Digest, Document, Hasher, Repository};
use reqwest::Method;

use crate::auth::scope::Scopes;
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::http::Payload;
use crate::upload::{Session, Upload};

/// A manifest or an index, to be sent byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// Of the bytes.
    pub digest: Digest,
    /// What it is.
    pub media_type: &'a str,
    /// The document.
    pub bytes: &'a [u8],
}

/// What became of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Who has it now.
    pub host: String,
}

impl Client {
    /// Asks whether a repository has a blob, where it is written to. Anything but yes and no is an error: a blob is not sent again because
    /// a server was busy.
    pub async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool> {
        let server = self.writer(repository).await?;
        let object = format!("blob {digest}");
        let url = server.url("blobs", &digest.to_string());
        let call = self.call(&server, Method::HEAD, url, &object);
        let answer = self
            .ask(&server, &call, &Scopes::push(&server.path))
            .await?;
        match answer.status().as_u16() {
            200..=299 => Ok(true),
            404 | 405 | 501 => Ok(false),
            _ => Err(answer.refusal().await),
        }
    }

    /// Asks a server to take a blob from another of its repositories. Where it does not, it has begun an upload.
    pub async fn mount(
        &self,
        to: &Repository,
        digest: &Digest,
        from: &Repository,
    ) -> Result<Upload> {
        let object = format!("blob {digest}");
        if from.host != to.host {
            let what = format!("{object}: {from} is on another host than {to}, and cannot lend it");
            return Err(Error::new(Kind::Local, what));
        }
        let server = self.writer(to).await?;
        let source = self.writer(from).await?;
        let mut url = server.url("blobs/uploads", "");
        url.query_pairs_mut()
            .append_pair("mount", &digest.to_string())
            .append_pair("from", &source.path);
        let call = self.call(&server, Method::POST, url, &object);
        let both = Scopes::push(&server.path).and(&Scopes::pull(&source.path));
        let answer = match self.ask(&server, &call, &both).await {
            Ok(answer) if answer.status().is_client_error() => None,
            Err(error) if matches!(error.kind(), Kind::Unauthorized | Kind::Denied) => None,
            other => Some(other?),
        };
        match answer {
            Some(answer) if answer.status().as_u16() == 201 => Ok(Upload::Done),
            Some(answer) if answer.status().as_u16() == 202 => {
                Session::begun(&server, to, &answer).map(Upload::Session)
            }
            Some(answer) => Err(answer.refusal().await),
            // Who may not read the neighbour may still write here.
            None => self.begin(&server, to, &object).await,
        }
    }

    /// Puts a manifest under some tags, or under its digest alone where there is none. What it names must be there already.
    pub async fn put_manifest(
        &self,
        to: &Repository,
        tags: &[String],
        manifest: &Body<'_>,
    ) -> Result<Put> {
        let server = self.writer(to).await?;
        let by_digest = [manifest.digest.to_string()];
        let names = if tags.is_empty() {
            &by_digest[..]
        } else {
            tags
        };
        let mut subject_known = false;
        for name in names {
            let object = format!("manifest {}:{name}", server.path);
            let mut call = self.call(&server, Method::PUT, server.url("manifests", name), &object);
            call.header("content-type", manifest.media_type)?;
            call.payload = Payload::Bytes(manifest.bytes.to_vec().into());
            call.silences = 5;
            let answer = self
                .ask(&server, &call, &Scopes::push(&server.path))
                .await?;
            if !answer.status().is_success() {
                return Err(answer.refusal().await);
            }
            subject_known |= answer.header("oci-subject").is_some();
            let told = answer
                .header("docker-content-digest")
                .and_then(|text| text.parse::<Digest>().ok());
            if let Some(told) = told
                && told != digest_as(&told, manifest.bytes)
            {
                let what = format!(
                    "the server has stored it as {told}, and it is {}",
                    manifest.digest
                );
                return Err(Error::wrong(&server.host, &object, what));
            }
        }
        let document = Document::parse(manifest.bytes, Some(manifest.media_type));
        if let Ok(document) = document
            && !subject_known
        {
            self.refer(&server, to, manifest, &document).await?;
        }
        Ok(Put { host: server.host })
    }
}

fn digest_as(told: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(told.algorithm());
    hasher.update(bytes);
    hasher.finish()
}
