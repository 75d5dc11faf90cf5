//! Archives of images as files: a tar with documents and blobs in it. What a layer's tar holds is none of this.

pub(crate) mod layout;
mod plain;
mod read;
mod write;

pub(crate) use plain::plain;
pub(crate) use read::{Archive, What};
pub(crate) use write::Writer;
