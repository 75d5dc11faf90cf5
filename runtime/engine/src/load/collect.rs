//! Everything that an archive holds: blobs go to the store as they come, small documents stay in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use image::{Algorithm, Digest, Hasher};
use store::{Ingest, Lease, Partial, StagedBlob, Store};

use crate::archive::layout::blob_path;
use crate::archive::{Archive, What};
use crate::documents::CONFIG;
use crate::{Error, Kind, unpack};

/// Documents in memory, all together.
const TEXTS: u64 = 64 << 20;
/// Names in an archive: hundreds of images have a few thousand blobs.
const NAMES: usize = 100_000;
const CHUNK: usize = 1 << 20;
/// Folders in folders: no form of archive has more.
const DEPTH: usize = 4;

/// What an archive holds.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    texts: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Blob>,
    /// Other names of files.
    links: BTreeMap<String, String>,
    names: usize,
    /// Of documents and names.
    size: u64,
    /// Of all files.
    bytes: u64,
}

/// A file that is a blob now.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub digest: Digest,
    pub size: u64,
    /// None: the store had it.
    pub staged: Option<StagedBlob>,
}

impl Collected {
    pub(crate) fn text(&self, path: &str) -> Option<&[u8]> {
        self.texts.get(&self.real(path)).map(Vec::as_slice)
    }

    /// The documents in a folder of their own: `ID/json`.
    pub(crate) fn texts_named<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let texts = self.texts.iter();
        texts.filter_map(move |(path, text)| {
            let (folder, file) = path.split_once('/')?;
            (file == name).then_some((folder, text.as_slice()))
        })
    }

    pub(crate) fn blob(&self, path: &str) -> Option<&Blob> {
        self.blobs.get(&self.real(path))
    }

    pub(crate) fn by_digest(&self, digest: &Digest) -> Option<&Blob> {
        self.blob(&blob_path(digest))
    }

    /// Reads a document, wherever it is.
    pub(crate) fn document(&self, store: &Store, path: &str, most: u64) -> Result<Option<Vec<u8>>> {
        if let Some(text) = self.text(path) {
            return Ok(Some(text.to_vec()));
        }
        Ok(match self.blob(path) {
            Some(Blob {
                staged: Some(staged),
                ..
            }) => Some(staged.read(most)?),
            Some(blob) => Some(store.read_blob(&blob.digest, most)?),
            None => None,
        })
    }

    /// Follows links from one name to the file, a few times.
    pub(crate) fn real(&self, path: &str) -> String {
        let mut path = path.to_string();
        for _ in 0..DEPTH {
            match self.links.get(&path) {
                Some(target) => path.clone_from(target),
                None => break,
            }
        }
        path
    }

    fn link(&mut self, path: &str, target: &str) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in target.split('/') {
            match part {
                "" | "." => {}
                // Beyond the top is the top: it is only looked up in a table.
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        self.links.insert(path.to_string(), parts.join("/"));
    }

    /// Counts a name that is kept in memory, and refuses more than there can be honestly.
    fn name(&mut self, path: &str) -> Result<()> {
        self.names += 1;
        self.size += path.len() as u64;
        if self.names > NAMES || self.size > TEXTS {
            let text = format!("it has more names than any archive of images: {NAMES} at most");
            bail!(Error::new(Kind::Damaged, text));
        }
        Ok(())
    }

    fn file(
        &mut self,
        store: &Store,
        lease: &Lease,
        path: String,
        size: u64,
        mut contents: impl Read,
    ) -> Result<()> {
        self.bytes = self.bytes.saturating_add(size);
        let most = unpack::options().limits.bytes;
        if self.bytes > most {
            let text = format!("{path}: it holds more than {most} bytes with this file");
            bail!(Error::new(Kind::Damaged, text));
        }
        if let Some(digest) = digest_of(&path) {
            let blob = known(store, lease, digest, size, contents).with_context(|| path.clone())?;
            self.blobs.insert(path, blob);
        } else if is_text(&path) {
            self.size += size;
            if size > CONFIG || self.size > TEXTS {
                bail!(Error::new(
                    Kind::Damaged,
                    format!(
                        "{path} has {size} bytes, which is more than any document of an image has"
                    )
                ));
            }
            let mut text = Vec::new();
            contents
                .read_to_end(&mut text)
                .with_context(|| path.clone())?;
            self.texts.insert(path, text);
        } else {
            let blob = unknown(store, lease, contents).with_context(|| path.clone())?;
            self.blobs.insert(path, blob);
        }
        Ok(())
    }
}

