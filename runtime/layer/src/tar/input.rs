//! The stream under the archive: read in large pieces, counted and hashed as it passes.

use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::limits::within;

/// Fits the second-level cache beside what inflates into it, so that hashing and writing find the bytes there.
const BUFFER: usize = 256 * 1024;

/// The unit of an archive.
pub(crate) const BLOCK: usize = 512;

/// A buffered, hashed, bounded reader.
pub(crate) struct Input<R> {
    from: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    hash: Sha256,
    total: u64,
    most: u64,
}

impl<R: Read> Input<R> {
    /// Reads from `from`, at most `most` bytes of it.
    pub(crate) fn new(from: R, most: u64) -> Self {
        Self {
            from,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            hash: Sha256::new(),
            total: 0,
            most,
        }
    }

    /// Tells where in the stream the next byte lies.
    pub(crate) fn at(&self) -> u64 {
        self.total - (self.end - self.start) as u64
    }

    /// Returns the next block; none where the stream ends before it begins.
    pub(crate) fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        while self.end - self.start < BLOCK {
            let had = self.end - self.start;
            if self.read()? == 0 {
                return if had == 0 {
                    Ok(None)
                } else {
                    Err(self.short())
                };
            }
        }
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.buffer[self.start..self.start + BLOCK]);
        self.start += BLOCK;
        Ok(Some(block))
    }

    /// Takes as much of the next `most` bytes as there is at hand, at least one.
    pub(crate) fn take(&mut self, most: u64) -> Result<&[u8], Error> {
        if self.start == self.end && self.read()? == 0 {
            return Err(self.short());
        }
        let there = self.end - self.start;
        let len = usize::try_from(most).map_or(there, |most| most.min(there));
        let start = self.start;
        self.start += len;
        Ok(&self.buffer[start..start + len])
    }

    /// Passes over the next `len` bytes.
    pub(crate) fn skip(&mut self, mut len: u64) -> Result<(), Error> {
        while len > 0 {
            len -= self.take(len)?.len() as u64;
        }
        Ok(())
    }

    /// Reads what is left and returns the number of bytes of the whole stream and their hash.
    pub(crate) fn finish(mut self) -> Result<(u64, [u8; 32]), Error> {
        self.start = self.end;
        while self.read()? != 0 {
            self.start = self.end;
        }
        Ok((self.total, self.hash.finalize().into()))
    }

    fn short(&self) -> Error {
        Error::Archive {
            at: self.total,
            why: "the stream ends in the middle of the archive".to_owned(),
        }
    }

    /// Reads once behind what is there.
    fn read(&mut self) -> Result<usize, Error> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let len = loop {
            match self.from.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(Error::read)?,
            }
        };
        self.hash.update(&self.buffer[self.end..self.end + len]);
        self.end += len;
        self.total += len as u64;
        within(self.total, self.most, || "bytes of the archive".to_owned())?;
        Ok(len)
    }
}

impl<R> fmt::Debug for Input<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
