//! A connection to a D-Bus peer: authentication, calls and the signals in between.
//!
//! Authentication is sent when the connection is made, and its answer is read when the first call goes out: a caller who has
//! something else to do in between waits for nothing. The call itself cannot travel with it: systemd's own socket leaves what comes
//! in one piece with the handshake lying until more comes. The bus's greeting travels with the first call. Every wait has an end.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use sys::Errno;
use sys::process::{PollFd, PollFlags, PollTimeout, wait_ready};
use sys::socket::UnixName;

use super::address::{Address, Socket};
use super::error::Error;
use super::message::{Fields, Kind, Message, PRELUDE};
use super::value::Value;

/// How long a peer may take to answer, or to take what we send.
const PATIENCE: Duration = Duration::from_secs(25);

/// The number of unread signals that are kept; what is older was not for us.
const SIGNALS: usize = 1024;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    /// What has been read and not yet understood.
    input: Vec<u8>,
    accepted: bool,
    serial: u32,
    /// What a bus wants to hear before the first call.
    greeting: Vec<Message>,
    /// Calls whose answers matter only if they are errors.
    greetings: Vec<u32>,
    signals: VecDeque<Message>,
}

impl Connection {
    /// Connects to the first address that answers, and says who we are; `matches` are the signals that a bus shall pass on.
    pub(crate) fn open(addresses: &[Address], matches: &str) -> Result<Self, Error> {
        let mut tried = Vec::new();
        for address in addresses {
            match connect(address) {
                Ok(stream) => return Self::greet(stream, address, matches),
                Err(errno) => tried.push(format!("{address}: {}", sys::reason(errno))),
            }
        }
        Err(Error::Unreachable(tried.join(", ")))
    }

    fn greet(stream: UnixStream, address: &Address, matches: &str) -> Result<Self, Error> {
        let mut connection = Self {
            stream,
            input: Vec::new(),
            accepted: false,
            serial: 0,
            greeting: Vec::new(),
            greetings: Vec::new(),
            signals: VecDeque::new(),
        };
        // Without a name of ours, the peer takes the kernel's word for who we are: in a user namespace we do not know better.
        connection.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        if let Address::Bus(_) = address {
            let name = "org.freedesktop.DBus";
            let hello = call(name, "/org/freedesktop/DBus", name, "Hello", &[]);
            let rule = [Value::String(matches.to_owned())];
            let watch = call(name, "/org/freedesktop/DBus", name, "AddMatch", &rule);
            connection.greeting = vec![hello, watch];
        }
        Ok(connection)
    }

    fn stamp(&mut self, mut message: Message) -> (u32, Vec<u8>) {
        self.serial += 1;
        message.serial = self.serial;
        (self.serial, message.encode())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream
            .write_all(bytes)
            .map_err(|error| lost("write", &error))
    }

    /// Sends a call; its answer is read by [`Connection::answer`].
    pub(crate) fn send(&mut self, message: Message) -> Result<u32, Error> {
        self.await_acceptance(Instant::now() + PATIENCE)?;
        let mut bytes = Vec::new();
        for greeting in std::mem::take(&mut self.greeting) {
            let (serial, encoded) = self.stamp(greeting);
            self.greetings.push(serial);
            bytes.extend(encoded);
        }
        let (serial, encoded) = self.stamp(message);
        bytes.extend(encoded);
        self.write(&bytes)?;
        Ok(serial)
    }

    fn await_acceptance(&mut self, end: Instant) -> Result<(), Error> {
        while !self.accepted {
            match self.handshake()? {
                Some(accepted) => self.accepted = accepted,
                None => self.fill(end, "who may speak to it")?,
            }
        }
        Ok(())
    }

