//! zstd: frame after frame, and those that need much memory one at a time.
//!
//! A frame begins with what it needs. Only numbers that tell its window are read here; all else is the library's.
//!
//! ```text
//! byte 0  magic  4      4  descriptor  1      then the window  1, unless the frame is one segment
//!                          the dictionary's id  0, 1, 2 or 4      then the content's size  0, 1, 2, 4 or 8: the window of a single segment
//! ```

use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use zstd::stream::raw::{DParameter, Decoder, Operation};

/// The largest window that zstd's own tools use without being told to: 128 MiB of memory.
const WINDOW: u32 = 27;
/// Up to this window any number of streams are read at a time: those that are written without asking for more have 8 MiB.
const SMALL: u64 = 16 << 20;
/// What tells a frame's window lies in so many bytes.
const HEAD: usize = 17;

/// Inflates any number of frames, skippable ones among them.
pub(crate) struct Frames<R> {
    from: R,
    decoder: Decoder<'static>,
    /// The beginning of a frame, taken from the stream to be looked at, and how much of it was inflated.
    head: Vec<u8>,
    at: usize,
    between: bool,
    /// The decoder keeps its memory to the end, and so its turn.
    turn: Option<Turn>,
}

impl<R: BufRead> Frames<R> {
    pub(crate) fn new(from: R) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW))?;
        Ok(Self {
            from,
            decoder,
            head: Vec::with_capacity(HEAD),
            at: 0,
            between: true,
            turn: None,
        })
    }

    /// Looks at the beginning of the next frame; `false` at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        // A short frame is less than what was looked at.
        self.skip(self.at as u64)?;
        self.at = 0;
        loop {
            self.look(8)?;
            let Some((magic, rest)) = self.head.split_first_chunk() else {
                return Ok(!self.head.is_empty());
            };
            if u32::from_le_bytes(*magic) & 0xffff_fff0 != 0x184d_2a50 {
                break;
            }
            let Some(len) = rest.first_chunk() else {
                return Err(cut());
            };
            self.skip(8 + u64::from(u32::from_le_bytes(*len)))?;
        }
        self.look(HEAD)?;
        if self.turn.is_none() && window(&self.head).is_some_and(|window| window > SMALL) {
            self.turn = Some(Turn::wait());
        }
        Ok(true)
    }

    /// Takes the beginning of a frame up to so many bytes, or all that there are.
    fn look(&mut self, len: usize) -> io::Result<()> {
        let missing = len.saturating_sub(self.head.len());
        let from = self.from.by_ref();
        from.take(missing as u64).read_to_end(&mut self.head)?;
        Ok(())
    }

    /// Passes over so many bytes, those first that were taken already.
    fn skip(&mut self, len: u64) -> io::Result<()> {
        let taken = usize::try_from(len).map_or(self.head.len(), |len| len.min(self.head.len()));
        self.head.drain(..taken);
        let rest = len - taken as u64;
        let from = self.from.by_ref();
        if io::copy(&mut from.take(rest), &mut io::sink())? < rest {
            return Err(cut());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.between && !self.begin()? {
                return Ok(0);
            }
            let (status, ended) = if self.at < self.head.len() {
                let status = self.decoder.run_on_buffers(&self.head[self.at..], out)?;
                self.at += status.bytes_read;
                (status, false)
            } else {
                let input = self.from.fill_buf()?;
                let ended = input.is_empty();
                let status = self.decoder.run_on_buffers(input, out)?;
                self.from.consume(status.bytes_read);
                (status, ended)
            };
            self.between = status.remaining == 0;
            if status.bytes_written > 0 {
                return Ok(status.bytes_written);
            }
            if ended && !self.between {
                return Err(cut());
            }
        }
    }
}

impl<R> fmt::Debug for Frames<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames")
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd stream is cut off")
}

/// Returns how much of what was inflated a frame refers to, if this is the beginning of one.
fn window(head: &[u8]) -> Option<u64> {
    let (descriptor, rest) = head.get(4..)?.split_first()?;
    let (single, size) = (descriptor & 0x20 != 0, descriptor >> 6);
    if !single {
        let (exponent, mantissa) = (rest.first()? >> 3, rest.first()? & 7);
        let base = 1_u64 << (10 + exponent);
        return Some(base + base / 8 * u64::from(mantissa));
    }
    let id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let field = rest.get(id..id + (1 << size))?;
    let number = field.iter().rev();
    let number = number.fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // Two bytes begin behind what one can hold.
    Some(if size == 1 { number + 256 } else { number })
}

