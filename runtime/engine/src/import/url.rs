//! A tar that an address names, read as it comes.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use image::Digest;
use registry::Download;

use super::Import;
use crate::progress::{Event, Step};
use crate::remote::Remote;
use crate::{Engine, Error, Progress, Result, unpack};

/// Of what comes, so much between two steps of the progress.
const STEP: u64 = 1 << 20;

impl Engine {
    /// Makes an image of a tar that an address names (http or https), as [`import`](Self::import) does of one that is at hand.
    pub fn import_url(
        &self,
        url: &str,
        options: &Import,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        let remote = self.remote()?;
        // Compressed it has no more than the archive in it may have.
        let most = unpack::options().limits.bytes;
        let download = remote.run(progress, |_| remote.client.download(url, most));
        let download = download.map_err(plainly)?;
        let mut body = Body {
            remote,
            progress,
            size: download.length().unwrap_or(0),
            download,
            rest: Bytes::new(),
            have: 0,
            told: 0,
            lost: None,
        };
        let imported = self.import(&mut body, options, progress);
        // What is told then is that the stream has ended; this is why.
        match body.lost {
            Some(error) => Err(error.into()),
            None => imported,
        }
    }
}

/// What a registry would have to be declared for, an address says by itself.
fn plainly(error: registry::Error) -> Error {
    let error = Error::from(error);
    if error.to_string().contains("does not speak TLS") {
        return error.with_hint("write http:// if that is meant");
    }
    error
}

/// The body of an answer, for who reads without knowing of networks.
struct Body<'a> {
    remote: &'a Remote,
    progress: &'a dyn Progress,
    download: Download,
    rest: Bytes,
    size: u64,
    have: u64,
    told: u64,
    lost: Option<registry::Error>,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let download = &mut self.download;
            match self.remote.run(self.progress, |_| download.next()) {
                Ok(Some(bytes)) => self.rest = bytes,
                Ok(None) => return Ok(0),
                Err(error) => {
                    let told = io::Error::other(error.to_string());
                    self.lost = Some(error);
                    return Err(told);
                }
            }
        }
        let len = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..len]);
        self.have += len as u64;
        if self.have - self.told >= STEP {
            self.told = self.have;
            let (have, size) = (self.have, self.size);
            let (id, step) = (String::new(), Step::Loading { have, size });
            self.progress.event(Event::Layer { id, step });
        }
        Ok(len)
    }
}
