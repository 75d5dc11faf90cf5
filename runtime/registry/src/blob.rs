//! Blobs, from whoever has them, on from the byte where a connection broke.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use image::{Descriptor, Digest, Repository, media};
use reqwest::{Method, Url};

use crate::auth::scope::Scopes;
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::hosts::Endpoint;
use crate::http::{Answer, Call, Tries};

/// After so many bytes a connection that breaks has not broken at once, and all attempts are there again.
const PROGRESS: u64 = 1 << 20;
/// A server that gives fewer bytes than this at a time, and not all that is left, takes one of the attempts each time: with a byte for
/// each request it would not end.
const PART: u64 = 64 << 10;

impl Client {
    /// Fetches part of a blob, or all of it. The first server that has it is known when this returns.
    pub async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        span: Range<u64>,
    ) -> Result<BlobStream> {
        let size = descriptor.size;
        if span.start > span.end || span.end > size {
            return Err(Error::new(
                Kind::Local,
                format!(
                    "blob {}: bytes {span:?} of {size} are no part of it",
                    descriptor.digest
                ),
            ));
        }
        let mut places: Vec<Place> = Vec::new();
        for server in self.servers(repository, |able| able.pull)? {
            places.push(Place::Registry(Box::new(server)));
        }
        let elsewhere = !descriptor.urls.is_empty() && media::is_foreign(&descriptor.media_type);
        if elsewhere && self.settings().foreign {
            places.extend(descriptor.urls.iter().filter_map(|url| foreign(url)));
        }
        let mut stream = BlobStream {
            client: self.clone(),
            places,
            place: 0,
            object: format!("blob {}", descriptor.digest),
            digest: descriptor.digest,
            size,
            offset: span.start,
            begun: span.start,
            span,
            embedded: None,
            answer: None,
            part: 0,
            upto: 0,
            skip: 0,
            ranges: true,
            elsewhere: elsewhere && !self.settings().foreign,
            tries: Tries::new(&self.settings().patience),
            small: false,
        };
        // Checked against digest and size by the one who decodes it.
        if let Some(content) = descriptor.content().map(Bytes::from) {
            let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            stream.embedded = Some(content.slice(index(stream.span.start)..index(stream.span.end)));
        } else if stream.span.start < stream.span.end {
            stream.connect().await?;
        }
        Ok(stream)
    }
}

/// Who may have a blob.
#[derive(Debug)]
enum Place {
    Registry(Box<Endpoint>),
    /// An address in the descriptor, which gets no login and no header of ours.
    Foreign(Url),
}

fn foreign(url: &str) -> Option<Place> {
    let url = Url::parse(url).ok()?;
    let fine = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
    fine.then_some(Place::Foreign(url))
}

/// The bytes of one part of a blob, in order. A connection that breaks is taken up at the byte; a server that has nothing to give is
/// followed by the next.
#[derive(Debug)]
pub struct BlobStream {
    client: Client,
    places: Vec<Place>,
    place: usize,
    object: String,
    digest: Digest,
    size: u64,
    span: Range<u64>,
    offset: u64,
    /// Where the last progress was counted from.
    begun: u64,
    embedded: Option<Bytes>,
    answer: Option<Answer>,
    /// Where the answer begins, as far as it is wanted.
    part: u64,
    /// Where the answer ends.
    upto: u64,
    /// So many bytes of the answer are before what is wanted.
    skip: u64,
    ranges: bool,
    elsewhere: bool,
    tries: Tries,
    small: bool,
}

impl BlobStream {
    /// Wants each answer whole within the time for documents.
    pub fn hurry(&mut self) {
        self.small = true;
        if let Some(answer) = &mut self.answer {
            answer.hurry();
        }
    }

