//! HTTP/1.1 as far as a registry needs it, and some that no server should speak.

use super::fault::Fault;
use super::image::noise;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Returns a value of the query, as it stands there but for what `%` hides.
    pub fn asked(&self, name: &str) -> Option<String> {
        self.all_asked(name).into_iter().next()
    }

    pub fn all_asked(&self, name: &str) -> Vec<String> {
        let pairs = self.query.split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        let named = pairs.filter(|(key, _)| *key == name);
        named.map(|(_, value)| unescape(value)).collect()
    }
}

pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        let mut hex = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (hex(), hex()) {
                (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or(b'?'),
                _ => b'%',
            },
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a head; None when the client has gone.
pub(super) fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    // Whoever takes us for a proxy sends the whole address.
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Some(Request {
        method,
        path,
        query,
        headers,
    }))
}

/// Reads a body; one of which only `most` bytes are wanted is left there.
pub(super) fn read_body(
    stream: &mut BufReader<TcpStream>,
    request: &Request,
    most: usize,
) -> io::Result<Vec<u8>> {
    if request.header("expect") == "100-continue" {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    if !request.header("transfer-encoding").contains("chunked") {
        let length: u64 = request.header("content-length").parse().unwrap_or(0);
        let wanted = length.min(most as u64);
        stream.take(wanted).read_to_end(&mut body)?;
        if (body.len() as u64) < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        return Ok(body);
    }
    while body.len() < most {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let mut chunk = vec![0u8; size];
        stream.read_exact(&mut chunk)?;
        body.extend(chunk);
        stream.read_line(&mut line)?;
        if size == 0 {
            break;
        }
    }
    Ok(body)
}

/// What is to be said, before any fault.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// An error as the specification has it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status, body.to_string()).with("Content-Type", "application/json")
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// How an answer goes over the wire.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    pub stream: &'a mut TcpStream,
    /// Only the head is wanted.
    pub head: bool,
    pub sent: &'a AtomicU64,
    pub stop: &'a AtomicBool,
}

impl Wire<'_> {
    /// Sends an answer; tells whether the connection may be used again.
    pub(super) fn send(&mut self, answer: &Answer, fault: Option<&Fault>) -> io::Result<bool> {
        let length = match fault {
            Some(Fault::Shorter(bytes)) => answer.body.len().saturating_sub(*bytes),
            Some(Fault::Longer(bytes)) => answer.body.len() + bytes,
            _ => answer.body.len(),
        };
        let chunked = matches!(fault, Some(Fault::NoLength | Fault::Endless));
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &if chunked {
            "Transfer-Encoding: chunked\r\n\r\n".to_owned()
        } else {
            format!("Content-Length: {length}\r\n\r\n")
        };
        self.stream.write_all(head.as_bytes())?;
        if self.head {
            return Ok(true);
        }
        self.body(&answer.body, length, fault)
    }

    fn body(&mut self, body: &[u8], length: usize, fault: Option<&Fault>) -> io::Result<bool> {
        match fault {
            Some(Fault::DropAt(at)) => {
                self.write(&body[..(*at).min(body.len())])?;
                return Ok(false);
            }
            Some(Fault::StallAt(at)) => {
                self.write(&body[..(*at).min(body.len())])?;
                self.rest();
                return Ok(false);
            }
            Some(Fault::Trickle(bytes, pause)) => {
                for piece in body.chunks(*bytes) {
                    self.write(piece)?;
                    std::thread::sleep(*pause);
                }
            }
            Some(Fault::Slow(_, pause)) => {
                for piece in body.chunks(100) {
                    self.write(piece)?;
                    std::thread::sleep(*pause);
                }
            }
            Some(Fault::Longer(more)) => {
                self.write(body)?;
                self.write(&noise(7, *more))?;
            }
            Some(Fault::NoLength) => {
                for piece in body.chunks(10_000) {
                    self.chunk(piece)?;
                }
                self.stream.write_all(b"0\r\n\r\n")?;
            }
            Some(Fault::Endless) => {
                self.chunk(body)?;
                let more = noise(8, 1 << 16);
                while !self.stop.load(Ordering::Relaxed) {
                    self.chunk(&more)?;
                }
                return Ok(false);
            }
            _ => self.write(&body[..length])?,
        }
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // In pieces, so that what was sent is known when the client has gone.
        for piece in bytes.chunks(1 << 16) {
            self.stream.write_all(piece)?;
            self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        write!(self.stream, "{:x}\r\n", bytes.len())?;
        self.write(bytes)?;
        self.stream.write_all(b"\r\n")
    }

    /// Keeps the connection and says nothing until the client has gone or the registry ends.
    pub(super) fn rest(&mut self) {
        let step = Duration::from_millis(50);
        if self.stream.set_read_timeout(Some(step)).is_err() {
            return;
        }
        let mut bytes = [0u8; 4096];
        while !self.stop.load(Ordering::Relaxed) {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => (),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => (),
                Err(_) => return,
            }
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200..=299 => "Fine",
        300..=399 => "Elsewhere",
        _ => "No",
    }
}
