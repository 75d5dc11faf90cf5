//! What a verb tells while it is at work: typed events, which a door shows as it likes.

use std::fmt;
use std::sync::Arc;

use crate::remote::Events;

/// Where a verb's events go. They come from many threads at a time.
pub trait Progress: Send + Sync {
    /// Takes one event; does not wait for anything slow.
    fn event(&self, event: Event);
}

/// Takes no notice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _: Event) {}
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A line before all else of a name, as docker has it: `latest: Pulling from library/busybox`.
    Start {
        /// The line.
        line: String,
    },
    /// A layer got further.
    Layer {
        /// The twelve digits that docker shows: of the blob when pulling, of the diff id when pushing.
        id: String,
        /// How far.
        step: Step,
    },
    /// A line that is not about one layer.
    Note(String),
    /// A line that the user should look at.
    Warning(String),
}

/// How far a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// It is known that it is needed.
    Waiting,
    /// It is here.
    Exists,
    /// Bytes come from the registry.
    Fetching {
        /// Bytes that are here, those of an earlier attempt among them.
        have: u64,
        /// Bytes in all.
        size: u64,
    },
    /// All bytes are here.
    Fetched,
    /// Files are made of what has come so far.
    Unpacking {
        /// Compressed bytes that have been unpacked.
        have: u64,
        /// Compressed bytes in all.
        size: u64,
    },
    /// Verified, and unpacked where it is a layer.
    Done,
    /// The registry is asked whether it has it.
    Preparing,
    /// A tar is made of the layer's files, compressed and sent at once.
    Packing {
        /// Bytes of files so far.
        have: u64,
        /// Bytes of files in all, about.
        size: u64,
    },
    /// Bytes go to the registry.
    Pushing {
        /// Bytes sent.
        have: u64,
        /// Bytes in all; 0 as long as nobody knows.
        size: u64,
    },
    /// The registry has it now.
    Pushed,
    /// The registry had it.
    PushExists,
    /// The registry took it from another of its repositories.
    Mounted {
        /// That repository's path.
        from: String,
    },
    /// Not sent, since its license forbids that (a foreign layer).
    Skipped,
    /// Bytes of an archive are read.
    Loading {
        /// Bytes read.
        have: u64,
        /// Bytes in all; 0 as long as nobody knows.
        size: u64,
    },
}

impl fmt::Display for Step {
    /// Writes docker's word for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "Waiting",
            Self::Exists => "Already exists",
            Self::Fetching { .. } => "Downloading",
            Self::Fetched => "Download complete",
            Self::Unpacking { .. } => "Extracting",
            Self::Done => "Pull complete",
            Self::Preparing => "Preparing",
            Self::Packing { .. } | Self::Pushing { .. } => "Pushing",
            Self::Pushed => "Pushed",
            Self::PushExists => "Layer already exists",
            Self::Mounted { from } => return write!(f, "Mounted from {from}"),
            Self::Skipped => "Skipped foreign layer",
            Self::Loading { .. } => "Loading layer",
        })
    }
}

/// Tells of one layer's steps, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub events: Arc<Events>,
    pub id: String,
}

impl Layer {
    pub(crate) fn is(&self, step: Step) {
        let id = self.id.clone();
        self.events.event(Event::Layer { id, step });
    }
}
