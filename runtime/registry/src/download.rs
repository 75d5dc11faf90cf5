//! What an address names, which is no registry's affair: no login, no mirror, no digest to compare with.

use bytes::Bytes;
use reqwest::{StatusCode, Url};

use crate::client::Client;
use crate::error::{Error, Kind, Result, clean};
use crate::http::{Answer, Call};

/// The bytes that an address gives, from the first to the last that was announced.
#[derive(Debug)]
pub struct Download {
    answer: Answer,
    host: String,
    object: String,
    got: u64,
    most: u64,
}

impl Client {
    /// Asks for what an address names, of at most so many bytes, by the proxies that registries are reached by.
    ///
    /// The address must hold no login: it is told in messages, and by its reader in other places.
    pub async fn download(&self, address: &str, most: u64) -> Result<Download> {
        let refused = |why: &str| {
            // Without what may be a password.
            let shown = clean(address.rsplit('@').next().unwrap_or(address), 300);
            Err(Error::new(
                Kind::Settings,
                format!("address {shown}: {why}"),
            ))
        };
        let Ok(url) = Url::parse(address) else {
            return refused("is none");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refused("only http and https are known");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("it holds a login, which would be kept with what is made of it");
        }
        let port = url.port().map(|port| format!(":{port}"));
        let host = url.host_str().unwrap_or_default();
        let host = format!("{host}{}", port.unwrap_or_default());
        // What stands behind the path may be a signature.
        let object = clean(url.path(), 300);
        let answer = self.wire().patient(&Call::get(url, &host, &object)).await?;
        let download = Download {
            answer,
            host,
            object,
            got: 0,
            most,
        };
        download.check()?;
        Ok(download)
    }
}

impl Download {
    /// Returns the next bytes; nothing at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let bytes = self.answer.chunk().await?;
        self.got += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if self.got > self.most {
            return Err(self.long());
        }
        match (&bytes, self.length()) {
            (None, Some(length)) if self.got < length => {
                let what = format!("ended after {} of {length} bytes", self.got);
                Err(Error::wrong(&self.host, &self.object, what))
            }
            _ => Ok(bytes),
        }
    }

    /// Returns how many bytes the server has announced.
    pub fn length(&self) -> Option<u64> {
        self.answer.length()
    }

    fn check(&self) -> Result<()> {
        let status = self.answer.status();
        let kind = match status {
            StatusCode::OK => {
                return match self.length() {
                    Some(length) if length > self.most => Err(self.long()),
                    _ => Ok(()),
                };
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Kind::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Denied,
            _ => Kind::Server,
        };
        let (host, object) = (&self.host, &self.object);
        let text = format!("{host}: {object}: the server answers {status}");
        Err(Error::new(kind, text))
    }

    fn long(&self) -> Error {
        let (host, object, most) = (&self.host, &self.object, self.most);
        Error::new(
            Kind::Wrong,
            format!("{host}: {object}: has more than {most} bytes"),
        )
    }
}
