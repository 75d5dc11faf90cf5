//! A server that does as it is told, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// First and last byte of what is asked for.
    pub(super) fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Instead of the body's own; none: until the connection ends.
    pub(super) length: Option<Option<usize>>,
    /// The connection ends behind so many bytes of the body.
    pub(super) cut: Option<usize>,
    /// Between bytes.
    pub(super) pause: Duration,
    /// The body comes again and again.
    pub(super) endless: bool,
}

pub(super) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: body.into(),
        length: None,
        cut: None,
        pause: Duration::ZERO,
        endless: false,
    }
}

impl Reply {
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_string(), value.into()));
        self
    }
}

pub(super) struct Server {
    pub(super) host: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server on a port of its own; it ends with the process. Whether anybody is there (`/v2/`) it answers itself.
    pub(super) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_whole(move |request| match request.path.as_str() {
            "/v2/" => reply(200, "{}"),
            _ => answer(request),
        })
    }

    pub(super) fn start_whole(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (log, answer) = (seen.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (log.clone(), answer.clone());
                thread::spawn(move || serve(&stream, &log, answer.as_ref()));
            }
        });
        Self { host, seen }
    }

    /// What it was asked, without the question whether anybody is there.
    pub(super) fn seen(&self) -> Vec<Request> {
        let all = self.seen.lock().unwrap();
        all.iter()
            .filter(|request| request.path != "/v2/")
            .cloned()
            .collect()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let all = self.seen();
        all.iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }
}

pub(super) fn serve(
    stream: &TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Reply,
) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = answer(&request);
        let head = request.method == "HEAD";
        log.lock().unwrap().push(request);
        if write(stream, &reply, head).is_none() {
            drop(stream.shutdown(Shutdown::Both));
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let mut request = Request::default();
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut parts = line.split(' ');
    request.method = parts.next()?.to_string();
    request.path = parts.next()?.to_string();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.to_string()));
    }
    let length: usize = request
        .header("content-length")
        .map_or(0, |text| text.parse().unwrap());
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// Nothing when the connection is to end.
fn write(mut stream: &TcpStream, reply: &Reply, head: bool) -> Option<()> {
    let mut text = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = reply.length.unwrap_or(Some(reply.body.len()));
    match length {
        Some(length) if reply.status != 204 => {
            text.push_str(&format!("content-length: {length}\r\n"))
        }
        Some(_) => {}
        None => text.push_str("connection: close\r\n"),
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).ok()?;
    if head {
        return Some(());
    }
    let body = &reply.body[..reply.cut.unwrap_or(reply.body.len())];
    if reply.pause.is_zero() {
        stream.write_all(body).ok()?;
    } else {
        for byte in body {
            stream.write_all(&[*byte]).ok()?;
            thread::sleep(reply.pause);
        }
    }
    if reply.endless {
        loop {
            stream.write_all(body).ok()?;
        }
    }
    (reply.cut.is_none() && length.is_some()).then_some(())
}
