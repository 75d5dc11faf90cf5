//! What a layer's blob holds: a tar as it is, or in gzip or zstd.

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::frames::Frames;
use crate::limits::{FREE, within};
use crate::{Error, Limits};
use flate2::bufread::MultiGzDecoder;

/// Bytes that tell the forms apart.
const MAGIC: usize = 4;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Not at all.
    Tar,
    /// gzip, of any number of members.
    Gzip,
    /// zstd, of any number of frames, skippable ones among them.
    Zstd,
}

impl Form {
    /// Tells the form of a stream from its first four bytes, or all that there are.
    #[must_use]
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Tar,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tar => "not compressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Inflates a stream by what its first bytes say, which has to be what was declared.
///
/// Reading fails on a stream that ends early or goes on with anything but another member, and when the ratio is over the limit; that error is an
/// [`Error`] inside of an [`io::Error`], and comes out of [`unpack`](crate::unpack) as itself.
///
/// A zstd stream that needs much memory waits until no other one in this process does: whoever reads two of them by turns waits for ever.
pub fn inflate<'a, R: BufRead + Send + 'a>(
    mut compressed: R,
    declared: Option<Form>,
    limits: &Limits,
) -> Result<Box<dyn Read + Send + 'a>, Error> {
    // Almost always the first bytes lie in the reader's buffer and can stay there.
    let start = compressed.fill_buf().map_err(Error::read)?;
    if start.len() >= MAGIC {
        let form = checked(Form::of(start), declared)?;
        return decoder(compressed, form, limits);
    }
    let mut start = Vec::new();
    compressed
        .by_ref()
        .take(MAGIC as u64)
        .read_to_end(&mut start)
        .map_err(Error::read)?;
    let form = checked(Form::of(&start), declared)?;
    decoder(Cursor::new(start).chain(compressed), form, limits)
}

fn checked(found: Form, declared: Option<Form>) -> Result<Form, Error> {
    match declared {
        Some(declared) if declared != found => Err(Error::Form {
            found: found.name(),
            declared: declared.name(),
        }),
        _ => Ok(found),
    }
}

fn decoder<'a, R: BufRead + Send + 'a>(
    compressed: R,
    form: Form,
    limits: &Limits,
) -> Result<Box<dyn Read + Send + 'a>, Error> {
    let taken = Arc::new(AtomicU64::new(0));
    let from = Counted {
        from: compressed,
        taken: Arc::clone(&taken),
    };
    Ok(match form {
        Form::Tar => Box::new(from),
        Form::Gzip => Box::new(Bounded::new(MultiGzDecoder::new(from), taken, limits)),
        Form::Zstd => {
            let frames = Frames::new(from).map_err(Error::read)?;
            Box::new(Bounded::new(frames, taken, limits))
        }
    })
}

/// Counts what the decoder takes.
struct Counted<R> {
    from: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.from.read(buffer)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        self.from.consume(len);
    }
}

/// What a decoder gives, compared with what it took: reading fails when the ratio is over the limit.
pub struct Bounded<R> {
    from: R,
    taken: Arc<AtomicU64>,
    given: u64,
    ratio: u64,
}

impl<R> Bounded<R> {
    /// Makes it of a decoder that somebody counts the input of.
    pub fn new(from: R, taken: Arc<AtomicU64>, limits: &Limits) -> Self {
        Self {
            from,
            taken,
            given: 0,
            ratio: limits.ratio,
        }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        self.given += len as u64;
        let allowed = self
            .taken
            .load(Ordering::Relaxed)
            .saturating_mul(self.ratio);
        let what = || {
            format!(
                "inflated bytes (at most {} for a compressed one)",
                self.ratio
            )
        };
        within(self.given, allowed.max(FREE), what)?;
        Ok(len)
    }
}

impl<R> fmt::Debug for Bounded<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded")
            .field("given", &self.given)
            .field("ratio", &self.ratio)
            .finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Counted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
