//! Writes the tar of an image archive: the same bytes for the same contents, readable by everybody.

use std::io::{self, Read, Write};

const BLOCK: u64 = 512;

/// Writes files one after the other. All are root's, of 1970, and for everybody to read: archives of the same images are the same.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes a directory.
    pub(crate) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.header(&format!("{path}/"), b'5', 0o755, 0)
    }

    /// Writes a file that is in memory.
    pub(crate) fn bytes(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.streamed(path, bytes.len() as u64, |out| out.write_all(bytes))
    }

    /// Writes a file of known size, whose contents come from a function that writes.
    pub(crate) fn streamed<E: From<io::Error>>(
        &mut self,
        path: &str,
        size: u64,
        contents: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.header(path, b'0', 0o644, size)?;
        let mut counted = Exactly {
            out: &mut self.out,
            left: size,
        };
        contents(&mut counted)?;
        if counted.left > 0 {
            let text = format!("{path} is {} bytes shorter than it was", counted.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
        }
        self.pad(size)?;
        Ok(())
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()
    }

    fn header(&mut self, path: &str, kind: u8, mode: u32, size: u64) -> io::Result<()> {
        if path.len() > 100 {
            // Only digests that are longer than sha256's get here.
            let record = pax("path", path);
            self.plain_header("pax", b'x', 0o644, record.len() as u64)?;
            self.out.write_all(record.as_bytes())?;
            self.pad(record.len() as u64)?;
        }
        self.plain_header(path, kind, mode, size)
    }

    fn plain_header(&mut self, path: &str, kind: u8, mode: u32, size: u64) -> io::Result<()> {
        let mut header = [0; 512];
        let name = &path.as_bytes()[..path.len().min(100)];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        if size < 1 << 33 {
            header[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        } else {
            // More than eleven octal digits: GNU's way, which all readers know.
            header[124] = 0x80;
            header[128..136].copy_from_slice(&size.to_be_bytes());
        }
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].copy_from_slice(b"        ");
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.out.write_all(&header)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.next_multiple_of(BLOCK) - size;
        io::copy(&mut io::repeat(0).take(padding), &mut self.out).map(drop)
    }
}

/// A PAX record, whose length counts itself.
fn pax(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

/// Takes exactly so many bytes: one more would be read as the next header.
struct Exactly<'a> {
    out: &'a mut dyn Write,
    left: u64,
}

impl Write for Exactly<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.left = self
            .left
            .checked_sub(written as u64)
            .ok_or_else(|| io::Error::other("a file has grown while it was written"))?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
