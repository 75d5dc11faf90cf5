//! criu as a process of ours, asked over a pair of sockets (`criu swrk`): one packet per request and per response.
//!
//! The messages are those of criu's public `rpc.proto`; the numbers of their fields are its interface and never change.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sys::Errno;
use sys::fs::{self, Mode, OFlag};
use sys::mount::{Loose, MsFlags, mount};
use sys::process::{Birth, CStrings, Child, Exit, Namespaces, Signal};

use super::proto::{Message, Value, fields};

/// The descriptor that criu talks over; those that it is given besides follow.
const SOCKET: i32 = 3;
/// The first of the directories that it is given.
pub(super) const DIRS: u64 = 4;
/// More than any packet of criu's: a response with a message of an error.
const PACKET: usize = 64 * 1024;
/// Where criu's own helpers are (iptables-restore, tar), should our caller have given us no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a request asks for, and what a response answers (`criu_req_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    Features = 9,
    Version = 10,
}

/// What criu says (`criu_resp`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub kind: u64,
    pub success: bool,
    pub errno: u64,
    pub message: String,
    /// The moment that has come, and the restored process's id.
    pub notify: Option<(String, i32)>,
    pub restored: Option<i32>,
    /// mem_track, lazy_pages.
    pub features: [bool; 2],
    /// As one number: 3.17.1 is 31701.
    pub version: u64,
}

impl Response {
    /// Parses a packet; `None` where it is no message.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        for (field, value) in fields(bytes)? {
            match (field, value) {
                (1, value) => response.kind = value.number(),
                (2, value) => response.success = value.number() != 0,
                (4, Value::Bytes(inner)) => {
                    response.restored = i32::try_from(number(inner, 1)?).ok();
                }
                (5, Value::Bytes(inner)) => {
                    let script = fields(inner)?.into_iter().find(|(field, _)| *field == 1);
                    let script = script.map_or_else(String::new, |(_, value)| value.text());
                    let pid = i32::try_from(number(inner, 2)?).ok()?;
                    response.notify = Some((script, pid));
                }
                (7, value) => response.errno = value.number(),
                (8, Value::Bytes(inner)) => {
                    response.features = [number(inner, 1)? != 0, number(inner, 2)? != 0]
                }
                (9, value) => response.message = value.text(),
                (10, Value::Bytes(inner)) => {
                    // As criu numbers them; a part of more digits is none of its.
                    let part = |field| number(inner, field).filter(|part| *part < 100);
                    response.version = part(1)? * 10000 + part(2)? * 100 + part(4)?;
                }
                _ => {}
            }
        }
        Some(response)
    }
}

/// Returns a numeric field of a message, 0 where it is absent.
fn number(bytes: &[u8], field: u64) -> Option<u64> {
    let found = fields(bytes)?
        .into_iter()
        .find(|(number, _)| *number == field);
    Some(found.map_or(0, |(_, value)| value.number()))
}

/// A criu that waits for requests. Dropped, it is let go and waited for: what it has begun it takes back by itself.
#[derive(Debug)]
pub(super) struct Criu {
    child: Option<Child>,
    socket: Option<OwnedFd>,
}

/// What a criu is born with.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    pub(super) program: &'a Path,
    /// The search path that it finds its own helpers by.
    pub(super) path: Option<&'a str>,
    /// Directories that it opens before all else; it gets them from [`DIRS`] upwards.
    pub(super) dirs: &'a [&'a Path],
    /// Descriptors that it gets behind the directories.
    pub(super) fds: &'a [BorrowedFd<'a>],
    /// A detached mount that is attached at this path in a mount namespace of criu's own, so that it never shows on the host.
    pub(super) root: Option<(Loose, &'a Path)>,
}

impl Criu {
    pub(super) fn start(mut setup: Setup<'_>) -> Result<Self> {
        let (ours, theirs) = sys::socket::pair().context("socket pair")?;
        let args = CStrings::new(["criu", "swrk", "3"]).context("arguments of criu")?;
        let path = setup.path.filter(|path| !path.is_empty()).unwrap_or(PATH);
        let env = CStrings::new([format!("PATH={path}")]).context("environment of criu")?;
        let birth = Birth {
            namespaces: match setup.root {
                Some(_) => Namespaces::MOUNT,
                None => Namespaces::empty(),
            },
            ..Birth::default()
        };
        let mut ours = Some(ours);
        let child = sys::process::clone3(birth, || {
            // A copy of our end would keep the pair alive when we die.
            drop(ours.take());
            // What cannot be done here shows as the end of the conversation, with this code.
            let ready = prepare(&mut setup, &theirs);
            match ready.and_then(|()| sys::process::execve(setup.program, &args, &env)) {
                Ok(never) => match never {},
                Err(errno) => errno as i32,
            }
        })
        .with_context(|| format!("start {}", setup.program.display()))?;
        drop(theirs);
        let mut criu = Self {
            child: Some(child),
            socket: ours,
        };
        let mut buffer = [0; 1];
        let (_, socket) = sys::socket::receive(criu.socket()?, &mut buffer).context("hear criu")?;
        criu.socket = socket;
        if criu.socket.is_none() {
            match criu.end()? {
                Exit::Code(errno) => {
                    let errno = sys::Errno::from_raw(errno);
                    bail!("criu: prepare its process: {}", sys::reason(errno));
                }
                Exit::Signal(signal) => {
                    bail!("criu: prepare its process: it was ended by signal {signal}")
                }
            }
        }
        Ok(criu)
    }

