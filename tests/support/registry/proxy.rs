//! A proxy: it knows where names are that nobody else knows, and remembers what it was asked for.

use crate::Must;
use base64::Engine;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A proxy for plain HTTP and, by CONNECT, for TLS, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    /// `NAME:PORT` to the address that is meant.
    places: BTreeMap<String, String>,
    /// What a client has to send along.
    words: Option<String>,
    asked: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Proxy {
    /// Passes on what is asked of some `NAME:PORT` to their addresses, for whoever says `login` (`USER:PASSWORD`) where there is one.
    #[track_caller]
    pub fn new(places: &[(&str, String)], login: Option<&str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).must("a port on loopback");
        let address = listener.local_addr().must("the port");
        let places = places
            .iter()
            .map(|(name, at)| ((*name).to_owned(), at.clone()));
        let words = login.map(|login| base64::engine::general_purpose::STANDARD.encode(login));
        let inner = Arc::new(Inner {
            address,
            places: places.collect(),
            words: words.map(|words| format!("Basic {words}")),
            asked: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                // A client that breaks off is none of the proxy's business.
                std::thread::spawn(move || shared.connection(stream).unwrap_or_default());
            }
        });
        Self { inner }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.inner.address.to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.host())
    }

    /// The method and the target of everything that it was asked for since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.asked())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        // The thread that accepts wakes up by it.
        drop(TcpStream::connect(self.inner.address));
    }
}

/// A request or an answer, up to its body.
struct Head {
    first: String,
    /// As they came, but for those that are for the proxy.
    rest: String,
    words: Option<String>,
    length: u64,
}

impl Inner {
    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut reader = BufReader::new(client.try_clone()?);
        while let Some(head) = head(&mut reader)? {
            let mut words = head.first.split(' ');
            let method = words.next().unwrap_or_default();
            let target = words.next().unwrap_or_default();
            self.asked().push(format!("{method} {target}"));
            if self.words.is_some() && self.words != head.words {
                return client.write_all(
                    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n",
                );
            }
            let place = match target.strip_prefix("http://") {
                Some(rest) => format!("{}:80", rest.split('/').next().unwrap_or_default()),
                None => target.to_owned(),
            };
            let Some(place) = self.places.get(&place) else {
                return client.write_all(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
            };
            let mut server = TcpStream::connect(place)?;
            if method == "CONNECT" {
                client.write_all(b"HTTP/1.1 200 Fine\r\n\r\n")?;
                return tunnel(reader, client, server);
            }
            write!(server, "{}\r\n{}\r\n", head.first, head.rest)?;
            io::copy(&mut (&mut reader).take(head.length), &mut server)?;
            answer(server, &mut client, method == "HEAD")?;
        }
        Ok(())
    }
}

/// Passes on one answer, whose length has to be known.
fn answer(server: TcpStream, client: &mut TcpStream, bodiless: bool) -> io::Result<()> {
    let mut reader = BufReader::new(server);
    let Some(head) = head(&mut reader)? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    write!(client, "{}\r\n{}\r\n", head.first, head.rest)?;
    let length = if bodiless { 0 } else { head.length };
    io::copy(&mut reader.take(length), client).map(drop)
}

/// Reads a head; None when nobody is there any more.
fn head(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let mut head = Head {
        first: String::new(),
        rest: String::new(),
        words: None,
        length: 0,
    };
    if reader.read_line(&mut head.first)? == 0 {
        return Ok(None);
    }
    head.first.truncate(head.first.trim_end().len());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Some(head));
        };
        match name.to_ascii_lowercase().as_str() {
            "proxy-authorization" => {
                head.words = Some(value.trim().to_owned());
                continue;
            }
            "content-length" => head.length = value.trim().parse().map_err(io::Error::other)?,
            _ => {}
        }
        head.rest += &line;
    }
}

/// Copies both ways until both have ended.
fn tunnel(
    mut from: BufReader<TcpStream>,
    mut client: TcpStream,
    server: TcpStream,
) -> io::Result<()> {
    let (mut back, mut forth) = (server.try_clone()?, server);
    let there = std::thread::spawn(move || {
        // Whoever ends it first, the other hears of it.
        io::copy(&mut from, &mut forth).unwrap_or_default();
        forth.shutdown(Shutdown::Write).unwrap_or_default();
    });
    io::copy(&mut back, &mut client).unwrap_or_default();
    client.shutdown(Shutdown::Both).unwrap_or_default();
    there
        .join()
        .map_err(|_| io::Error::other("a thread has panicked"))
}
