//! The client against servers on loopback: one of our own that misbehaves as told, and Debian's docker-registry.

mod answers;
mod auth;
mod debian;
mod faults;
mod mirrors;
mod referrers;
mod restarts;
mod server;
mod uploads;

use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::{Descriptor, Repository, media};

use crate::{Client, Credentials, Error, Hosts, Notice, Notices, Patience, Settings};

/// Runs to the end, or fails after 20 seconds: nothing may hang.
fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), work)
            .await
            .expect("it hangs")
    })
}

/// Where notices go, and what was said there beside the requests themselves.
fn ear() -> (Notices, Arc<Mutex<Vec<Notice>>>) {
    let heard: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let log = heard.clone();
    let notices = Notices::to(move |notice: &Notice| {
        if !matches!(notice, Notice::Asked { .. }) {
            log.lock().unwrap().push(notice.clone());
        }
    });
    (notices, heard)
}

fn impatient() -> Settings {
    Settings {
        patience: Patience {
            connect: Duration::from_millis(300),
            silence: Duration::from_millis(300),
            least: 64,
            whole: Duration::from_secs(2),
            retries: 3,
            backoff: Duration::from_millis(5),
            longest: Duration::from_secs(2),
        },
        chunk: 100_000,
        ..Settings::default()
    }
}

fn client() -> Client {
    Client::new(impatient()).unwrap()
}

fn client_with(hosts: Hosts, credentials: Credentials) -> Client {
    Client::new(Settings {
        hosts,
        credentials,
        ..impatient()
    })
    .unwrap()
}

fn repository(host: &str) -> Repository {
    Repository {
        host: host.to_string(),
        path: "team/tool".to_string(),
    }
}

/// Bytes that repeat nowhere near.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(media::OCI_LAYER_GZIP, bytes)
}

async fn fetch(
    client: &Client,
    from: &Repository,
    what: &Descriptor,
    span: Range<u64>,
) -> Result<Vec<u8>, Error> {
    let mut stream = client.blob(from, what, span.clone()).await?;
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        all.extend_from_slice(&bytes);
        assert_eq!(stream.offset(), span.start + all.len() as u64);
    }
    Ok(all)
}

/// A directory that is gone with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "registry-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What an engine needs of the calls: that they may move between threads.
#[test]
fn calls_are_for_any_thread() {
    fn any_thread<T: Send>(_: &T) {}
    let client = client();
    let from = repository("localhost:1");
    let what = layer(b"x");
    any_thread(&client.manifest(&from, &crate::Which::Tag("x".into())));
    any_thread(&client.blob(&from, &what, 0..1));
    any_thread(&client.upload(&from, std::sync::Arc::new(crate::Whole("x".into())), None));
    any_thread(&client.mount(&from, &what.digest, &from));
    any_thread(&client.referrers(&from, &what.digest, None));
    any_thread(&client.tags(&from));
}
