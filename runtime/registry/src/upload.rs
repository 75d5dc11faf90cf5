//! Blobs to a server: in one request where that is small, else in pieces, and on from where a connection broke or a process was killed.
//!
//! ```text
//! POST  blobs/uploads/         202, Location: the session
//! PUT   session?digest=..      all bytes, or none after the last piece: 201
//! PATCH session                bytes a-b (Content-Range): 202, the next Location, Range: 0-b
//! GET   session                204, Range: 0-b: so many the server has
//! DELETE session               the server forgets it
//! ```
//!
//! Each answer may name a new session, relative to the last, with a query of its own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use image::{Digest, Repository};
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};

use crate::auth::scope::Scopes;
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use crate::hosts::Endpoint;
use crate::http::{Answer, Call, Payload, Pulse, Tries};
use crate::source::Source;

/// As much is read from a source at once.
const PIECE: usize = 256 << 10;
/// A piece of a blob whose size is not known is held in memory until the server has it.
const HELD: u64 = 8 << 20;
/// So long is waited for a session to be forgotten.
const FAREWELL: Duration = Duration::from_secs(5);
/// A server that wants larger pieces than this is not one that we can serve.
const MOST_MINIMUM: u64 = 64 << 20;

/// What became of a wish to write.
#[derive(Debug)]
pub enum Upload {
    /// The server has the blob.
    Done,
    /// The server waits for its bytes.
    Session(Session),
}

/// An upload under way, as a server knows it. Its JSON, kept, lets a later process go on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    host: String,
    repository: String,
    location: String,
    received: u64,
    #[serde(default)]
    minimum: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The location may hold a signature.
        write!(
            f,
            "Session({}/{} {})",
            self.host, self.repository, self.received
        )
    }
}

impl Session {
    pub(crate) fn begun(server: &Endpoint, to: &Repository, answer: &Answer) -> Result<Self> {
        let minimum = answer
            .header("oci-chunk-min-length")
            .and_then(|text| text.trim().parse().ok());
        Ok(Self {
            host: to.host.clone(),
            repository: to.path.clone(),
            location: location(server, answer)?
                .ok_or_else(|| no_location(&server.host))?
                .into(),
            received: 0,
            minimum: minimum.unwrap_or(0),
        })
    }
}

fn no_location(host: &str) -> Error {
    Error::wrong(
        host,
        "upload",
        "the server begins it, and does not say where",
    )
}

/// Returns where an answer says that the upload goes on.
fn location(server: &Endpoint, answer: &Answer) -> Result<Option<Url>> {
    let Some(text) = answer.header("location") else {
        return Ok(None);
    };
    let wrong = |what: &str| Error::wrong(&server.host, "upload", what);
    let mut url = answer
        .url()
        .join(text)
        .map_err(|_| wrong("goes on at what is no address"))?;
    let was = answer.url();
    match (was.scheme(), url.scheme()) {
        ("https", "http") if was.host_str() == url.host_str() => {
            // A server behind one that adds TLS, and does not know of it.
            let upgraded = url
                .set_scheme("https")
                .and_then(|()| url.set_port(was.port()));
            upgraded.map_err(|()| wrong("goes on at what is no address"))?;
        }
        ("https" | "http", "https") | ("http", "http") => {}
        _ => return Err(wrong("goes on without TLS, or by another protocol")),
    }
    Ok(Some(url))
}

/// A blob that is with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// Who has it.
    pub host: String,
    /// So many bytes the server took in this call.
    pub sent: u64,
}

impl Client {
    /// Begins an upload.
    pub(crate) async fn begin(
        &self,
        server: &Endpoint,
        to: &Repository,
        object: &str,
    ) -> Result<Upload> {
        let url = server.url("blobs/uploads", "");
        let call = self.call(server, Method::POST, url, object);
        let answer = self.ask(server, &call, &Scopes::push(&server.path)).await?;
        match answer.status().as_u16() {
            202 => Session::begun(server, to, &answer).map(Upload::Session),
            _ => Err(answer.refusal().await),
        }
    }

