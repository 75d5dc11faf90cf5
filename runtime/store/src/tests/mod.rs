//! The store on a real disk, by real processes.

mod accounts;
mod crowd;
mod full;
mod versions;
mod work;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use image::Digest;

use crate::layout::unique;
use crate::{ImageRecord, Ingest, Lease, NewName, Pin, Records, Staged, Store, Unpack};

/// A data root that is removed with its test.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("store-test-{}", unique())))
    }

    fn open(&self) -> Store {
        Store::open(&self.0).expect("open the store")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// An image of small parts: image `n` has the layers n, n+1 and n+2, so that images overlap.
struct Sample {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Sample {
    fn new(n: usize) -> Self {
        let layer = |n: usize| format!("layer {n}\n").repeat(20_000).into_bytes();
        Self {
            manifest: format!("manifest {n}").into_bytes(),
            config: format!("config {n}").into_bytes(),
            layers: (n..n + 3).map(layer).collect(),
        }
    }

    fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    fn diff_ids(&self) -> Vec<Digest> {
        self.layers.iter().map(|layer| diff_id(layer)).collect()
    }

    fn name(&self) -> String {
        format!("docker.io/library/sample:{}", self.id().short())
    }

    fn records(&self) -> Records {
        let manifest = Digest::of(&self.manifest);
        let blobs = self.layers.iter().map(|layer| Digest::of(layer));
        let children = blobs.clone().chain([self.id()]);
        Records {
            images: vec![ImageRecord {
                id: self.id(),
                manifest: Some(manifest),
                config: Some(self.id()),
                layers: self.diff_ids(),
                created: Some("2026-11-22T00:00:00Z".to_owned()),
                platform: Some("linux/amd64".to_owned()),
                size: 7,
            }],
            names: vec![NewName {
                name: self.name(),
                image: self.id(),
                manifest: Some(manifest),
            }],
            digests: vec![Pin {
                repository: "docker.io/library/sample".to_owned(),
                digest: manifest,
                image: self.id(),
                manifest,
            }],
            links: children.map(|child| (manifest, child)).collect(),
            packed: self.diff_ids().into_iter().zip(blobs.clone()).collect(),
            seen: blobs
                .map(|blob| (blob, "docker.io/library/sample".to_owned()))
                .collect(),
        }
    }

    /// Does what a pull does, and tells of each fetch and each unpacking.
    fn pull(&self, store: &Store, told: &dyn Fn(&str, &Digest)) -> crate::Result<()> {
        let lease = store.lease()?;
        let mut staged = Staged::default();
        for document in [&self.manifest, &self.config] {
            staged.blobs.push(store.stage_bytes(&lease, document)?);
        }
        for layer in &self.layers {
            fetch(store, &lease, layer, &mut staged, told)?;
            let id = diff_id(layer);
            match store.unpack(&lease, &id)? {
                Unpack::Stored(_) => {}
                Unpack::Staged(layer) => staged.layers.push(layer),
                Unpack::New(new) => {
                    told("unpack", &id);
                    fill(&new.path(), layer)?;
                    staged.layers.push(new.finish(&id)?);
                }
            }
        }
        store.commit(staged, self.records())
    }

    /// Everything of it is there, and right.
    fn assert_whole(&self, store: &Store) {
        let image = store.image(&self.id()).unwrap().expect("the image");
        assert_eq!(image, self.records().images[0]);
        for blob in [&self.manifest, &self.config]
            .into_iter()
            .chain(&self.layers)
        {
            let digest = Digest::of(blob);
            assert_eq!(&store.read_blob(&digest, 1 << 20).unwrap(), blob);
        }
        for layer in &self.layers {
            let stored = store.layer(&diff_id(layer)).unwrap().expect("the layer");
            assert_eq!(fs::read(stored.path.join("sub/data")).unwrap(), *layer);
            assert_eq!(fs::read_dir(stored.path).unwrap().count(), 12);
        }
    }
}

fn diff_id(layer: &[u8]) -> Digest {
    Digest::of(&[layer, b" unpacked"].concat())
}

fn fetch(
    store: &Store,
    lease: &Lease,
    bytes: &[u8],
    staged: &mut Staged,
    told: &dyn Fn(&str, &Digest),
) -> crate::Result<()> {
    let digest = Digest::of(bytes);
    match store.ingest(lease, &digest, bytes.len() as u64)? {
        Ingest::Stored(size) => assert_eq!(size, bytes.len() as u64),
        Ingest::Staged(blob) => staged.blobs.push(blob),
        Ingest::Partial(mut partial) => {
            told("fetch", &digest);
            write_missing(&partial, bytes)?;
            let mut whole = fs::read(partial.path()).unwrap();
            if whole != bytes {
                partial.restart()?;
                write_missing(&partial, bytes)?;
                whole = fs::read(partial.path()).unwrap();
            }
            staged.blobs.push(partial.finish(&Digest::of(&whole))?);
        }
    }
    Ok(())
}

fn write_missing(partial: &crate::Partial, bytes: &[u8]) -> crate::Result<()> {
    for span in partial.missing() {
        let mut at = span.start;
        while at < span.end {
            let end = span.end.min(at + 32_768);
            partial.write_at(&bytes[usize(at)..usize(end)], at)?;
            at = end;
        }
    }
    Ok(())
}

fn usize(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

/// Makes what a layer of the samples unpacks to.
fn fill(dir: &Path, layer: &[u8]) -> crate::Result<()> {
    let mut done = fs::create_dir(dir.join("sub"))
        .and_then(|()| fs::write(dir.join("sub/data"), layer))
        .and_then(|()| fs::hard_link(dir.join("sub/data"), dir.join("again")));
    for n in 0..10 {
        done = done.and_then(|()| symlink("/etc/passwd", dir.join(format!("link-{n}"))));
    }
    done.map_err(|error| crate::Error::at(dir, error))
}

/// Starts this program as another process that plays a part of `crowd::part`.
fn start(part: &str, root: &Path, more: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "tests::crowd::part",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env("STORE_PART", part).env("STORE_ROOT", root);
    command.env("STORE_MORE", more);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("start this program")
}

fn assert_done(child: Child) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Nothing is wrong but what a kill may leave.
fn assert_sound(store: &Store) {
    let problems = store.check(false).unwrap();
    let serious: Vec<_> = problems
        .iter()
        .filter(|problem| !problem.harmless)
        .collect();
    assert!(serious.is_empty(), "{serious:#?}");
}

fn append(path: &Path, line: &str) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

fn nothing(_: &str, _: &Digest) {}
