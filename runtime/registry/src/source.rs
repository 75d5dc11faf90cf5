//! Where the bytes of an upload come from.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use image::Digest;

use crate::error::{Error, Result};
use crate::upload::Session;

/// Where a blob's bytes come from.
pub trait Source: Send + Sync + fmt::Debug {
    /// Returns bytes from an offset, at most so many; none at the end. Any offset may be asked for again. Waits where bytes are still to be
    /// made.
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>>;

    /// Returns digest and size: from the start, or, of a blob that is made while it is sent, at the latest when `read` has given the end.
    fn known(&self) -> Option<(Digest, u64)>;

    /// Hears how many bytes are on their way; fewer than before where some have to be sent again.
    fn progress(&self, _sent: u64) {}

    /// Hears of a session that a later process can go on with.
    fn session(&self, _session: &Session) {}
}

/// Bytes in memory.
#[derive(Debug, Clone)]
pub struct Whole(pub Bytes);

impl Source for Whole {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        let length = self.0.len();
        let start = usize::try_from(offset).unwrap_or(length).min(length);
        let end = start.saturating_add(most).min(length);
        Box::pin(std::future::ready(Ok(self.0.slice(start..end))))
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((Digest::of(&self.0), self.0.len() as u64))
    }
}

/// A file with all of a blob.
#[derive(Debug)]
pub struct Stored {
    file: Arc<File>,
    digest: Digest,
    size: u64,
}

impl Stored {
    /// Takes a file; its offset is neither used nor moved.
    pub fn new(file: File, digest: Digest, size: u64) -> Self {
        Self {
            file: Arc::new(file),
            digest,
            size,
        }
    }
}

impl Source for Stored {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        let (file, digest, size) = (self.file.clone(), self.digest, self.size);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(move || {
                let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
                let mut bytes = vec![0; most.min(left)];
                file.read_exact_at(&mut bytes, offset).map(|()| bytes)
            });
            match read.await {
                Ok(Ok(bytes)) => Ok(bytes.into()),
                Ok(Err(error)) => Err(Error::local(format!("blob {digest}: {error}"))),
                Err(_) => Err(Error::local(format!("blob {digest}: reading was given up"))),
            }
        })
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.digest, self.size))
    }
}
