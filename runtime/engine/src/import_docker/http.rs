//! As much HTTP/1.1 as one question to a daemon on this machine takes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{Error, Kind};

/// A line of a header, or of a chunk.
const LINE: u64 = 16 << 10;
const HEADERS: usize = 100;

/// What a daemon answers, read as it comes.
#[derive(Debug)]
pub(super) struct Body<R> {
    inner: R,
    left: Left,
}

#[derive(Debug)]
enum Left {
    /// So many bytes, and no more.
    Bytes(u64),
    /// So many of this chunk; others follow.
    Chunk(u64),
    /// Until the daemon hangs up.
    All,
    Nothing,
}

/// Asks a daemon; an answer that is none is an error with its message.
pub(super) fn get(socket: &Path, path: &str) -> Result<Body<BufReader<UnixStream>>> {
    let mut stream = UnixStream::connect(socket).map_err(|error| {
        let text = format!(
            "docker's daemon at {} cannot be reached: {error}",
            socket.display()
        );
        Error::new(Kind::Unreachable, text)
            .with_hint("start it, or say where its socket is, or let the docker program be asked")
    })?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .context("ask docker's daemon")?;
    answer(BufReader::with_capacity(256 << 10, stream))
}

fn answer<R: BufRead>(mut inner: R) -> Result<Body<R>> {
    let status = line(&mut inner)?;
    let code: u16 = status
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("docker's daemon answers {status:?}, which is no HTTP"))?;
    let mut left = Left::All;
    for _ in 0..HEADERS {
        let header = line(&mut inner)?;
        if header.is_empty() {
            let body = Body { inner, left };
            return if code == 200 {
                Ok(body)
            } else {
                Err(refused(code, body))
            };
        }
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let size = value.trim().parse();
                left = Left::Bytes(size.context("docker's daemon answers with a strange length")?);
            }
            "transfer-encoding" if value.trim().eq_ignore_ascii_case("chunked") => {
                left = Left::Chunk(0);
            }
            _ => {}
        }
    }
    bail!("docker's daemon answers with more than {HEADERS} headers")
}

fn refused(code: u16, body: impl Read) -> anyhow::Error {
    let mut text = String::new();
    // What cannot be read is left out of the message.
    drop(body.take(LINE).read_to_string(&mut text));
    let message = serde_json::from_str::<Value>(&text).ok();
    let message = message.and_then(|value| Some(value.get("message")?.as_str()?.to_string()));
    let text = format!(
        "docker's daemon: {}",
        message.unwrap_or_else(|| format!("status {code}"))
    );
    let kind = if code == 404 {
        Kind::NotFound
    } else {
        Kind::Unreachable
    };
    Error::new(kind, text).into()
}

fn line(inner: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    inner.take(LINE).read_line(&mut line)?;
    if !line.ends_with('\n') {
        let text = "docker's daemon has hung up";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(line.trim_end().to_string())
}

impl<R: BufRead> Body<R> {
    /// Reads the size of the next chunk.
    fn chunk(&mut self) -> io::Result<()> {
        let text = line(&mut self.inner)?;
        let size = text.split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        self.left = if size == 0 {
            Left::Nothing
        } else {
            Left::Chunk(size)
        };
        Ok(())
    }

    fn part(&mut self, left: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            let text = "docker's daemon has hung up in the middle of its answer";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(read)
    }
}

impl<R: BufRead> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunk(0) = self.left {
            self.chunk()?;
        }
        match self.left {
            Left::Nothing | Left::Bytes(0) | Left::Chunk(0) => Ok(0),
            Left::All => self.inner.read(buffer),
            Left::Bytes(left) => {
                let read = self.part(left, buffer)?;
                self.left = Left::Bytes(left - read as u64);
                Ok(read)
            }
            Left::Chunk(left) => {
                let read = self.part(left, buffer)?;
                if left == read as u64 {
                    // The line's end behind a chunk.
                    line(&mut self.inner)?;
                }
                self.left = Left::Chunk(left - read as u64);
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String> {
        let mut body = String::new();
        answer(text.as_bytes())?.read_to_string(&mut body)?;
        Ok(body)
    }

    #[test]
    fn answers_of_all_forms() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", "ab"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n",
                "abcd",
            ),
            ("HTTP/1.0 200 OK\r\n\r\nall of it", "all of it"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", ""),
        ] {
            assert_eq!(read(text).unwrap(), body);
        }
    }

    #[test]
    fn answers_that_are_none() {
        for (text, message) in [
            (
                "HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"no such image: x\"}",
                "no such image: x",
            ),
            ("HTTP/1.1 500 Oh\r\n\r\n", "status 500"),
            ("SSH-2.0\r\n\r\n", "which is no HTTP"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                "in the middle of its answer",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
                "in the middle",
            ),
            ("HTTP/1.1 200 OK", "has hung up"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
