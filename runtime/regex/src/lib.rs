//! Stands in for the crate `regex`, which `oci-spec` takes for one short expression (`process.execCPUAffinity`): four hundred KiB of a
//! program that is read in at every start of a container. The crate `regex-lite`, of the same authors, has the same names.
#![forbid(unsafe_code)]

pub use regex_lite::Regex;