    pub(super) fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid.as_raw())
    }

    fn socket(&self) -> Result<&OwnedFd> {
        self.socket.as_ref().context("criu has been let go")
    }

    /// Sends a request; with `more`, criu waits for another one after it (only questions about criu itself can be followed).
    pub(super) fn ask(&self, kind: Kind, extra: &Message, more: bool) -> Result<()> {
        let mut request = Message::default();
        request.number(1, kind as u64).switch(4, more);
        let bytes = [request.bytes(), extra.bytes()].concat();
        sys::socket::send(self.socket()?, &bytes, None).context("ask criu")
    }

    /// Waits for what criu says next, and for the descriptor that may come with it.
    pub(super) fn hear(&mut self) -> Result<(Response, Option<OwnedFd>)> {
        let mut buffer = vec![0; PACKET];
        let (bytes, fd) = match sys::socket::receive(self.socket()?, &mut buffer) {
            // It has ended, with something of ours unread.
            Err(Errno::ECONNRESET) => (&[][..], None),
            heard => heard.context("hear criu")?,
        };
        if bytes.is_empty() {
            let how = match self.end()? {
                Exit::Code(code) => format!("it ended with code {code}"),
                Exit::Signal(signal) => format!("it was ended by signal {signal}"),
            };
            bail!("criu: no answer: {how}");
        }
        let response = Response::parse(bytes).context("criu: an answer that is no message")?;
        Ok((response, fd))
    }

    /// Lets criu go and waits for its end.
    pub(super) fn end(&mut self) -> Result<Exit> {
        drop(self.socket.take());
        let child = self.child.take().context("criu has ended")?;
        child.handle.wait().context("wait for criu")
    }

    /// Ends it at once; what it was doing is left as it is.
    pub(super) fn kill(&self) {
        if let Some(child) = &self.child {
            // One that has ended already need not be killed.
            child.handle.signal(Signal::SIGKILL as i32).ok();
        }
    }
}

impl Drop for Criu {
    fn drop(&mut self) {
        if self.child.is_some() {
            // The error that brought us here is the one to report.
            drop(self.end());
        }
    }
}

/// Makes this process what criu expects of its surroundings, and sends the conversation's other end home.
///
/// criu looks up descriptors of the process that has made the pair, and mounts below the directories that it finds so: both have to be
/// its own, in its own mount namespace.
fn prepare(setup: &mut Setup<'_>, home: &OwnedFd) -> sys::Result<()> {
    sys::signal::reset()?;
    if let Some((tree, point)) = setup.root.take() {
        let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
        mount::<str, str, str, str>(None, "/", None, slave, None)?;
        sys::mount::claim_namespace();
        tree.here()?.attach(directory(point)?)?;
        sys::mount::strike_stage()?;
    }
    let (ours, theirs) = sys::socket::pair()?;
    let mut given = vec![theirs];
    for dir in setup.dirs {
        given.push(directory(dir)?);
    }
    for fd in setup.fds {
        given.push(fs::lift_copy(fd, 0)?);
    }
    // Copies above the numbers that they are put on; everything below may be overwritten from then on.
    let least = SOCKET + i32::try_from(given.len()).map_err(|_| sys::Errno::EMFILE)?;
    let lifted: sys::Result<Vec<_>> = given.iter().map(|fd| fs::lift_copy(fd, least)).collect();
    sys::socket::send(home, &[0], Some(ours.as_fd()))?;
    for (number, fd) in (SOCKET..).zip(&lifted?) {
        fs::dup_onto(fd, number)?;
    }
    // The descriptors that were overwritten are criu's now.
    std::mem::forget((ours, given));
    Ok(())
}

/// Opens a directory; a mount goes onto one that was opened in its own namespace only.
fn directory(path: &Path) -> sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    fs::open(path, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read() {
        let mut version = Message::default();
        version.number(1, 3).number(2, 17).number(4, 1);
        let mut bytes = Message::default();
        bytes.number(1, 10).number(2, 1).message(10, &version);
        let response = Response::parse(bytes.bytes()).expect("a response");
        assert!(response.success);
        assert_eq!((response.kind, response.version), (10, 31701));

        let mut bytes = Message::default();
        bytes.message(10, Message::default().number(1, u64::MAX));
        assert_eq!(Response::parse(bytes.bytes()), None);

        let mut notify = Message::default();
        notify.text(1, "post-restore").number(2, 4711);
        let mut bytes = Message::default();
        bytes.number(1, 6).number(2, 1).message(5, &notify);
        let response = Response::parse(bytes.bytes()).expect("a response");
        assert_eq!(response.notify, Some(("post-restore".into(), 4711)));

        let mut bytes = Message::default();
        bytes.number(1, 1).number(2, 0).number(7, 52).text(9, "why");
        let response = Response::parse(bytes.bytes()).expect("a response");
        assert!(!response.success);
        assert_eq!((response.errno, response.message.as_str()), (52, "why"));
    }
}
