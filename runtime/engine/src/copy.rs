//! The contents of a blob that is here, to whoever wants them.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use image::{Digest, Hasher};
use store::Store;

use crate::{Error, Kind};

/// Copies a blob, and fails when its contents are not what it is named for: what was written is to be thrown away then.
pub(crate) fn copy_blob(store: &Store, digest: &Digest, out: &mut dyn Write) -> Result<()> {
    let found = copy_hashed(store, digest, out)?;
    if found != *digest {
        let text = format!(
            "blob {digest} is damaged here: its contents have the digest {found}; somebody or the disk has changed them"
        );
        let hint =
            "`lade image verify` says which images have it: remove those and pull them again";
        bail!(Error::new(Kind::Damaged, text).with_hint(hint));
    }
    Ok(())
}

/// Copies a blob, and returns the digest of its contents.
pub(crate) fn copy_hashed(store: &Store, digest: &Digest, out: &mut dyn Write) -> Result<Digest> {
    let mut file = store.open_blob(digest)?;
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("read blob {digest}")),
        };
        hasher.update(&buffer[..read]);
        out.write_all(&buffer[..read])?;
    }
}
