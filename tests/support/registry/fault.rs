//! What may go wrong with a registry, and with which of its answers.

use std::time::Duration;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Any,
    Ping,
    Token,
    /// GET or HEAD of a manifest.
    Manifest,
    /// GET of a blob.
    Blob,
    /// HEAD of a blob.
    BlobHead,
    Tags,
    Referrers,
    /// POST that begins an upload.
    Upload,
    /// PATCH of an upload.
    Chunk,
    /// PUT that ends an upload.
    Finish,
    /// GET of an upload.
    Status,
    PutManifest,
    Other,
}

/// What the registry does instead of, or to, its answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Closes the connection without a word.
    Close,
    /// Closes the connection after so many bytes of the body; of an upload, after so many that it has read.
    DropAt(usize),
    /// Says that the body is so many bytes shorter than it is, and sends no more.
    Shorter(usize),
    /// Sends so many bytes of noise behind the body, and counts them in.
    Longer(usize),
    /// Never stops sending.
    Endless,
    /// One bit of the body is another.
    Flipped,
    /// Other bytes than what was asked for, with status 200.
    Body(Vec<u8>),
    /// The whole body with 200, whatever part was asked for.
    RangeIgnored,
    /// 206 with what was asked for, but a Content-Range of somewhere else.
    RangeElsewhere,
    /// 206 with the right words and bytes from somewhere else.
    RangeShifted,
    /// A status with an error of the OCI's shape.
    Status(u16),
    /// 429 or 503 with Retry-After.
    RetryAfter(u16, &'static str),
    /// A status with a body that is no JSON.
    Page(u16),
    /// 401 as if the token had ended.
    Unauthorized,
    /// 401 with this challenge.
    Challenge(&'static str),
    /// 307 to this base, with the same path.
    Redirect(String),
    /// 307 to itself.
    Loop,
    /// 307 to this very address.
    RedirectTo(&'static str),
    /// So many bytes at a time, with pauses in between.
    Trickle(usize, Duration),
    /// Of each part that is asked for, so many bytes: 206, and a Content-Range that says so.
    Pieces(usize),
    /// A status with a page that comes in small pieces with pauses, without end.
    Slow(u16, Duration),
    /// Takes the request and never answers.
    Silence,
    /// Stops in the middle of the body and keeps the connection.
    StallAt(usize),
    /// Another Content-Type.
    MediaType(&'static str),
    /// Another Docker-Content-Digest.
    DigestHeader(String),
    /// The answer ends with the connection, or is chunked, instead of having a length.
    NoLength,
    /// A header more.
    Header(&'static str, &'static str),
    /// The body is packed once more, as Content-Encoding says.
    Encoded,
    /// Bytes that are no HTTP.
    Garbage,
    /// The upload is forgotten.
    Forgotten,
    /// 416 for a chunk, half of which was kept.
    HalfKept,
}

/// A fault, and the requests that meet it.
#[derive(Debug, Clone)]
pub struct Rule {
    pub what: What,
    /// A part of the path.
    pub only: String,
    pub skip: usize,
    pub times: usize,
    pub fault: Fault,
}

impl Rule {
    pub fn always(what: What, fault: Fault) -> Self {
        Self::times(what, usize::MAX, fault)
    }

    pub fn once(what: What, fault: Fault) -> Self {
        Self::times(what, 1, fault)
    }

    pub fn times(what: What, times: usize, fault: Fault) -> Self {
        Self {
            what,
            only: String::new(),
            skip: 0,
            times,
            fault,
        }
    }

    /// Lets so many requests pass first.
    #[must_use]
    pub fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Only requests whose path contains this.
    #[must_use]
    pub fn only(mut self, part: &str) -> Self {
        part.clone_into(&mut self.only);
        self
    }

    /// Tells whether this request meets the fault, and counts it.
    pub(super) fn meets(&mut self, what: What, path: &str) -> bool {
        if self.what != What::Any && self.what != what || !path.contains(&self.only) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let left = self.times > 0;
        self.times = self.times.saturating_sub(1);
        left
    }
}
