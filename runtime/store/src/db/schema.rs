//! What the database holds, as the list of steps that led there.
//!
//! `user_version` counts the steps that were taken. A step that was released is never changed; the form changes by one more step.

/// The steps, each from the version of its index to the next.
pub(crate) const STEPS: &[&str] = &[CONTENT_AND_NAMES, UPLOADS];

const CONTENT_AND_NAMES: &str = "
-- Files below blobs/. size: bytes of content; disk: bytes that it takes up.
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL, disk INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
-- Directories below layers/, by diff id. They never change once they are there, so `disk` holds for ever.
CREATE TABLE layers (
    digest TEXT PRIMARY KEY, disk INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE images (
    id TEXT PRIMARY KEY, manifest TEXT, config TEXT, created TEXT, platform TEXT, size INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE image_layers (
    image TEXT NOT NULL REFERENCES images ON DELETE CASCADE, position INTEGER NOT NULL, layer TEXT NOT NULL,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers (layer);
CREATE TABLE names (
    name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images ON DELETE CASCADE, manifest TEXT, at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_by_image ON names (image);
-- NAME@DIGEST: what was asked for in which repository, and what it led to here.
CREATE TABLE pins (
    repository TEXT NOT NULL, digest TEXT NOT NULL, image TEXT NOT NULL REFERENCES images ON DELETE CASCADE, manifest TEXT NOT NULL,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX pins_by_image ON pins (image);
-- What a document names. Not all of it need be here.
CREATE TABLE links (
    parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child)
) WITHOUT ROWID;
-- Blobs that unpack to a layer.
CREATE TABLE packed (
    layer TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (layer, blob)
) WITHOUT ROWID;
CREATE INDEX packed_by_blob ON packed (blob);
-- Repositories that have a blob.
CREATE TABLE seen (
    blob TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (blob, repository)
) WITHOUT ROWID;
-- What living leases keep. kind: blob or layer.
CREATE TABLE leased (
    lease TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (lease, kind, digest)
) WITHOUT ROWID;
CREATE INDEX leased_by_digest ON leased (kind, digest);
";

const UPLOADS: &str = "
-- Pushes under way: where the registry wants the rest of a blob.
CREATE TABLE uploads (
    repository TEXT NOT NULL, blob TEXT NOT NULL, session TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (repository, blob)
) WITHOUT ROWID;
";
