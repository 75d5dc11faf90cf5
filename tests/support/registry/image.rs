//! Images made of values: layers, config, manifest, index, and the archives that carry them.

use super::tar::Tar;
use crate::Must;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::Path;

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Returns `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}

/// Some bytes, which `seed` repeats and no compressor makes smaller.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::new(6));
    out.write_all(bytes).must("gzip");
    out.finish().must("gzip")
}

/// A descriptor of some bytes.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "size": bytes.len(), "digest": digest(bytes)})
}

/// A layer, packed and unpacked.
#[derive(Debug, Clone)]
pub struct Layer {
    pub tar: Vec<u8>,
    pub blob: Vec<u8>,
    pub media_type: String,
}

impl Layer {
    pub fn gzip(tar: Tar) -> Self {
        let tar = tar.done();
        let blob = gzip(&tar);
        Self::of(tar, blob, "+gzip")
    }

    pub fn zstd(tar: Tar) -> Self {
        let tar = tar.done();
        let blob = zstd::encode_all(tar.as_slice(), 3).must("zstd");
        Self::of(tar, blob, "+zstd")
    }

    pub fn plain(tar: Tar) -> Self {
        let tar = tar.done();
        Self::of(tar.clone(), tar, "")
    }

    /// A layer whose packed form is given.
    pub fn of(tar: Vec<u8>, blob: Vec<u8>, suffix: &str) -> Self {
        let media_type = format!("{OCI_LAYER}{suffix}");
        Self {
            tar,
            blob,
            media_type,
        }
    }

    /// One file of `length` bytes that cannot be compressed, beside a little text.
    pub fn noise(seed: u64, length: usize) -> Self {
        let tar = Tar::new()
            .dir(&format!("data{seed}/"), 0o755)
            .file(&format!("data{seed}/noise"), 0o644, noise(seed, length))
            .file(&format!("data{seed}/text"), 0o600, format!("{seed}\n"));
        Self::gzip(tar)
    }

    /// busybox with its usual names, and what a root file system needs besides.
    pub fn busybox() -> Self {
        let program = fs::read("/bin/busybox").must("/bin/busybox (package busybox-static)");
        let mut tar = Tar::new();
        for dir in [
            "bin/", "dev/", "etc/", "home/", "proc/", "root/", "sys/", "tmp/",
        ] {
            tar = tar.dir(dir, 0o755);
        }
        tar = tar.file("bin/busybox", 0o755, program);
        for name in BUSYBOX {
            tar = tar.symlink(&format!("bin/{name}"), "busybox");
        }
        let tar = tar
            .file(
                "etc/passwd",
                0o644,
                "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
            )
            .file(
                "etc/group",
                0o644,
                "root:x:0:\nann:x:1000:\nmore:x:2000:ann\n",
            )
            .dir("home/ann/", 0o755);
        Self::gzip(tar)
    }

    pub fn diff_id(&self) -> String {
        digest(&self.tar)
    }

    pub fn digest(&self) -> String {
        digest(&self.blob)
    }
}

const BUSYBOX: [&str; 25] = [
    "sh", "true", "false", "echo", "cat", "ls", "id", "env", "pwd", "sleep", "ip", "hostname",
    "tty", "stty", "test", "touch", "mkdir", "rm", "kill", "ps", "head", "wc", "printf", "stat",
    "uname",
];

/// An image: its documents as bytes and its layers.
#[derive(Debug, Clone)]
pub struct Image {
    pub config: Vec<u8>,
    pub layers: Vec<Layer>,
    pub manifest: Vec<u8>,
    pub media_type: String,
}

impl Image {
    /// An OCI image of these layers for linux/amd64.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self::with(layers, |_| ())
    }

    /// As `new`, after `edit` has changed the config.
    pub fn with(layers: Vec<Layer>, edit: impl FnOnce(&mut Value)) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(Layer::diff_id).collect();
        let history: Vec<Value> = (0..layers.len())
            .map(|number| json!({"created": CREATED, "created_by": format!("step {number}")}))
            .collect();
        let mut config = json!({
            "created": CREATED,
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        edit(&mut config);
        let config = config.to_string().into_bytes();
        let mut image = Self {
            config,
            layers,
            manifest: Vec::new(),
            media_type: OCI_MANIFEST.to_owned(),
        };
        image.edit(|_| ());
        image
    }

    /// busybox alone.
    pub fn busybox() -> Self {
        Self::new(vec![Layer::busybox()])
    }

    /// Some layers of noise, which `seed` tells apart.
    pub fn noise(seed: u64, layers: u64, length: usize) -> Self {
        let layers = (0..layers).map(|number| Layer::noise(seed * 100 + number, length));
        Self::new(layers.collect())
    }

    /// Docker's media types instead of the OCI's.
    #[must_use]
    pub fn docker(mut self) -> Self {
        DOCKER_MANIFEST.clone_into(&mut self.media_type);
        for layer in &mut self.layers {
            DOCKER_LAYER.clone_into(&mut layer.media_type);
        }
        self.edit(|manifest| manifest["config"]["mediaType"] = DOCKER_CONFIG.into());
        self
    }

    /// Writes the manifest anew, and lets `edit` change it.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        let layers = self.layers.iter();
        let layers: Vec<Value> = layers
            .map(|layer| descriptor(&layer.media_type, &layer.blob))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": descriptor(OCI_CONFIG, &self.config),
            "layers": layers,
        });
        edit(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
    }

    #[must_use]
    pub fn edited(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        self.edit(edit);
        self
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// The image's id: the digest of its config.
    pub fn id(&self) -> String {
        digest(&self.config)
    }

    /// The bytes of config and packed layers.
    pub fn size(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.blob.len());
        (layers.sum::<usize>() + self.config.len()) as u64
    }

    /// Every blob but the manifest.
    pub fn blobs(&self) -> Vec<Vec<u8>> {
        let layers = self.layers.iter().map(|layer| layer.blob.clone());
        layers.chain([self.config.clone()]).collect()
    }

    /// An entry for an index.
    pub fn entry(&self, platform: &Value) -> Value {
        let mut entry = descriptor(&self.media_type, &self.manifest);
        entry["platform"] = platform.clone();
        entry
    }
}

const CREATED: &str = "2024-05-06T07:08:09Z";

/// An index of these entries.
pub fn index(entries: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        .to_string()
        .into_bytes()
}

/// The files of an OCI layout: path and content.
pub fn layout(images: &[(&str, &Image)]) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![(
        "oci-layout".to_owned(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    )];
    let mut entries = Vec::new();
    for (name, image) in images {
        for blob in image.blobs().into_iter().chain([image.manifest.clone()]) {
            files.push((blob_path(&blob), blob));
        }
        let mut entry = descriptor(&image.media_type, &image.manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entries.push(entry);
    }
    files.push(("index.json".to_owned(), index(&entries)));
    files.sort();
    files.dedup();
    files
}

fn blob_path(blob: &[u8]) -> String {
    format!("blobs/{}", digest(blob).replace(':', "/"))
}

/// Writes an OCI layout as a directory.
pub fn write_layout(dir: &Path, images: &[(&str, &Image)]) {
    for (path, bytes) in layout(images) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().must("a parent")).must(path.display());
        fs::write(&path, bytes).must(path.display());
    }
}

/// An OCI layout as a tar.
pub fn oci_archive(images: &[(&str, &Image)]) -> Vec<u8> {
    tar_of(layout(images))
}

/// What `docker save` of older versions writes.
pub fn docker_archive(images: &[(&str, &Image)]) -> Vec<u8> {
    let mut files = Vec::new();
    let mut list = Vec::new();
    for (name, image) in images {
        let config = format!("{}.json", &image.id()[7..]);
        let mut layers = Vec::new();
        for layer in &image.layers {
            let path = format!("{}/layer.tar", &layer.diff_id()[7..]);
            files.push((path.clone(), layer.tar.clone()));
            layers.push(path);
        }
        files.push((config.clone(), image.config.clone()));
        list.push(json!({"Config": config, "RepoTags": [name], "Layers": layers}));
    }
    files.push((
        "manifest.json".to_owned(),
        Value::from(list).to_string().into_bytes(),
    ));
    files.sort();
    files.dedup();
    tar_of(files)
}

fn tar_of(files: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let mut tar = Tar::new();
    for (path, bytes) in files {
        tar = tar.file(&path, 0o644, bytes);
    }
    tar.done()
}
