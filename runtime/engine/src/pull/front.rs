//! A blob that is read while it still comes: writers fill the file anywhere, the reader follows behind what is contiguous.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use image::{Digest, Hasher};

/// How far the contiguous beginning of a blob reaches. The file is the buffer between the network and the unpacker: it needs no memory
/// of ours, and what was there before an interruption is read like what comes now.
#[derive(Debug)]
pub(crate) struct Front {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// All before this has been written.
    reach: u64,
    /// What lies beyond a gap: begin to end.
    beyond: BTreeMap<u64, u64>,
    /// Bytes written in all.
    have: u64,
    /// Nobody writes any more.
    ended: bool,
    /// Nobody reads any more.
    deaf: bool,
    /// The reader wanted more than was written.
    starved: bool,
    /// Whatever the bytes are, all of them are wanted.
    all: bool,
}

impl Front {
    /// A blob of which all but `missing` is there.
    pub(crate) fn new(size: u64, missing: &[Range<u64>]) -> Arc<Self> {
        let mut state = State::default();
        let mut at = 0;
        for gap in missing {
            state.wrote(at..gap.start);
            at = gap.end;
        }
        state.wrote(at..size);
        let (state, moved) = (Mutex::new(state), Condvar::new());
        Arc::new(Self { state, moved })
    }

    /// Tells that a span has been written, and returns how much is there now in all.
    pub(crate) fn wrote(&self, span: Range<u64>) -> u64 {
        let mut state = self.lock();
        state.wrote(span);
        self.moved.notify_all();
        state.have
    }

    /// Tells that nothing more will be written.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.moved.notify_all();
    }

    /// Tells whether anybody still wants the bytes.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.lock().deaf
    }

    /// Tells whether the reader wanted more than was written.
    pub(crate) fn is_starved(&self) -> bool {
        self.lock().starved
    }

    /// From now on the reader goes on to the end also when what it reads makes no sense: only the digest tells whose fault that is.
    pub(crate) fn want_all(&self) {
        self.lock().all = true;
    }

    /// Tells whether the reader is to go on to the end.
    pub(crate) fn wants_all(&self) -> bool {
        self.lock().all
    }

    /// Tells how much is there in all.
    pub(crate) fn have(&self) -> u64 {
        self.lock().have
    }

    /// Waits until something is there behind `at`, and returns how far it reaches.
    fn wait(&self, at: u64) -> io::Result<u64> {
        let mut state = self.lock();
        loop {
            if state.reach > at {
                return Ok(state.reach);
            }
            if state.ended {
                state.starved = true;
                let text = "the download ended before its time";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            let waited = self.moved.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has left plain numbers behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wrote(&mut self, span: Range<u64>) {
        if span.is_empty() {
            return;
        }
        self.have += span.end - span.start;
        self.beyond.insert(span.start, span.end);
        while let Some(end) = self.beyond.remove(&self.reach) {
            self.reach = end;
        }
    }
}

/// Ends the writing when the writer is gone, whatever became of it.
#[derive(Debug)]
pub(crate) struct Writing(pub Arc<Front>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Reads a blob from its beginning behind its front, and hashes every byte on the way.
pub(crate) struct Behind {
    front: Arc<Front>,
    file: File,
    size: u64,
    at: u64,
    hasher: Hasher,
    /// Told how far the reader is.
    tell: Box<dyn FnMut(u64) + Send>,
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Behind({} of {})", self.at, self.size)
    }
}

impl Behind {
    pub(crate) fn new(
        front: Arc<Front>,
        file: File,
        size: u64,
        algorithm: image::Algorithm,
        tell: Box<dyn FnMut(u64) + Send>,
    ) -> Self {
        let hasher = Hasher::new(algorithm);
        Self {
            front,
            file,
            size,
            at: 0,
            hasher,
            tell,
        }
    }

    /// Returns the digest of what was read: of the whole blob, when it was read to its end.
    pub(crate) fn digest(&mut self) -> Digest {
        let fresh = Hasher::new(image::Algorithm::Sha256);
        std::mem::replace(&mut self.hasher, fresh).finish()
    }
}

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.size || buffer.is_empty() {
            return Ok(0);
        }
        let there = self.front.wait(self.at)? - self.at;
        let most = usize::try_from(there)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.file.read_at(&mut buffer[..most], self.at)?;
        if read == 0 {
            let text = "the file was cut short while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.hasher.update(&buffer[..read]);
        // usize is no wider than u64 on any machine that this runs on.
        self.at += read as u64;
        (self.tell)(self.at);
        Ok(read)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        // Who has read all of it wanted every byte, and the writer may not have seen the end of its stream yet.
        self.front.lock().deaf = self.at < self.size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        sys::fs::memory_file(bytes).unwrap().into()
    }

    fn behind(front: &Arc<Front>, bytes: &[u8]) -> Behind {
        let size = bytes.len() as u64;
        let quiet = Box::new(|_| ());
        Behind::new(
            Arc::clone(front),
            file(bytes),
            size,
            image::Algorithm::Sha256,
            quiet,
        )
    }

    #[test]
    fn a_reader_follows_spans_in_any_order() {
        let bytes: Vec<u8> = (0..100).collect();
        let front = Front::new(100, &[10..40, 50..100]);
        assert_eq!(front.have(), 20);
        let mut reader = behind(&front, &bytes);
        let writer = std::thread::spawn({
            let front = Writing(Arc::clone(&front));
            move || {
                for span in [70..100, 10..20, 50..70, 20..40] {
                    front.0.wrote(span);
                }
            }
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writer.join().unwrap();
        assert_eq!(read, bytes);
        assert_eq!(reader.digest(), Digest::of(&bytes));
        drop(reader);
        assert!(
            front.is_wanted(),
            "the stream of the last bytes may end in peace"
        );
    }

    #[test]
    fn a_reader_does_not_wait_for_a_writer_that_is_gone() {
        let front = Front::new(10, &[4..8, 8..10]);
        let mut reader = behind(&front, &[7; 10]);
        drop(Writing(Arc::clone(&front)));
        let mut read = Vec::new();
        let error = reader.read_to_end(&mut read).unwrap_err();
        assert_eq!(
            (read.len(), error.kind()),
            (4, io::ErrorKind::UnexpectedEof)
        );
        assert!(front.is_wanted());
        drop(reader);
        assert!(!front.is_wanted());
    }

    #[test]
    fn an_empty_blob_is_at_its_end() {
        let front = Front::new(0, &[]);
        let mut reader = behind(&front, &[]);
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
        assert_eq!(reader.digest(), Digest::of(b""));
    }
}
