//! What a verb answers when it cannot do what it was asked.

use std::fmt;

/// What the verbs of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller may want to tell apart: an exit code, an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The object is not here, or not there.
    NotFound,
    /// A prefix that more than one object has.
    Ambiguous,
    /// Something else is in the way; often `--force` is the answer.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// The registry wants a login, or another one.
    Unauthorized,
    /// The registry knows who asks and says no.
    Denied,
    /// The registry does not answer, or not in a way that can be trusted.
    Unreachable,
    /// The disk is full.
    Full,
    /// The data root is of a newer program.
    Newer,
    /// Contents are not what their digest says.
    Damaged,
    /// What this program, or this kernel, cannot do.
    Unsupported,
    /// All else.
    Other,
}

/// What gives an ordinary user ids for the owners of files.
pub(crate) const OWNERS: &str = "an ordinary user needs newuidmap (Debian's package uidmap) and 65536 ids of his own: \
     usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME";

/// What helps where the disk is full.
pub(crate) const ROOM: &str = "make room there, or remove images (lade image prune)";

/// Why a verb was not done: one line, and where there is something to try, a hint.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    text: String,
    hint: Option<String>,
}

impl Error {
    /// Makes an error of one line.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        let (text, hint) = (line(text.into()), None);
        Self { kind, text, hint }
    }

    /// Adds what to try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(line(hint.into()));
        self
    }

    /// Says which kind of error this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Says what to try, where something is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, text)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    /// Finds what kind it is at the bottom of the chain, and makes one line of the chain.
    fn from(error: anyhow::Error) -> Self {
        let mut found = (Kind::Other, None);
        for cause in error.chain() {
            if let Some(ours) = cause.downcast_ref::<Self>() {
                found = (ours.kind, ours.hint.clone());
            } else if let Some(theirs) = cause.downcast_ref::<store::Error>() {
                found.0 = of_store(theirs);
            } else if let Some(theirs) = cause.downcast_ref::<registry::Error>() {
                found = (of_registry(theirs), theirs.hint().map(String::from));
            } else if let Some(layer::Error::Owner { .. }) = cause.downcast_ref() {
                found = (Kind::Unsupported, Some(OWNERS.to_string()));
            } else if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                found.0 = of_io(io, found.0);
            }
        }
        let (kind, mut hint) = found;
        if kind == Kind::Full {
            hint = hint.or_else(|| Some(ROOM.to_string()));
        }
        let mut text = chain(&error);
        // A registry's message ends with what its hint says.
        let end = hint.as_ref().map(|hint| format!("; {hint}"));
        if let Some(message) = end.and_then(|end| text.strip_suffix(&end)) {
            text.truncate(message.len());
        }
        Self { kind, text, hint }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::from(anyhow::Error::from(error))
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::from(anyhow::Error::from(error))
    }
}

/// Joins a chain of causes, leaving out a cause that the text above it has told already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut before = String::new();
    for cause in error.chain() {
        let by_kernel = cause.is::<std::io::Error>();
        let cause = cause.to_string();
        // Behind the kernel's reason std has a number.
        let reason = cause.split(" (os error ").next().unwrap_or_default();
        let known = by_kernel && text.to_lowercase().contains(&reason.to_lowercase());
        if known || text.ends_with(&cause) {
            continue;
        }
        if !before.is_empty() && cause.starts_with(&format!("{before}: ")) {
            text.truncate(text.len() - before.len());
        } else if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
        before = cause;
    }
    line(text)
}

/// Makes one line of a text, which may hold what an archive or a server says: nothing in it speaks to a terminal.
fn line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' | '\t' => shown.push(' '),
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

fn of_io(error: &std::io::Error, known: Kind) -> Kind {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::Full,
        _ => known,
    }
}

fn of_store(error: &store::Error) -> Kind {
    match error {
        store::Error::Newer { .. } => Kind::Newer,
        store::Error::Full { .. } => Kind::Full,
        store::Error::NotOurs(_) => Kind::Invalid,
        _ => Kind::Other,
    }
}

fn of_registry(error: &registry::Error) -> Kind {
    use registry::Kind as Theirs;
    match error.kind() {
        Theirs::NotFound => Kind::NotFound,
        Theirs::Unauthorized => Kind::Unauthorized,
        Theirs::Denied | Theirs::Blocked => Kind::Denied,
        Theirs::TooMany | Theirs::Tls | Theirs::Connect | Theirs::Silent | Theirs::Server => {
            Kind::Unreachable
        }
        Theirs::Wrong => Kind::Damaged,
        Theirs::Unsupported => Kind::Unsupported,
        Theirs::Settings => Kind::Invalid,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_twice() {
        let full = || std::io::Error::from_raw_os_error(28);
        let store = store::Error::at("/x/data".as_ref(), full());
        let save = anyhow::Error::from(full()).context("write the archive");
        let save = anyhow::anyhow!("{save:#}").context("write the archive");
        for (error, text) in [
            (
                anyhow::Error::from(store).context("blob a"),
                "blob a: /x/data: no space left on device",
            ),
            (
                save,
                "write the archive: No space left on device (os error 28)",
            ),
            (anyhow::anyhow!("b").context("a: b").context("c"), "c: a: b"),
        ] {
            let error = Error::from(error);
            let room = error.hint() == Some(ROOM);
            assert_eq!(room, error.kind() == Kind::Full);
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn an_error_says_nothing_to_the_terminal() {
        let evil = "a\nb\u{1b}[2J\u{9b}c\u{7f}\té";
        let shown = "a b\\u{1b}[2J\\u{9b}c\\u{7f} é";
        let cause = anyhow::anyhow!("{evil}").context("read");
        for (error, text) in [
            (Error::invalid(evil), shown.to_string()),
            (Error::from(cause), format!("read: {shown}")),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.with_hint(evil).hint(), Some(shown));
        }
    }
}