    /// Waits for the answer to a call.
    pub(crate) fn answer(&mut self, serial: u32) -> Result<Vec<Value>, Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(end, "an answer")?;
            if message.fields.reply_to != Some(serial) {
                self.put_aside(message)?;
                continue;
            }
            return match message.kind {
                Kind::Error => Err(refusal(&message)),
                _ => Ok(message.arguments()?),
            };
        }
    }

    /// Waits for a signal that `wanted` recognises; those that came while an answer was awaited are looked at first.
    pub(crate) fn signal<T>(
        &mut self,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&Message) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        while let Some(message) = self.signals.pop_front() {
            if let Some(found) = wanted(&message)? {
                return Ok(found);
            }
        }
        let end = Instant::now() + patience;
        loop {
            let message = self.receive(end, what)?;
            if message.kind != Kind::Signal {
                self.put_aside(message)?;
            } else if let Some(found) = wanted(&message)? {
                return Ok(found);
            }
        }
    }

    fn put_aside(&mut self, message: Message) -> Result<(), Error> {
        let greets = message
            .fields
            .reply_to
            .is_some_and(|serial| self.greetings.contains(&serial));
        match message.kind {
            Kind::Error if greets => return Err(refusal(&message)),
            Kind::Signal => {
                if self.signals.len() == SIGNALS {
                    self.signals.pop_front();
                }
                self.signals.push_back(message);
            }
            // Answers that nobody waits for any more, and calls of others, whom we owe nothing.
            _ => {}
        }
        Ok(())
    }

    fn receive(&mut self, end: Instant, what: &str) -> Result<Message, Error> {
        loop {
            // Some servers answer the second line of the handshake once more, after they have accepted us.
            let text = self
                .input
                .first()
                .is_some_and(|first| !b"lB".contains(first));
            if text && self.handshake()?.is_some() {
                continue;
            }
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            self.fill(end, what)?;
        }
    }

    /// Takes a line of the handshake; `true` once we are accepted.
    fn handshake(&mut self) -> Result<Option<bool>, Error> {
        let Some(length) = self.input.windows(2).position(|pair| pair == b"\r\n") else {
            return if self.input.len() > 1024 {
                Err(Error::Malformed("a line without an end"))
            } else {
                Ok(None)
            };
        };
        let line: Vec<u8> = self.input.drain(..length + 2).take(length).collect();
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match word {
            b"OK" => Ok(Some(true)),
            b"DATA" => Ok(Some(self.accepted)),
            b"ERROR" if self.accepted => Ok(Some(true)),
            b"REJECTED" | b"ERROR" => Err(Error::Rejected),
            _ => Err(Error::Malformed("a line that is no part of the handshake")),
        }
    }

    fn take_message(&mut self) -> Result<Option<Message>, Error> {
        let Some(prelude) = self.input.first_chunk::<PRELUDE>() else {
            return Ok(None);
        };
        let size = Message::size(prelude)?;
        if self.input.len() < size {
            return Ok(None);
        }
        let bytes: Vec<u8> = self.input.drain(..size).collect();
        Ok(Some(Message::decode(&bytes)?))
    }

    /// Reads what is there, waiting for it at most until `end`.
    fn fill(&mut self, end: Instant, what: &str) -> Result<(), Error> {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        let ready = wait_ready(&mut fds, timeout).map_err(|errno| Error::call("poll", errno))?;
        if left.is_zero() || ready == 0 {
            return Err(Error::Late(what.to_owned()));
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Error::Closed),
            Ok(length) => {
                self.input.extend(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(lost("read", &error)),
        }
    }
}

fn connect(address: &Address) -> sys::Result<UnixStream> {
    let name = match address {
        Address::Direct(path) | Address::Bus(Socket::Path(path)) => UnixName::Path(path),
        Address::Bus(Socket::Abstract(name)) => UnixName::Abstract(name),
    };
    Ok(sys::socket::connect_within(name, PATIENCE)?.into())
}

/// Makes a call.
pub(crate) fn call(
    destination: &str,
    path: &str,
    interface: &str,
    member: &str,
    arguments: &[Value],
) -> Message {
    let text = |text: &str| Some(text.to_owned());
    let fields = Fields {
        destination: text(destination),
        path: text(path),
        interface: text(interface),
        member: text(member),
        ..Fields::default()
    };
    Message::call(fields, arguments)
}

fn lost(call: &str, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Error::Closed,
        ErrorKind::WouldBlock => Error::Late("room for a message".to_owned()),
        _ => Error::call(
            call,
            error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
        ),
    }
}

fn refusal(message: &Message) -> Error {
    // An error need not have a text, nor arguments that make sense.
    let text = message
        .arguments()
        .ok()
        .and_then(|arguments| match arguments.into_iter().next() {
            Some(Value::String(text)) => Some(text),
            _ => None,
        });
    Error::Refused {
        name: message.fields.error.clone().unwrap_or_default(),
        text: text.unwrap_or_else(|| "no reason given".to_owned()),
    }
}
