//! Registries: what they can be asked, and told, without a data root.

use std::sync::OnceLock;

use crate::remote::Remote;
use crate::{Error, Result, Settings};

/// The way to registries. Cheap to make: nothing is read or connected before the first question.
#[derive(Debug)]
pub struct Registries {
    pub(crate) settings: Settings,
    remote: OnceLock<Remote>,
}

impl Registries {
    /// Takes what is known of registries; of the rest of the settings nothing is used.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let remote = OnceLock::new();
        Self { settings, remote }
    }

    /// Returns the way to the network, made at its first use.
    pub(crate) fn remote(&self) -> Result<&Remote> {
        if let Some(remote) = self.remote.get() {
            return Ok(remote);
        }
        let remote = Remote::open(&self.settings).map_err(Error::from)?;
        Ok(self.remote.get_or_init(|| remote))
    }
}