    /// Returns the next bytes; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.embedded.take().filter(|bytes| !bytes.is_empty()) {
            self.offset = self.span.end;
            return Ok(Some(bytes));
        }
        while self.offset < self.span.end {
            let Some(answer) = &mut self.answer else {
                self.connect().await?;
                continue;
            };
            let failed = match answer.chunk().await {
                Ok(Some(bytes)) => {
                    let taken = self.take(bytes)?;
                    if !taken.is_empty() {
                        return Ok(Some(taken));
                    }
                    continue;
                }
                // Less than was asked for, and as announced: the rest is asked for.
                Ok(None) if self.offset == self.upto => self.small_part(),
                Ok(None) => Some(self.cut()),
                Err(error) => Some(error),
            };
            self.answer = None;
            if let Some(error) = failed {
                self.failed(error).await?;
            }
        }
        self.ended().await?;
        Ok(None)
    }

    /// Returns where in the blob the next bytes lie.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Tells whether the server gives parts; from one that does not, several at once are not worth it.
    pub fn ranges(&self) -> bool {
        self.ranges
    }

    /// Returns who gives it, for messages and for [`Client::distrust`].
    pub fn host(&self) -> &str {
        match self.places.get(self.place) {
            Some(Place::Registry(server)) => &server.host,
            Some(Place::Foreign(url)) => url.host_str().unwrap_or("?"),
            None => "?",
        }
    }

    /// A part that is too small is no progress.
    fn small_part(&self) -> Option<Error> {
        let given = self.offset - self.part;
        let what = || format!("the server gives no more than {given} bytes at a time");
        (given < PART).then(|| self.wrong(what()).passing())
    }

    fn cut(&self) -> Error {
        let what = format!("ended after {} of {} bytes", self.offset, self.size);
        Error::wrong(self.host(), &self.object, what).passing()
    }

    /// Takes of some bytes what is wanted.
    fn take(&mut self, mut bytes: Bytes) -> Result<Bytes> {
        let length = bytes.len() as u64;
        let skipped = self.skip.min(length);
        self.skip -= skipped;
        // At most the length of the bytes.
        drop(bytes.split_to(usize::try_from(skipped).unwrap_or(usize::MAX)));
        let length = length - skipped;
        if length > self.upto - self.offset {
            return Err(self.endless());
        }
        let wanted = length.min(self.span.end - self.offset);
        bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.offset += wanted;
        if self.offset - self.begun >= PROGRESS {
            self.begun = self.offset;
            self.tries.renew();
        }
        Ok(bytes)
    }

    fn endless(&self) -> Error {
        let what = format!(
            "the server sends more than the {} bytes that it has",
            self.size
        );
        Error::wrong(self.host(), &self.object, what)
    }

    /// Sees to it that nothing comes behind the end, where the server has not said how much comes.
    async fn ended(&mut self) -> Result<()> {
        let Some(mut answer) = self.answer.take() else {
            return Ok(());
        };
        if answer.length().is_some() || self.offset != self.upto {
            return Ok(());
        }
        let patience = self
            .client
            .settings()
            .patience
            .silence
            .min(Duration::from_secs(5));
        match tokio::time::timeout(patience, answer.chunk()).await {
            Ok(Ok(Some(more))) if !more.is_empty() => Err(self.endless()),
            // Everything is here; how the connection ends is no matter.
            _ => Ok(()),
        }
    }

    async fn connect(&mut self) -> Result<()> {
        while let Err(error) = self.open().await {
            self.failed(error).await?;
        }
        Ok(())
    }

    /// Pauses, or goes on to the next server, or gives up.
    async fn failed(&mut self, error: Error) -> Result<()> {
        // A mirror that has given bytes is there, and whoever comes after it may be out of reach.
        let mirror = self.place + 1 < self.places.len() && self.offset > self.span.start;
        let lost = mirror && error.kind() == Kind::Connect;
        let error = if lost { error.passing() } else { error };
        if let Some(again) = self.tries.after_error(&error) {
            let call = Call::get(self.address()?, self.host(), &self.object);
            self.client.wire().pause(&call, again).await;
            return Ok(());
        }
        if self.place + 1 < self.places.len() {
            if let Some(Place::Registry(server)) = self.places.get(self.place) {
                self.client.mirror_failed(server, &error);
            }
            self.place += 1;
            self.tries = Tries::new(&self.client.settings().patience);
            return Ok(());
        }
        if self.elsewhere && error.kind() == Kind::NotFound {
            return Err(error.advise("its descriptor names other addresses for it: allow foreign layers to fetch it from there"));
        }
        Err(error)
    }

    fn address(&self) -> Result<Url> {
        match self.places.get(self.place) {
            Some(Place::Registry(server)) => Ok(server.url("blobs", &self.digest.to_string())),
            Some(Place::Foreign(url)) => Ok(url.clone()),
            None => Err(Error::new(
                Kind::Settings,
                format!("{}: no server to ask", self.object),
            )),
        }
    }

    async fn open(&mut self) -> Result<()> {
        let server = match self.places.get(self.place) {
            Some(Place::Registry(server)) => Some(self.client.settle(server).await?),
            _ => None,
        };
        let partial = self.offset > 0 || self.span.end < self.size;
        let mut call = match &server {
            Some(server) => {
                let url = server.url("blobs", &self.digest.to_string());
                self.client.call(server, Method::GET, url, &self.object)
            }
            None => Call::get(self.address()?, self.host(), &self.object),
        };
        if partial {
            call.header(
                "range",
                &format!("bytes={}-{}", self.offset, self.span.end - 1),
            )?;
        }
        let answer = loop {
            let result = match &server {
                Some(server) => {
                    self.client
                        .ask_once(server, &call, &Scopes::pull(&server.path))
                        .await
                }
                None => self.client.wire().once(&call).await,
            };
            match self.tries.after(&call, &result) {
                Some(again) => self.client.wire().pause(&call, again).await,
                None => break result?,
            }
        };
        self.accept(answer, partial).await
    }

    /// Compares the head of an answer with what was asked for.
    async fn accept(&mut self, mut answer: Answer, partial: bool) -> Result<()> {
        match answer.status().as_u16() {
            200 => self.accept_whole(&answer, partial)?,
            206 if partial => self.accept_part(&answer)?,
            416 => return Err(self.wrong(format!("has fewer than {} bytes there", self.size))),
            201..=399 => return Err(self.wrong(format!("the server answers {}", answer.status()))),
            _ => return Err(answer.refusal().await),
        }
        if self.small {
            answer.hurry();
        }
        self.part = self.offset;
        self.answer = Some(answer);
        Ok(())
    }

    fn accept_whole(&mut self, answer: &Answer, partial: bool) -> Result<()> {
        if let Some(length) = answer.length()
            && length != self.size
        {
            return Err(self.misfit(length));
        }
        let units = answer.header("accept-ranges").map(str::trim);
        self.ranges = !partial && units == Some("bytes");
        self.skip = self.offset;
        self.upto = self.size;
        Ok(())
    }

    fn accept_part(&mut self, answer: &Answer) -> Result<()> {
        let given = answer.header("content-range").and_then(content_range);
        let (span, total) = given
            .ok_or_else(|| self.wrong("the server does not say which part it sends".into()))?;
        let wanted = self.offset..self.span.end;
        if span.start != wanted.start || span.end > wanted.end || span.is_empty() {
            let what = format!("the server sends bytes {span:?} in the place of {wanted:?}");
            return Err(self.wrong(what));
        }
        if let Some(total) = total.filter(|total| *total != self.size) {
            return Err(self.misfit(total));
        }
        self.ranges = true;
        self.skip = 0;
        self.upto = span.end;
        Ok(())
    }

    fn wrong(&self, what: String) -> Error {
        Error::wrong(self.host(), &self.object, what)
    }

    fn misfit(&self, length: u64) -> Error {
        self.wrong(format!(
            "has {length} bytes there, and should have {}",
            self.size
        ))
    }
}

/// Reads `bytes 0-99/200`, into a span and the whole length where that is said.
pub fn content_range(text: &str) -> Option<(Range<u64>, Option<u64>)> {
    let (span, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.trim().split_once('-')?;
    let first = first.parse().ok()?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first..end, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        for (text, want) in [
            ("bytes 0-99/200", Some((0..100, Some(200)))),
            (" bytes 5-5/* ", Some((5..6, None))),
            ("bytes */200", None),
            ("bytes 0-18446744073709551615/1", None),
            ("bytes -5-6/7", None),
            ("0-99/200", None),
            ("bytes 0-99", None),
        ] {
            assert_eq!(content_range(text), want, "{text}");
        }
    }
}
