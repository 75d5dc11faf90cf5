//! One layer out of its blob: inflated, hashed, unpacked and compared with its diff id in one pass.

use std::io::{self, BufRead, Read};
use std::thread;

use anyhow::{Context, Result, bail};
use image::{Algorithm, Compression, Descriptor, Digest, Hasher, media};
use layer::{Form, Options};
use store::{NewLayer, StagedLayer};
use sys::Errno;

use crate::{Error, Kind};

/// A layer that is ready to be committed.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub staged: StagedLayer,
    /// Of the files.
    pub bytes: u64,
    /// Of the tar.
    pub tar_bytes: u64,
    pub warnings: Vec<String>,
}

/// Unpacks a layer, of a blob of so many bytes, into its new directory, and checks that it is the one that was asked for.
pub(crate) fn unpack<R: BufRead + Send>(
    compressed: R,
    form: Option<Form>,
    size: u64,
    into: NewLayer,
    diff_id: &Digest,
) -> Result<Unpacked> {
    let options = options();
    let most = options.limits.inflated(size);
    let tar = layer::inflate(compressed, form, &options.limits)?;
    let unpacked = thread::scope(|scope| {
        let tar = layer::Ahead::new(scope, tar);
        layer::unpack_within(tar, into.dir(), &options, most)
    });
    let unpacked = unpacked.map_err(|error| placed(error, &into))?;
    let found = Digest::from_sha256(unpacked.tar_sha256);
    is(&found, diff_id)?;
    Ok(Unpacked {
        staged: into.finish(&found)?,
        bytes: unpacked.bytes,
        tar_bytes: unpacked.tar_bytes,
        warnings: unpacked.warnings,
    })
}

/// Says of a full disk which data root is on it: who unpacks knows the entry only.
pub(crate) fn placed(error: layer::Error, into: &NewLayer) -> anyhow::Error {
    match &error {
        layer::Error::Entry {
            why,
            errno: Some(errno @ (Errno::ENOSPC | Errno::EDQUOT)),
            ..
        } => {
            let text = error.to_string();
            let what = text.strip_suffix(&format!(": {why}")).unwrap_or(&text);
            let full = store::Error::at(into.root(), (*errno).into());
            anyhow::Error::from(full).context(what.to_owned())
        }
        _ => error.into(),
    }
}

/// Whether what we make is the host's root's: in a user namespace of its own nobody makes devices, or sets what only the host's root sees.
fn of_the_host() -> bool {
    nix::unistd::geteuid().is_root() && !sys::userns::is_inner()
}

/// Reads a blob whose layer is here already, and checks that it would unpack to that one: what is kept and pushed is what it says.
pub(crate) fn compare(
    compressed: impl BufRead + Send,
    form: Option<Form>,
    size: u64,
    diff_id: &Digest,
) -> Result<()> {
    let limits = options().limits;
    let most = limits.inflated(size);
    let tar = layer::inflate(compressed, form, &limits)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let read = io::copy(&mut tar.take(most.saturating_add(1)), &mut hasher)?;
    if read > most {
        let text = format!("it unpacks to more than {most} bytes");
        bail!(Error::new(Kind::Damaged, text));
    }
    is(&hasher.finish(), diff_id)
}

fn is(found: &Digest, diff_id: &Digest) -> Result<()> {
    if found == diff_id {
        return Ok(());
    }
    let text = format!("it unpacks to {found}, and the image's config says {diff_id}");
    bail!(Error::new(Kind::Damaged, text))
}

/// How layers are unpacked on this machine, by this user.
pub(crate) fn options() -> Options {
    let host = of_the_host();
    Options {
        userxattr: !host,
        devices: host,
        ..Options::default()
    }
}

/// Says how a layer is compressed by its media type, and refuses what is no layer that anybody here can unpack.
pub(crate) fn form(descriptor: &Descriptor) -> Result<Form> {
    match media::compression(&descriptor.media_type) {
        Some(Compression::None) => Ok(Form::Tar),
        Some(Compression::Gzip) => Ok(Form::Gzip),
        Some(Compression::Zstd) => Ok(Form::Zstd),
        None => bail!(Error::new(
            Kind::Unsupported,
            format!(
                "layer {} is of type {}, which is no layer that can be unpacked here",
                descriptor.digest, descriptor.media_type
            )
        )),
    }
}

/// Reads what is left, so that the reader below has seen every byte.
pub(crate) fn drain(mut rest: impl Read) -> Result<u64> {
    io::copy(&mut rest, &mut io::sink()).context("read the rest of the layer")
}

/// Tells how much of something was read.
pub(crate) struct Counted<R, F> {
    inner: R,
    have: u64,
    tell: F,
}

impl<R, F: FnMut(u64)> Counted<R, F> {
    pub(crate) fn new(inner: R, tell: F) -> Self {
        Self {
            inner,
            have: 0,
            tell,
        }
    }
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        // usize is no wider than u64 on any machine that this runs on.
        self.have += read as u64;
        (self.tell)(self.have);
        Ok(read)
    }
}

impl<R, F> std::fmt::Debug for Counted<R, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counted({})", self.have)
    }
}