/// The right to use much memory.
#[derive(Debug)]
struct Turn;

static TAKEN: Mutex<bool> = Mutex::new(false);
static GIVEN_BACK: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        let mut taken = taken();
        while *taken {
            let woken = GIVEN_BACK.wait(taken);
            taken = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *taken() = false;
        GIVEN_BACK.notify_one();
    }
}

fn taken() -> MutexGuard<'static, bool> {
    // A thread that panicked has left a plain value behind.
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    /// A frame of a stream whose length was not known.
    fn frame(log: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(log).unwrap();
        out.write_all(bytes).unwrap();
        out.flush().unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn a_frame_tells_its_window() {
        let known = zstd::encode_all(&[7; 300][..], 1).unwrap();
        let pledged = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
        for (head, want) in [
            (frame(20, b"x"), Some(1 << 20)),
            (frame(27, b"x"), Some(1 << 27)),
            (pledged(b"xyz"), Some(3)),
            (pledged(&[7; 255]), Some(255)),
            (pledged(&[7; 300]), Some(300)),
            (pledged(&vec![7; 70_000]), Some(70_000)),
            (
                vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3 | 1],
                Some((1 << 17) + (1 << 14)),
            ),
            (
                vec![
                    0x28, 0xb5, 0x2f, 0xfd, 0xe3, 9, 9, 9, 9, 1, 0, 0, 0, 1, 0, 0, 0,
                ],
                Some(1 + (1 << 32)),
            ),
            (known[..5].to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(window(&head), want, "{head:02x?}");
        }
    }

    #[test]
    fn frames_follow_each_other_however_short_they_are() {
        let (one, empty) = (frame(20, b"one"), zstd::encode_all(&b""[..], 1).unwrap());
        let skipped = |len: u8| {
            [
                &[0x5f, 0x2a, 0x4d, 0x18, len, 0, 0, 0][..],
                &vec![9; len.into()],
            ]
            .concat()
        };
        let parts = [
            &empty[..],
            &one,
            &skipped(0),
            &skipped(30),
            &empty,
            &one,
            &skipped(3),
            &one,
            &skipped(9),
        ];
        let stream = parts.concat();
        // A byte at a time, too.
        for most in [1, 7, stream.len()] {
            let mut out = Vec::new();
            let from = io::BufReader::with_capacity(most, &stream[..]);
            Frames::new(from).unwrap().read_to_end(&mut out).unwrap();
            assert_eq!(out, b"oneoneone");
        }
        let whole = |len| {
            parts
                .iter()
                .scan(0, |at, part| {
                    *at += part.len();
                    Some(*at)
                })
                .any(|end| end == len)
        };
        for len in (1..stream.len()).filter(|len| !whole(*len)) {
            let done = Frames::new(&stream[..len])
                .unwrap()
                .read_to_end(&mut Vec::new());
            assert!(done.is_err(), "cut at {len}");
        }
    }

    #[test]
    fn streams_that_need_much_memory_take_turns() {
        let bytes = vec![7; 1 << 20];
        let all = |stream: Vec<u8>| {
            let mut out = Vec::new();
            let mut frames = Frames::new(io::Cursor::new(stream)).unwrap();
            frames.read_to_end(&mut out).unwrap();
            out
        };
        let large = frame(25, &bytes);
        let stream = large.clone();
        let mut first = Frames::new(&stream[..]).unwrap();
        assert_eq!(first.read(&mut [0; 10]).unwrap(), 10);
        let (tell, told) = channel();
        let second = std::thread::spawn({
            // What comes first does not need much.
            let stream = [frame(20, b"small"), large].concat();
            move || tell.send(all(stream)).unwrap()
        });
        assert!(all(frame(20, &bytes)) == bytes, "a small one does not wait");
        told.recv_timeout(Duration::from_millis(300)).unwrap_err();
        drop(first);
        let out = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(out == [b"small", &bytes[..]].concat());
        second.join().unwrap();
    }
}