    /// Sends a blob; on with a session, if the server still knows it, else from the start.
    pub async fn upload(
        &self,
        to: &Repository,
        source: Arc<dyn Source>,
        session: Option<Session>,
    ) -> Result<Uploaded> {
        let server = self.writer(to).await?;
        let object = match source.known() {
            Some((digest, _)) => format!("blob {digest}"),
            None => "new blob".to_string(),
        };
        let ours =
            session.filter(|session| session.host == to.host && session.repository == to.path);
        let mut sending = Sending {
            client: self,
            scopes: Scopes::push(&server.path),
            server,
            to,
            source,
            object,
            // Of one that is new, the server has nothing: no need to ask.
            asked: ours.as_ref().is_some_and(|session| session.received == 0),
            session: ours,
            sent: 0,
            one_by_one: false,
        };
        sending.run().await
    }
}

/// An upload at work.
struct Sending<'a> {
    client: &'a Client,
    server: Endpoint,
    scopes: Scopes,
    to: &'a Repository,
    source: Arc<dyn Source>,
    object: String,
    session: Option<Session>,
    /// `session.received` is what the server says now.
    asked: bool,
    sent: u64,
    /// One request with all of it has failed: pieces lose less.
    one_by_one: bool,
}

impl Sending<'_> {
    async fn run(&mut self) -> Result<Uploaded> {
        let mut tries = Tries::new(&self.client.settings().patience);
        loop {
            let before = self.sent;
            let error = match self.attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if self.sent > before {
                tries.renew();
            }
            let Some(again) = tries.after_error(&error) else {
                self.cancel(&error).await;
                return Err(error);
            };
            let call = Call::get(self.server.base.clone(), &self.server.host, &self.object);
            self.client.wire().pause(&call, again).await;
            // The answer to the last request may have been lost, and not the request.
            if let Some((digest, size)) = self.source.known() {
                match self.client.has_blob(self.to, &digest).await {
                    Ok(true) => return Ok(self.done(digest, size)),
                    Err(error) if error.kind() == Kind::Connect => return Err(error),
                    _ => {}
                }
            }
            self.asked = false;
        }
    }

    /// Has the server forget what it has got of a blob that will not come. What another attempt can go on with stays there.
    async fn cancel(&mut self, why: &Error) {
        let hopeless = matches!(
            why.kind(),
            Kind::Wrong | Kind::Local | Kind::Denied | Kind::Unsupported | Kind::Server
        );
        if !hopeless || why.is_passing() || self.session.is_none() {
            return;
        }
        if let Ok(call) = self.call(Method::DELETE) {
            let asked = self.client.ask_once(&self.server, &call, &self.scopes);
            // A server that does not do it forgets the session some day by itself.
            drop(tokio::time::timeout(FAREWELL, asked).await);
        }
    }

    fn done(&self, digest: Digest, size: u64) -> Uploaded {
        self.source.progress(size);
        Uploaded {
            digest,
            size,
            host: self.server.host.clone(),
            sent: self.sent,
        }
    }

    async fn attempt(&mut self) -> Result<Uploaded> {
        if !self.asked {
            self.ask_session().await?;
        }
        loop {
            let Some(session) = &self.session else {
                match self
                    .client
                    .begin(&self.server, self.to, &self.object)
                    .await?
                {
                    Upload::Session(session) => self.keep(session),
                    Upload::Done => return Err(no_location(&self.server.host)),
                }
                continue;
            };
            let received = session.received;
            let chunk = self.client.settings().chunk.max(session.minimum).max(1);
            match self.source.known() {
                Some((digest, size)) if received == size => {
                    return self.commit(digest, size, Payload::None).await;
                }
                Some((_, size)) if received > size => {
                    return Err(self.wrong(format!("the server has {received} bytes of {size}")));
                }
                Some((digest, size)) if received == 0 && size <= chunk && !self.one_by_one => {
                    // If it fails, what the server has of it is asked for.
                    self.asked = false;
                    self.one_by_one = true;
                    let payload = self.stream(0, size);
                    return self
                        .commit(digest, size, payload.0)
                        .await
                        .map_err(|error| payload.1.or(error));
                }
                Some((_, size)) => self.patch(received, chunk.min(size - received)).await?,
                None => self.patch_unknown(received).await?,
            }
        }
    }

    fn wrong(&self, what: String) -> Error {
        Error::wrong(&self.server.host, &self.object, what)
    }

    fn keep(&mut self, session: Session) {
        self.asked = true;
        self.source.session(&session);
        self.source.progress(session.received);
        self.session = Some(session);
    }

    /// Prepares a request to the session.
    fn call(&self, method: Method) -> Result<Call> {
        let location = self
            .session
            .as_ref()
            .map(|session| session.location.as_str());
        let url = location.and_then(|text| Url::parse(text).ok());
        let url = url.ok_or_else(|| no_location(&self.server.host))?;
        Ok(self.client.call(&self.server, method, url, &self.object))
    }

    /// Asks how much of the blob the server has; a session that it does not know any more is dropped.
    async fn ask_session(&mut self) -> Result<()> {
        self.asked = true;
        let Some(mut session) = self.session.take() else {
            return Ok(());
        };
        self.session = Some(session.clone());
        let call = self.call(Method::GET)?;
        let answer = self.client.ask(&self.server, &call, &self.scopes).await;
        self.session = None;
        let answer = match answer {
            Ok(answer) if answer.status().is_success() => answer,
            // It may have it still.
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Connect | Kind::Silent | Kind::Server | Kind::TooMany
                ) =>
            {
                self.session = Some(session);
                return Err(error);
            }
            // Whatever is wrong with it, a new one will do.
            _ => return Ok(()),
        };
        let received = match answer.header("range").map(received) {
            Some(Some(received)) => received,
            _ => return Ok(()),
        };
        // "0-0" is what some say of nothing, and what one byte would be.
        if received == 1 && self.sent > 0 {
            return Ok(());
        }
        session.received = if received == 1 { 0 } else { received };
        if let Some(next) = location(&self.server, &answer)? {
            session.location = next.into();
        }
        self.keep(session);
        Ok(())
    }

    /// Makes a body of part of the source, and a place where its error is found.
    fn stream(&self, from: u64, length: u64) -> (Payload, Fault) {
        let fault = Fault::default();
        let (source, seen, to) = (self.source.clone(), fault.clone(), from + length);
        let make = move |pulse: &Pulse| {
            let state = (source.clone(), from, pulse.clone(), seen.clone());
            let pieces = stream::unfold(state, move |(source, at, pulse, seen)| async move {
                let most = usize::try_from(to.saturating_sub(at))
                    .unwrap_or(PIECE)
                    .min(PIECE);
                if most == 0 {
                    return None;
                }
                pulse.beat();
                let read = source.read(at, most).await;
                pulse.beat();
                let read = read.and_then(|bytes| match bytes.len() {
                    0 => Err(Error::local(format!(
                        "what is sent ends after {at} of {to} bytes"
                    ))),
                    n if n > most => Err(Error::local("a source gives more than was asked for")),
                    _ => Ok(bytes),
                });
                match read {
                    Ok(bytes) => {
                        let next = at + bytes.len() as u64;
                        source.progress(next);
                        Some((Ok(bytes), (source, next, pulse, seen)))
                    }
                    Err(error) => {
                        seen.set(error);
                        Some((
                            Err(std::io::Error::other("the source ends")),
                            (source, to, pulse, seen),
                        ))
                    }
                }
            });
            reqwest::Body::wrap_stream(pieces)
        };
        (Payload::Stream(Arc::new(make), length), fault)
    }

    async fn patch(&mut self, from: u64, length: u64) -> Result<()> {
        let (payload, fault) = self.stream(from, length);
        self.send_piece(from, length, payload)
            .await
            .map_err(|error| fault.or(error))
    }

    /// Sends the next piece of a blob whose size is not known yet.
    async fn patch_unknown(&mut self, from: u64) -> Result<()> {
        let minimum = self.session.as_ref().map_or(0, |session| session.minimum);
        if minimum > MOST_MINIMUM {
            return Err(self.wrong(format!(
                "the server wants pieces of {minimum} bytes, which is too much to hold"
            )));
        }
        let wanted = HELD.max(minimum);
        let (mut pieces, mut length) = (Vec::new(), 0);
        while length < wanted {
            let most = usize::try_from(wanted - length).unwrap_or(PIECE).min(PIECE);
            let bytes = self.source.read(from + length, most).await?;
            if bytes.is_empty() {
                break;
            }
            length += bytes.len() as u64;
            pieces.push(bytes);
        }
        if length == 0 {
            return match self.source.known() {
                // The end, and what came of it is known now.
                Some((_, size)) if size == from => Ok(()),
                _ => Err(Error::local(format!(
                    "what is sent ends after {from} bytes, and has no digest"
                ))),
            };
        }
        let make = move |_: &Pulse| {
            let pieces: Vec<std::io::Result<Bytes>> = pieces.iter().cloned().map(Ok).collect();
            reqwest::Body::wrap_stream(stream::iter(pieces))
        };
        self.send_piece(from, length, Payload::Stream(Arc::new(make), length))
            .await
    }

    async fn send_piece(&mut self, from: u64, length: u64, payload: Payload) -> Result<()> {
        let mut call = self.call(Method::PATCH)?;
        call.header("content-type", "application/octet-stream")?;
        call.header("content-range", &format!("{from}-{}", from + length - 1))?;
        call.payload = payload;
        call.silences = 2;
        // If it fails, how much has arrived is asked for.
        self.asked = false;
        let answer = self
            .client
            .ask_once(&self.server, &call, &self.scopes)
            .await?;
        match answer.status().as_u16() {
            200..=204 => {}
            // Not where the server is, or a session that it does not know: both are asked about.
            404 | 416 => return Err(answer.refusal().await.passing()),
            _ => return Err(answer.refusal().await),
        }
        let Some(mut session) = self.session.clone() else {
            return Ok(());
        };
        let arrived = answer
            .header("range")
            .and_then(received)
            .unwrap_or(from + length);
        if arrived > from + length {
            return Err(self.wrong(format!(
                "the server has {arrived} bytes, of which {} were sent",
                from + length
            )));
        }
        if arrived <= from {
            return Err(self
                .wrong("the server takes nothing of it".to_string())
                .passing());
        }
        self.sent += arrived - from;
        session.received = arrived;
        if let Some(next) = location(&self.server, &answer)? {
            session.location = next.into();
        }
        self.keep(session);
        Ok(())
    }

    /// Ends the session with the digest, and with all of the bytes where none is there.
    async fn commit(&mut self, digest: Digest, size: u64, payload: Payload) -> Result<Uploaded> {
        let mut call = self.call(Method::PUT)?;
        call.url
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        call.header("content-type", "application/octet-stream")?;
        let carried = if matches!(payload, Payload::None) {
            0
        } else {
            size
        };
        call.payload = payload;
        // The server reads all of it once more, and moves it.
        call.silences = 10;
        let answer = self
            .client
            .ask_once(&self.server, &call, &self.scopes)
            .await?;
        match answer.status().as_u16() {
            200 | 201 | 204 => {}
            404 | 416 => {
                self.asked = false;
                return Err(answer.refusal().await.passing());
            }
            _ => return Err(answer.refusal().await),
        }
        let told = answer
            .header("docker-content-digest")
            .and_then(|text| text.parse::<Digest>().ok());
        if let Some(told) =
            told.filter(|told| *told != digest && told.algorithm() == digest.algorithm())
        {
            return Err(self.wrong(format!("the server has stored it as {told}")));
        }
        self.sent += carried;
        Ok(self.done(digest, size))
    }
}

/// The error of a source, which the connection that it broke only knows as "the body ended".
#[derive(Clone, Default)]
struct Fault(Arc<Mutex<Option<Error>>>);

impl Fault {
    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn or(&self, other: Error) -> Error {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or(other)
    }
}

/// Reads `0-99`, or `bytes=0-99`, into how many bytes have arrived.
pub fn received(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let (first, last) = text.split_once('-')?;
    let last: i64 = last.parse().ok()?;
    let end = u64::try_from(last.checked_add(1)?).ok()?;
    (first == "0").then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_has_arrived() {
        for (text, want) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0--1", Some(0)),
            ("0-0", Some(1)),
            ("5-99", None),
            ("0-", None),
            ("", None),
            ("0-9223372036854775807", None),
        ] {
            assert_eq!(received(text), want, "{text}");
        }
    }
}
