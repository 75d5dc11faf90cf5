//! Media types: the strings by which documents and layers say what they are.

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, schema 1, which is refused.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's manifest, schema 1, signed, which is refused.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// An OCI image's config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A Docker image's config: the same fields.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// What an artifact has where an image has its config: `{}`.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A layer: a tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer: a tar in gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer: a tar in zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's layer: a tar (in archives and between registries only).
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's layer: a tar in gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer: a tar in zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// A layer that may not be pushed.
pub const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// A layer that may not be pushed, in gzip.
pub const OCI_FOREIGN_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// A layer that may not be pushed, in zstd.
pub const OCI_FOREIGN_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
/// Docker's layer that may not be pushed.
pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
/// Docker's layer that may not be pushed, in gzip.
pub const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// What a registry is asked for when a manifest is wanted: all that [`Document`](crate::Document) reads.
pub const ACCEPT: &[&str] = &[OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// How a layer's tar is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, maybe of several members.
    Gzip,
    /// zstd, maybe of several frames.
    Zstd,
}

/// Returns how a layer of this media type is packed; nothing if it is not a layer's type.
pub fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        OCI_LAYER | DOCKER_LAYER | OCI_FOREIGN | DOCKER_FOREIGN => Some(Compression::None),
        OCI_LAYER_GZIP | DOCKER_LAYER_GZIP | OCI_FOREIGN_GZIP | DOCKER_FOREIGN_GZIP => {
            Some(Compression::Gzip)
        }
        OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD | OCI_FOREIGN_ZSTD => Some(Compression::Zstd),
        _ => None,
    }
}

/// Tells whether a layer of this media type must not be pushed.
pub fn is_foreign(media_type: &str) -> bool {
    matches!(
        media_type,
        OCI_FOREIGN | OCI_FOREIGN_GZIP | OCI_FOREIGN_ZSTD | DOCKER_FOREIGN | DOCKER_FOREIGN_GZIP
    )
}

/// Tells whether a document of this media type is a list of manifests.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_LIST)
}

/// Tells whether a document of this media type is a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_told_apart() {
        for (media_type, packed, foreign) in [
            (OCI_LAYER, Some(Compression::None), false),
            (OCI_LAYER_ZSTD, Some(Compression::Zstd), false),
            (DOCKER_LAYER_GZIP, Some(Compression::Gzip), false),
            (OCI_FOREIGN_ZSTD, Some(Compression::Zstd), true),
            (DOCKER_FOREIGN_GZIP, Some(Compression::Gzip), true),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
                None,
                false,
            ),
            ("application/vnd.in-toto+json", None, false),
            (OCI_MANIFEST, None, false),
            ("", None, false),
        ] {
            assert_eq!(compression(media_type), packed, "{media_type}");
            assert_eq!(is_foreign(media_type), foreign, "{media_type}");
        }
    }
}
