//! The root file system and the paths in it that are masked or made read-only.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::{Serialize, Serializer};
use sys::mount::{Extent, Propagation};

use super::{Options, Refusal};
use crate::Bundle;

/// Where the container's root is and how it is entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Root {
    pub path: PathBuf,
    pub read_only: bool,
    pub pivot: bool,
    #[serde(serialize_with = "propagation_name")]
    pub propagation: Option<(Propagation, Extent)>,
}

pub(super) fn propagation_name<S: Serializer>(
    value: &Option<(Propagation, Extent)>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.map_or_else(String::new, propagation_text))
}

/// Returns the option's name, such as `rslave`.
pub(super) fn propagation_text((propagation, extent): (Propagation, Extent)) -> String {
    let name = match propagation {
        Propagation::Private => "private",
        Propagation::Slave => "slave",
        Propagation::Shared => "shared",
        Propagation::Unbindable => "unbindable",
    };
    format!("{}{name}", if extent == Extent::Tree { "r" } else { "" })
}

/// Parses `slave`, `rslave` and their like.
pub(super) fn propagation(name: &str) -> Option<(Propagation, Extent)> {
    Some(match name {
        "private" => (Propagation::Private, Extent::One),
        "rprivate" => (Propagation::Private, Extent::Tree),
        "slave" => (Propagation::Slave, Extent::One),
        "rslave" => (Propagation::Slave, Extent::Tree),
        "shared" => (Propagation::Shared, Extent::One),
        "rshared" => (Propagation::Shared, Extent::Tree),
        "unbindable" => (Propagation::Unbindable, Extent::One),
        "runbindable" => (Propagation::Unbindable, Extent::Tree),
        _ => return None,
    })
}

pub(super) fn plan(bundle: &Bundle, options: &Options) -> Result<Root, Refusal> {
    let Some(root) = bundle.spec.root() else {
        return Err(Refusal::new(
            "root",
            "missing; name the directory, such as {\"path\": \"rootfs\"}",
        ));
    };
    if root.path().as_os_str().is_empty() {
        return Err(Refusal::new(
            "root.path",
            "empty; name the directory of the root file system",
        ));
    }
    let name = bundle
        .spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.rootfs_propagation().as_deref())
        .unwrap_or("");
    let propagation = match name {
        "" => None,
        name => Some(propagation(name).ok_or_else(|| {
            let right =
                "use private, slave, shared or unbindable, or one of them with an r before it";
            Refusal::new(
                "linux.rootfsPropagation",
                format!("{name:?} is not known; {right}"),
            )
        })?),
    };
    Ok(Root {
        path: bundle.dir.join(root.path()),
        read_only: root.readonly().unwrap_or(false),
        pivot: !options.no_pivot,
        propagation,
    })
}

#[derive(Debug, Clone, Copy)]
pub(super) enum List {
    ReadOnly,
    Masked,
}

/// Plans `maskedPaths` or `readonlyPaths`.
pub(super) fn paths(spec: &Spec, list: List) -> Result<Vec<PathBuf>, Refusal> {
    let linux = spec.linux().as_ref();
    let (at, paths) = match list {
        List::ReadOnly => (
            "linux.readonlyPaths",
            linux.and_then(|linux| linux.readonly_paths().as_ref()),
        ),
        List::Masked => (
            "linux.maskedPaths",
            linux.and_then(|linux| linux.masked_paths().as_ref()),
        ),
    };
    let paths = paths.map_or(&[][..], Vec::as_slice);
    let path = |(index, path): (usize, &String)| {
        let at = format!("{at}[{index}]");
        if path.starts_with('/') {
            Ok(clean(Path::new(path)))
        } else {
            Err(Refusal::new(
                at,
                format!("{path:?} is not an absolute path"),
            ))
        }
    };
    paths.iter().enumerate().map(path).collect()
}

/// Returns a path as seen from `/`, with `.` and `..` resolved by text: what is left cannot climb.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}
