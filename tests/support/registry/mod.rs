//! Registries for tests: one of our own that serves from memory, counts, and fails as it is told; Debian's; and what they serve.
//!
//! Ours is a thread for each connection. A test says what it holds (`serve`, `put`), how it behaves throughout (`Manner`), and
//! what goes wrong when (`Rule`); afterwards it reads what was asked (`seen`), how much was sent and what was pushed.

mod accept;
mod debian;
pub mod fault;
pub mod http;
pub mod image;
mod proxy;
mod serve;
pub mod tar;
mod token;

pub use debian::{Debian, DebianOptions};
pub use fault::{Fault, Rule, What};
pub use image::{Image, Layer, digest};
pub use proxy::Proxy;
pub use tar::{Head, Tar};
pub use token::Auth;

use crate::{Must, sys};
use http::{Answer, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a registry behaves, whatever is asked.
#[derive(Debug, Clone)]
pub struct Manner {
    pub auth: Auth,
    /// Of uploads: absolute, relative, or with a query of its own.
    pub location: Location,
    /// Answers 201 to a mount that can be had; else every mount becomes an upload.
    pub mounts: bool,
    /// Knows parts of blobs.
    pub ranges: bool,
    /// Knows the referrers API.
    pub referrers: bool,
    /// Sends Docker-Content-Digest.
    pub digests: bool,
    /// How many tags a page has.
    pub page: usize,
    /// The least that a chunk may have, the last one excepted.
    pub chunk: usize,
    /// What a search looks through; None: it has no search.
    pub found: Option<Vec<serde_json::Value>>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            location: Location::Absolute,
            mounts: true,
            ranges: true,
            referrers: false,
            digests: true,
            page: usize::MAX,
            chunk: 0,
            found: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    Absolute,
    Relative,
    Query,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    pub what: What,
    pub request: Request,
    /// 0 when it got no answer.
    pub status: u16,
}

/// What the registry holds.
#[derive(Debug, Default)]
struct State {
    blobs: BTreeMap<String, Arc<Vec<u8>>>,
    /// Repository and digest.
    held: BTreeSet<(String, String)>,
    /// Repository and tag or digest to media type and bytes.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    tokens: BTreeMap<String, token::Token>,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    manner: Manner,
    serial: u64,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    address: SocketAddr,
    sent: AtomicU64,
    received: AtomicU64,
    /// Blobs that are being sent, and the most that ever were at once.
    busy: AtomicUsize,
    most: AtomicUsize,
    stop: AtomicBool,
}

/// A registry of our own, until it is dropped.
#[derive(Debug)]
pub struct Registry {
    inner: Arc<Inner>,
}

impl Registry {
    /// Listens on a loopback port.
    #[track_caller]
    pub fn new() -> Self {
        Self::at("127.0.0.1")
    }

    /// Listens on a port of another address of this machine.
    #[track_caller]
    pub fn at(address: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).must("a port on loopback");
        let address = listener.local_addr().must("the port");
        let inner = Arc::new(Inner {
            state: Mutex::default(),
            address,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            busy: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                // A client that breaks off is none of the registry's business.
                std::thread::spawn(move || shared.connection(stream).unwrap_or_default());
            }
        });
        Self { inner }
    }

    #[must_use]
    pub fn with(self, edit: impl FnOnce(&mut Manner)) -> Self {
        edit(&mut self.state().manner);
        self
    }

    /// Changes its manner under way.
    pub fn change(&self, edit: impl FnOnce(&mut Manner)) {
        edit(&mut self.state().manner);
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.inner.address.to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Returns a name here: `127.0.0.1:PORT/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// Holds an image under `repository:tag`, and returns its whole name.
    pub fn serve(&self, name: &str, image: &Image) -> String {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
        for blob in image.blobs() {
            self.put_blob(repository, &blob);
        }
        self.put(repository, tag, &image.media_type, &image.manifest);
        self.name(&format!("{repository}:{tag}"))
    }

    /// Holds a blob.
    pub fn put_blob(&self, repository: &str, blob: &[u8]) {
        let name = digest(blob);
        let mut state = self.state();
        state.held.insert((repository.to_owned(), name.clone()));
        state.blobs.insert(name, Arc::new(blob.to_vec()));
    }

    /// Holds a document under a tag and its digest.
    pub fn put(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
        let mut state = self.state();
        for reference in [tag.to_owned(), digest(bytes)] {
            let value = (media_type.to_owned(), bytes.to_vec());
            state
                .manifests
                .insert((repository.to_owned(), reference), value);
        }
    }

    /// Adds a fault.
    pub fn fault(&self, rule: Rule) {
        self.state().rules.push(rule);
    }

    /// Forgets all faults.
    pub fn mend(&self) {
        self.state().rules.clear();
    }

    /// Forgets what was asked and sent so far.
    pub fn forget(&self) {
        self.state().seen.clear();
        self.inner.sent.store(0, Ordering::Relaxed);
        self.inner.received.store(0, Ordering::Relaxed);
    }

    /// Forgets everything that it holds.
    pub fn empty(&self) {
        let mut state = self.state();
        state.blobs.clear();
        state.held.clear();
        state.manifests.clear();
    }

    /// Everything that was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How many requests of this kind were answered, whose path contains `part`.
    pub fn count(&self, what: What, part: &str) -> usize {
        let seen = self.seen();
        let counts = |seen: &&Seen| seen.what == what && seen.request.path.contains(part);
        seen.iter().filter(counts).count()
    }

    /// Bytes of bodies that were sent.
    pub fn sent(&self) -> u64 {
        self.inner.sent.load(Ordering::Relaxed)
    }

    /// Bytes of uploads that came in.
    pub fn received(&self) -> u64 {
        self.inner.received.load(Ordering::Relaxed)
    }

    /// The most blobs, or parts of blobs, that were sent at once.
    pub fn at_once(&self) -> usize {
        self.inner.most.load(Ordering::Relaxed)
    }

    /// Returns media type and bytes of a manifest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(String, Vec<u8>)> {
        let key = (repository.to_owned(), reference.to_owned());
        self.state().manifests.get(&key).cloned()
    }

    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.blobs.get(digest).map(|blob| blob.as_ref().clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state()
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        // The thread that accepts wakes up by it.
        drop(TcpStream::connect(self.inner.address));
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one client until it goes.
    fn connection(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        // What waits in the kernel counts as sent: it is kept short.
        sys::small_send_buffer(&stream)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some(request) = http::read_head(&mut reader)? {
            let what = serve::kind(&request);
            let fault = {
                let mut state = self.state();
                let rules = state.rules.iter_mut();
                rules
                    .filter_map(|rule| {
                        let meets = rule.meets(what, &request.path);
                        meets.then(|| rule.fault.clone())
                    })
                    .next()
            };
            let mut wire = http::Wire {
                stream: &mut stream,
                head: request.method == "HEAD",
                sent: &self.sent,
                stop: &self.stop,
            };
            let answer = self.answer(&mut reader, &request, what, fault.as_ref());
            self.note(what, &request, answer.as_ref().map_or(0, |one| one.status));
            match (answer, &fault) {
                (_, Some(Fault::Garbage)) => {
                    use std::io::Write;
                    return wire
                        .stream
                        .write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n");
                }
                (None, Some(Fault::Silence)) => {
                    wire.rest();
                    return Ok(());
                }
                (None, _) => return Ok(()),
                (Some(answer), _) => {
                    let sent = if what == What::Blob {
                        let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
                        self.most.fetch_max(busy, Ordering::Relaxed);
                        let sent = wire.send(&answer, fault.as_ref());
                        self.busy.fetch_sub(1, Ordering::Relaxed);
                        sent?
                    } else {
                        wire.send(&answer, fault.as_ref())?
                    };
                    if !sent {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn note(&self, what: What, request: &Request, status: u16) {
        self.state().seen.push(Seen {
            what,
            request: request.clone(),
            status,
        });
    }

    /// Returns what to say; None: nothing.
    fn answer(
        &self,
        reader: &mut BufReader<TcpStream>,
        request: &Request,
        what: What,
        fault: Option<&Fault>,
    ) -> Option<Answer> {
        let upload = ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
        if matches!(fault, Some(Fault::Close | Fault::Silence)) {
            return None;
        }
        let most = match fault {
            Some(Fault::DropAt(bytes)) if upload => *bytes,
            _ => usize::MAX,
        };
        let body = http::read_body(reader, request, most).ok()?;
        self.received
            .fetch_add(body.len() as u64, Ordering::Relaxed);
        if upload && most != usize::MAX {
            if what == What::Chunk {
                self.keep(request, &body);
            }
            return None;
        }
        let mut state = self.state();
        if let Some(answer) = serve::instead(fault, request, &self.address, &mut state, &body) {
            return Some(answer);
        }
        let answer = match token::refuse(&mut state, request, what, &self.address) {
            Some(refusal) => refusal,
            None => serve::answer(&mut state, request, what, &body, &self.address),
        };
        Some(serve::spoil(answer, fault, request))
    }
}
