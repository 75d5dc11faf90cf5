//! How an OCI layout calls things.

use image::Digest;

/// An entry's annotation: the name with everything said.
pub(crate) const CONTAINERD: &str = "io.containerd.image.name";
/// A name or a tag, by whoever wrote it.
pub(crate) const OCI: &str = "org.opencontainers.image.ref.name";

/// Where a blob is.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
