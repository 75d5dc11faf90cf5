//! Where the bytes of an upload come from: a blob that is here, or one that is being packed.

use std::fs::File;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use image::{Digest, Repository};
use registry::{Session, Source, Stored};
use store::Store;
use tokio::sync::watch;
use tokio::task::{block_in_place, spawn_blocking};

use crate::progress::{Layer, Step};

type Reading<'a> = Pin<Box<dyn Future<Output = registry::Result<Bytes>> + Send + 'a>>;

/// A blob that is here. The upload is remembered, so that a push that was killed goes on.
#[derive(Debug)]
pub(crate) struct Kept {
    pub inner: Stored,
    pub store: Store,
    pub repository: Repository,
    pub digest: Digest,
    pub size: u64,
    /// None: nobody is shown how far it is.
    pub layer: Option<Layer>,
}

impl Source for Kept {
    fn read(&self, offset: u64, most: usize) -> Reading<'_> {
        self.inner.read(offset, most)
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.digest, self.size))
    }

    fn progress(&self, sent: u64) {
        let size = self.size;
        if let Some(layer) = &self.layer {
            layer.is(Step::Pushing { have: sent, size });
        }
    }

    fn session(&self, session: &Session) {
        let Ok(text) = serde_json::to_string(session) else {
            return;
        };
        let repository = self.repository.canonical();
        // A session that could not be written down costs bytes after a kill, and nothing else.
        // In order, and by a thread that may wait for the database.
        drop(block_in_place(|| {
            self.store
                .set_upload(&repository, &self.digest, Some(&text))
        }));
    }
}

/// How far the packing of a layer is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growth {
    /// Bytes that are in the file.
    pub size: u64,
    /// Nothing more comes: the digest of all, or why there is none.
    pub end: Option<Result<Digest, String>>,
}

/// A blob that is being packed.
#[derive(Debug)]
pub(crate) struct Growing {
    pub file: Arc<File>,
    pub growth: watch::Receiver<Growth>,
    pub layer: Layer,
}

impl Growing {
    async fn read_grown(&self, offset: u64, most: usize) -> registry::Result<Bytes> {
        let mut growth = self.growth.clone();
        let there = growth.wait_for(|growth| {
            // All that was asked for, so that the pieces that are sent are as large as they should be.
            growth.end.is_some() || growth.size >= offset + most as u64
        });
        let there = there
            .await
            .map_err(|_| registry::Error::local("the packing of the layer has ended"))?
            .clone();
        if let Some(Err(text)) = there.end {
            return Err(registry::Error::local(text));
        }
        let left = there.size.saturating_sub(offset);
        let file = Arc::clone(&self.file);
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(left).unwrap_or(most).min(most)];
            file.read_exact_at(&mut bytes, offset).map(|()| bytes)
        });
        let failed = |why: &dyn std::fmt::Display| {
            registry::Error::local(format!("read the packed layer: {why}"))
        };
        match read.await {
            Ok(Ok(bytes)) => Ok(bytes.into()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(error) => Err(failed(&error)),
        }
    }
}

impl Source for Growing {
    fn read(&self, offset: u64, most: usize) -> Reading<'_> {
        Box::pin(self.read_grown(offset, most))
    }

    fn known(&self) -> Option<(Digest, u64)> {
        let growth = self.growth.borrow();
        match &growth.end {
            Some(Ok(digest)) => Some((*digest, growth.size)),
            _ => None,
        }
    }

    fn progress(&self, sent: u64) {
        let growth = self.growth.borrow();
        let size = if growth.end.is_some() { growth.size } else { 0 };
        self.layer.is(Step::Pushing { have: sent, size });
    }
}
