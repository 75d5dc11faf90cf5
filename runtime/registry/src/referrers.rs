//! What refers to a manifest: signatures, lists of parts. Servers that do not keep that list leave it to clients, under a tag made of the digest.

use image::{Descriptor, Digest, Document, Index, Repository, media};
use reqwest::Method;

use crate::auth::scope::Scopes;
use crate::client::{Client, Which};
use crate::error::{Error, Kind, Result};
use crate::hosts::Endpoint;
use crate::http::{Notice, Payload};
use crate::lists::next_page;
use crate::push::Body;

/// More than anybody reads.
const MOST_PAGES: usize = 100;
/// Of all pages together: they are kept.
const MOST_BYTES: usize = 16 << 20;
/// Others write the same list.
const MOST_RACES: usize = 5;

impl Client {
    /// Returns what refers to a manifest, of one kind where one is given.
    pub async fn referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let servers = self.servers(repository, |able| able.resolve)?;
        let mut found = Ok(Vec::new());
        for (index, server) in servers.iter().enumerate() {
            found = self.referrers_of(server, digest, artifact_type).await;
            match &found {
                Err(error) if index + 1 < servers.len() => self.mirror_failed(server, error),
                _ => break,
            }
        }
        // Not every server filters.
        found.map(|mut all: Vec<Descriptor>| {
            all.retain(|one| {
                artifact_type.is_none_or(|kind| one.artifact_type.as_deref() == Some(kind))
            });
            all
        })
    }

    async fn referrers_of(
        &self,
        server: &Endpoint,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>> {
        let settled = self.settle(server).await?;
        let object = format!("referrers of {digest}");
        let mut url = settled.url("referrers", &digest.to_string());
        if let Some(kind) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", kind);
        }
        let (mut all, mut left) = (Vec::new(), MOST_BYTES);
        for _ in 0..MOST_PAGES {
            let mut call = self.call(&settled, Method::GET, url, &object);
            call.header("accept", media::OCI_INDEX)?;
            let mut answer = self
                .ask(&settled, &call, &Scopes::pull(&settled.path))
                .await?;
            match answer.status().as_u16() {
                200..=299 => {}
                // Servers from before this part of the protocol.
                400 | 404 | 405 if all.is_empty() => {
                    return self.tagged_referrers(server, digest).await;
                }
                _ => return Err(answer.refusal().await),
            }
            let bytes = answer.body(left.min(Document::MOST_BYTES)).await?;
            left -= bytes.len();
            match Document::parse(&bytes, Some(media::OCI_INDEX)) {
                Ok(Document::Index(index)) => all.extend(index.manifests),
                // A page for people, say.
                _ if all.is_empty() => return self.tagged_referrers(server, digest).await,
                _ => break,
            }
            match next_page(&settled, &answer, &object)? {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(all)
    }

    async fn tagged_referrers(
        &self,
        server: &Endpoint,
        digest: &Digest,
    ) -> Result<Vec<Descriptor>> {
        Ok(self.tagged_index(server, digest).await?.0.manifests)
    }

    async fn tagged_index(
        &self,
        server: &Endpoint,
        digest: &Digest,
    ) -> Result<(Index, Option<String>)> {
        match self.manifest_of(server, &Which::Tag(tag(digest))).await {
            Ok((fetched, etag)) => match Document::parse(&fetched.bytes, Some(&fetched.media_type))
            {
                Ok(Document::Index(index)) => Ok((index, etag)),
                // What somebody else has put there is not replaced.
                _ => {
                    let object = format!("referrers of {digest}");
                    let what = format!("the tag {} is no list of them", tag(digest));
                    Err(Error::wrong(&server.host, &object, what))
                }
            },
            Err(error) if error.kind() == Kind::NotFound => Ok((Index::new(Vec::new()), None)),
            Err(error) => Err(error),
        }
    }

    /// Adds a manifest to the list of what refers to its subject, as the server does not.
    pub(crate) async fn refer(
        &self,
        server: &Endpoint,
        to: &Repository,
        manifest: &Body<'_>,
        document: &Document,
    ) -> Result<()> {
        let Some((subject, entry)) = entry(manifest, document) else {
            return Ok(());
        };
        let object = format!("referrers of {subject} in {to}");
        for race in 0..MOST_RACES {
            let (mut index, etag) = match self.tagged_index(server, &subject).await {
                // To push once more would change nothing: what was pushed is there, and only not listed.
                Err(error) if error.kind() == Kind::Wrong => {
                    let (host, why) = (server.host.clone(), error.message().to_string());
                    self.wire()
                        .warn(why.clone(), &Notice::Unlisted { host, why });
                    return Ok(());
                }
                found => found?,
            };
            if index
                .manifests
                .iter()
                .any(|known| known.digest == entry.digest)
            {
                return Ok(());
            }
            index.manifests.push(entry.clone());
            let bytes = index.to_bytes();
            let url = server.url("manifests", &tag(&subject));
            let mut call = self.call(server, Method::PUT, url, &object);
            call.header("content-type", media::OCI_INDEX)?;
            // Only some servers look at it; there a race is noticed.
            if let Some(etag) = etag {
                call.header("if-match", &etag)?;
            }
            call.payload = Payload::Bytes(bytes.into());
            let answer = self.ask(server, &call, &Scopes::push(&server.path)).await?;
            match answer.status().as_u16() {
                200..=299 => return Ok(()),
                412 if race + 1 < MOST_RACES => {}
                _ => return Err(answer.refusal().await),
            }
        }
        Ok(())
    }
}

fn tag(digest: &Digest) -> String {
    let mut tag = format!("{}-{}", digest.algorithm().name(), digest.hex());
    // As long as a tag may be.
    tag.truncate(128);
    tag
}

/// Makes the entry of a document in the list of its subject, if it has one.
fn entry(manifest: &Body<'_>, document: &Document) -> Option<(Digest, Descriptor)> {
    let (subject, artifact_type, annotations) = match document {
        Document::Manifest(own) => {
            let kind = own
                .artifact_type
                .clone()
                .unwrap_or_else(|| own.config.media_type.clone());
            (own.subject.as_ref()?, Some(kind), own.annotations.clone())
        }
        Document::Index(own) => (
            own.subject.as_ref()?,
            own.artifact_type.clone(),
            own.annotations.clone(),
        ),
    };
    let mut entry = Descriptor::new(
        manifest.media_type,
        manifest.digest,
        manifest.bytes.len() as u64,
    );
    entry.artifact_type = artifact_type;
    entry.annotations = annotations;
    Some((subject.digest, entry))
}
