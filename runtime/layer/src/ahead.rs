//! A stream that is read ahead by a thread of its own as soon as there are processors for it: one inflates then while another unpacks.

use std::io::{self, Read};
use std::num::NonZero;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, Scope, available_parallelism};

/// Bytes that are handed over at a time: enough to make the handing over cheap, little enough to be still in a processor's cache.
const PIECE: usize = 128 << 10;
/// Pieces that the thread may be ahead.
const PIECES: usize = 6;
/// Bytes after which it is looked again whether there are processors.
const LOOK: usize = 1 << 20;

/// Streams of this process that are being read.
static STREAMS: AtomicUsize = AtomicUsize::new(0);

/// Asked once: to answer, files of cgroups are read.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));

/// A stream that is read here, until there are processors to read it elsewhere.
#[derive(Debug)]
pub struct Ahead<'scope, 'env, R> {
    scope: &'scope Scope<'scope, 'env>,
    from: Source<R>,
    /// Bytes until it is looked again.
    look: usize,
}

#[derive(Debug)]
enum Source<R> {
    Here(R),
    There(There),
    /// The thread could not be started.
    Nowhere,
}

/// The reading side of a thread.
#[derive(Debug)]
struct There {
    full: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that have been read go back.
    empty: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'scope, 'env, R: Read + Send + 'scope> Ahead<'scope, 'env, R> {
    /// The thread, if it comes to one, ends when the stream does, or with the next piece after this is dropped.
    pub fn new(scope: &'scope Scope<'scope, 'env>, from: R) -> Self {
        STREAMS.fetch_add(1, Ordering::Relaxed);
        let from = Source::Here(from);
        let look = LOOK;
        Self { scope, from, look }
    }

    /// Starts the thread if every stream could have two processors. More threads than that only get into each other's way.
    fn look(&mut self) -> io::Result<()> {
        self.look = LOOK;
        if 2 * STREAMS.load(Ordering::Relaxed) > *PROCESSORS {
            return Ok(());
        }
        match std::mem::replace(&mut self.from, Source::Nowhere) {
            Source::Here(from) => self.from = Source::There(There::start(self.scope, from)?),
            other => self.from = other,
        }
        Ok(())
    }
}

impl<'scope, R: Read + Send + 'scope> Read for Ahead<'scope, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.look == 0 && matches!(self.from, Source::Here(_)) {
            self.look()?;
        }
        let len = match &mut self.from {
            Source::Here(from) => from.read(buffer)?,
            Source::There(there) => there.read(buffer)?,
            Source::Nowhere => return Err(io::Error::other("no thread could be started")),
        };
        self.look = self.look.saturating_sub(len);
        Ok(len)
    }
}

impl<R> Drop for Ahead<'_, '_, R> {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Ordering::Relaxed);
    }
}

impl There {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        from: impl Read + Send + 'scope,
    ) -> io::Result<Self> {
        let (give, full) = sync_channel(PIECES);
        let (empty, back) = sync_channel(PIECES + 2);
        let work = move || read(from, &give, &back);
        Builder::new().spawn_scoped(scope, work)?;
        Ok(Self {
            full,
            empty,
            piece: Vec::new(),
            at: 0,
            ended: false,
        })
    }
}

/// Hands over piece after piece; the last one is empty, or an error.
fn read(mut from: impl Read, give: &SyncSender<io::Result<Vec<u8>>>, back: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = back.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let (len, error) = fill(&mut from, &mut piece);
        piece.truncate(len);
        // What came before an error is read before it.
        let last = piece.is_empty() || error.is_some();
        let told = error.is_none() || len > 0;
        if told && give.send(Ok(piece)).is_err() {
            return;
        }
        if let Some(error) = error {
            give.send(Err(error)).ok();
        }
        if last {
            return;
        }
    }
}

/// Reads until the piece is full or nothing more comes.
fn fill(from: &mut impl Read, piece: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut len = 0;
    while len < piece.len() {
        match from.read(&mut piece[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (len, Some(error)),
        }
    }
    (len, None)
}

impl Read for There {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() && !self.ended && !buffer.is_empty() {
            let piece = std::mem::take(&mut self.piece);
            // Nobody waits for it any more: it is freed.
            self.empty.try_send(piece).ok();
            self.at = 0;
            match self.full.recv() {
                Ok(Ok(piece)) => self.piece = piece,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::Error::other("the thread that reads ahead has ended")),
            }
            self.ended = self.piece.is_empty();
        }
        let len = buffer.len().min(self.piece.len() - self.at);
        buffer[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in small parts, then an error, if there is to be one.
    struct Parts<'a>(&'a [u8], bool);

    impl Read for Parts<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() && self.1 {
                return Err(io::Error::other("broken"));
            }
            let len = buffer.len().min(1000);
            self.0.read(&mut buffer[..len])
        }
    }

    #[test]
    fn all_bytes_come_in_order_and_an_error_after_them() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * PIECE + 17).collect();
        for broken in [false, true] {
            for len in [0, 1, PIECE, bytes.len()] {
                std::thread::scope(|scope| {
                    let mut ahead = There::start(scope, Parts(&bytes[..len], broken)).unwrap();
                    let mut read = Vec::new();
                    let end = ahead.read_to_end(&mut read);
                    assert_eq!(read, bytes[..len]);
                    assert_eq!(end.is_err(), broken);
                    assert!(broken || ahead.read(&mut [0; 8]).unwrap() == 0);
                });
            }
        }
    }

    #[test]
    fn the_thread_ends_when_nobody_reads() {
        let taken = std::thread::scope(|scope| {
            drop(There::start(scope, io::repeat(7)).unwrap());
            true
        });
        assert!(taken);
    }

    #[test]
    fn a_stream_goes_on_in_a_thread_where_it_was() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * LOOK + 17).collect();
        std::thread::scope(|scope| {
            let mut ahead = Ahead::new(scope, &bytes[..]);
            let mut read = Vec::new();
            ahead.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
            // Other tests of this process read streams, too.
            let alone = STREAMS.load(Ordering::Relaxed) == 1 && *PROCESSORS > 1;
            assert!(!alone || matches!(ahead.from, Source::There(_)));
        });
    }
}