fn digest_of(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "json" | "VERSION" | "repositories" | "oci-layout") || name.ends_with(".json")
}

/// Reads an archive to its end.
pub(crate) fn archive(
    store: &Store,
    lease: &Lease,
    tar: &mut (dyn Read + Send),
) -> Result<Collected> {
    let mut collected = Collected::default();
    let mut archive = Archive::new(tar);
    while let Some(entry) = archive.next()? {
        collected.name(&entry.path)?;
        if let What::Symlink(target) | What::Hardlink(target) = &entry.what {
            collected.name(target)?;
        }
        match entry.what {
            What::File { size } => {
                collected.file(store, lease, entry.path, size, &mut archive)?;
            }
            What::Symlink(target) => collected.link(&entry.path, &target),
            What::Hardlink(target) => drop(collected.links.insert(entry.path, target)),
            What::Other => {}
        }
    }
    // Whoever writes into a pipe is not to be cut off for a few zeros.
    archive.rest()?;
    Ok(collected)
}

/// Reads a directory that holds what an archive does.
pub(crate) fn directory(store: &Store, lease: &Lease, path: &Path) -> Result<Collected> {
    let mut collected = Collected::default();
    walk(store, lease, path, "", DEPTH, &mut collected)?;
    Ok(collected)
}

fn walk(
    store: &Store,
    lease: &Lease,
    dir: &Path,
    below: &str,
    depth: usize,
    collected: &mut Collected,
) -> Result<()> {
    let named = || format!("read {}", dir.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(named)? {
        names.push(entry.with_context(named)?.file_name());
    }
    names.sort_unstable();
    for name in names {
        let (path, Some(name)) = (dir.join(&name), name.to_str()) else {
            continue;
        };
        let inner = if below.is_empty() {
            name.to_string()
        } else {
            format!("{below}/{name}")
        };
        let named = || format!("read {}", path.display());
        collected.name(&inner)?;
        let stat = path.symlink_metadata().with_context(named)?;
        if stat.is_symlink() {
            let target = path.read_link().with_context(named)?;
            collected.link(&inner, &target.to_string_lossy());
        } else if stat.is_dir() && depth > 0 {
            walk(store, lease, &path, &inner, depth - 1, collected)?;
        } else if stat.is_file() {
            let file = File::open(&path).with_context(named)?;
            collected.file(store, lease, inner, stat.len(), file)?;
        }
    }
    Ok(())
}

/// Takes a blob whose name tells its digest.
fn known(
    store: &Store,
    lease: &Lease,
    digest: Digest,
    size: u64,
    contents: impl Read,
) -> Result<Blob> {
    let (staged, have) = match store.ingest(lease, &digest, size)? {
        Ingest::Stored(have) => (None, have),
        Ingest::Staged(staged) => (Some(staged.clone()), staged.size()),
        Ingest::Partial(partial) => (Some(fill(partial, contents)?), size),
    };
    if have != size {
        let text =
            format!("it has {size} bytes, and the blob of that digest, which is here, {have}");
        bail!(Error::new(Kind::Damaged, text));
    }
    Ok(Blob {
        digest,
        size,
        staged,
    })
}

fn fill(mut partial: Partial, mut contents: impl Read) -> Result<StagedBlob> {
    let wanted = *partial.digest();
    let mut hasher = Hasher::new(wanted.algorithm());
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let read = full(&mut contents, &mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        partial.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    let found = hasher.finish();
    if found != wanted {
        partial.restart()?;
        let text = format!("its contents have the digest {found}");
        bail!(Error::new(Kind::Damaged, text));
    }
    Ok(partial.finish(&found)?)
}

/// Fills the buffer as far as there is something.
fn full(contents: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match contents.read(&mut buffer[have..])? {
            0 => break,
            read => have += read,
        }
    }
    Ok(have)
}

/// Takes a blob whose digest is known when it is read.
fn unknown(store: &Store, lease: &Lease, mut contents: impl Read) -> Result<Blob> {
    let mut into = store.ingest_unknown(lease)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = full(&mut contents, &mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        let written = into.write_all(&buffer[..read]);
        written.map_err(|error| store::Error::at(store.root(), error))?;
    }
    let staged = into.finish(&hasher.finish())?;
    Ok(Blob {
        digest: *staged.digest(),
        size: staged.size(),
        staged: Some(staged),
    })
}
