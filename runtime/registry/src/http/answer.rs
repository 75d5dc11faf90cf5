//! An answer: its head, and its body as it comes.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode, Url};
use tokio::time::{Instant, timeout};

use crate::error::{AGAIN, Error, Kind, Result, answered, transport};
use crate::http::{Call, Patience};

/// So much of a refusal is read: an error document has a few hundred bytes.
const MOST_OF_REFUSAL: usize = 64 << 10;
/// So long is waited for it: the status says most of it.
const REFUSAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Answer {
    response: Response,
    url: Url,
    host: String,
    object: String,
    silence: Duration,
    least: u64,
    /// How long we still wait for the next `least` bytes.
    left: Duration,
    got: u64,
    whole: Duration,
    /// When all of it is to be here, and how long that was.
    end: Option<(Instant, Duration)>,
}

impl Answer {
    pub(crate) fn new(response: Response, call: &Call, url: Url, patience: &Patience) -> Self {
        Self {
            response,
            url,
            host: call.host.clone(),
            object: call.object.clone(),
            silence: patience.silence,
            least: patience.least,
            left: patience.silence,
            got: 0,
            whole: patience.whole,
            end: None,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns a header that is plain text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Returns the length that the server has promised.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// Where it came from, after redirects.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or(&self.host)
    }

    /// Gives the rest of the body an end in time.
    pub(crate) fn hurry(&mut self) {
        self.end = Some((Instant::now() + self.whole, self.whole));
    }

    /// Returns the next bytes of the body. Only the time in here counts as the server's silence.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let start = Instant::now();
        let until = self.end.map(|(end, _)| end.duration_since(start));
        let wait = until.map_or(self.left, |until| until.min(self.left));
        let Ok(chunk) = timeout(wait, self.response.chunk()).await else {
            return Err(self.late());
        };
        let chunk = chunk.map_err(|error| {
            let lost = transport(&self.host, &self.object, &error, None);
            Error::new(Kind::Connect, lost.message())
                .advise(AGAIN)
                .passing()
        })?;
        self.left = self.left.saturating_sub(start.elapsed());
        self.got += chunk.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if self.got >= self.least {
            self.got = 0;
            self.left = self.silence;
        }
        Ok(chunk)
    }

    fn late(&self) -> Error {
        let what = match self.end {
            Some((end, whole)) if end <= Instant::now() => {
                format!("has not come whole within {} s", whole.as_secs_f32())
            }
            _ => format!(
                "fewer than {} bytes came within {} s",
                self.least,
                self.silence.as_secs_f32()
            ),
        };
        Error::new(
            Kind::Silent,
            format!("{}: {}: {what}", self.host, self.object),
        )
        .advise("the server or the way to it is too slow: try again later")
        .passing()
    }

    /// Reads the whole body, which must not have more than `most` bytes.
    pub(crate) async fn body(&mut self, most: usize) -> Result<Vec<u8>> {
        self.hurry();
        let long = || {
            let what = format!("has more than {most} bytes, which is more than is taken for it");
            Error::wrong(&self.host, &self.object, what)
        };
        let length = self.length().unwrap_or(0);
        if length > most as u64 {
            return Err(long());
        }
        let mut body = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        while let Some(bytes) = self.chunk().await? {
            if body.len() + bytes.len() > most {
                let what =
                    format!("has more than {most} bytes, which is more than is taken for it");
                return Err(Error::wrong(&self.host, &self.object, what));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    /// Makes an error of an answer that is none of those that were hoped for.
    pub(crate) async fn refusal(mut self) -> Error {
        let mut body = Vec::new();
        let limit = REFUSAL.min(self.whole);
        self.end = Some((Instant::now() + limit, limit));
        // What is missing of it is missing in the message.
        while let Ok(Some(bytes)) = self.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > MOST_OF_REFUSAL {
                break;
            }
        }
        answered(&self.host, &self.object, self.status(), &body)
    }
}

pub(crate) fn silent(call: &Call, wait: Duration) -> Error {
    let what = format!(
        "{}: {}: no answer within {} s",
        call.host,
        call.object,
        wait.as_secs_f32()
    );
    Error::new(Kind::Silent, what)
        .advise("the server is there and says nothing: try again later")
        .passing()
}
