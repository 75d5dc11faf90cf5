//! Who has answered: a host that was there a moment ago, and takes no connection now, is being started anew and is waited for.

use std::collections::HashSet;
use std::error::Error as _;
use std::io;
use std::sync::{Mutex, PoisonError};

use reqwest::Url;

use crate::error::{AGAIN, Error, Kind};
use crate::hosts::address;
use crate::http::Call;

/// The servers that have answered anything at all.
#[derive(Debug, Default)]
pub(super) struct Reached(Mutex<HashSet<String>>);

impl Reached {
    pub(super) fn note(&self, url: &Url) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(url.origin().ascii_serialization());
    }

    fn has(&self, url: &Url) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.contains(&url.origin().ascii_serialization())
    }

    /// Says what a connection that could not be made means: `made` is what it means to a host of which nothing is known.
    pub(super) fn unreached(
        &self,
        call: &Call,
        url: &Url,
        error: &reqwest::Error,
        made: Error,
    ) -> Error {
        let known = self.has(url);
        // Each silence costs as long as one waits for a connection.
        let made = if known && error.is_timeout() {
            Error::new(Kind::Silent, made.message())
        } else {
            made
        };
        let made = match authority(url) {
            Some(near) if is_refused(error) && address::is_loopback(&near) => made.advise(format!(
                "nothing listens on {near}: is the registry running?"
            )),
            _ if known => made.advise(AGAIN),
            _ => made,
        };
        if known && !call.replaceable {
            return made.passing();
        }
        made
    }
}

fn authority(url: &Url) -> Option<String> {
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Some(format!("{host}:{port}"))
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = error.source();
    }
    false
}
