//! The comparison that nobody may forget.

use image::{Descriptor, Digest, Hasher};

use crate::error::{Error, Result};

/// Compares a blob with its descriptor while it passes.
#[derive(Debug)]
pub struct Verify {
    hasher: Hasher,
    digest: Digest,
    size: u64,
    seen: u64,
    host: String,
}

impl Verify {
    /// Begins with a blob; `host` is who gives it, for messages.
    pub fn new(descriptor: &Descriptor, host: &str) -> Self {
        Self {
            hasher: Hasher::new(descriptor.digest.algorithm()),
            digest: descriptor.digest,
            size: descriptor.size,
            seen: 0,
            host: host.to_string(),
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// Returns how many bytes have passed.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Compares, at the end. Returns the digest that the blob has, which is the one that it should have.
    pub fn finish(self) -> Result<Digest> {
        let object = format!("blob {}", self.digest);
        if self.seen != self.size {
            let what = format!("has {} bytes, and should have {}", self.seen, self.size);
            return Err(Error::wrong(&self.host, &object, what));
        }
        let is = self.hasher.finish();
        if is != self.digest {
            return Err(Error::wrong(&self.host, &object, format!("the content is {is}"))
                .advise("the server, or somebody on the way, gives something else: try again, or another server"));
        }
        Ok(is)
    }
}
