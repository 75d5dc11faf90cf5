//! Names in archives and what they mean: places below the root, marks about other layers.

use crate::Error;

/// What the marks of layers begin with.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// The mark that nothing of the layers below shows in its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// What other marks of aufs begin with, which mean nothing to anybody else.
const AUFS: &[u8] = b".wh..wh.";

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The root itself.
    Root,
    /// The last component of the path.
    Plain,
    /// What hides the name that begins here in the path's last component.
    Whiteout,
    /// The directory above it hides what is below.
    Opaque,
    /// Nothing.
    Nothing,
}

/// Writes a name as a path below the root, without empty and `.` components, and tells what it is about.
pub(crate) fn place(name: &[u8], path: &mut Vec<u8>) -> Result<Place, Error> {
    clean(name, path)?;
    if path.is_empty() {
        return Ok(Place::Root);
    }
    let (dir, base) = split(path);
    for part in dir.split(|byte| *byte == b'/') {
        if part.starts_with(AUFS) && part != OPAQUE {
            return Ok(Place::Nothing);
        }
        if part.starts_with(WHITEOUT) {
            return Err(wrong(name, "a whiteout has nothing below it"));
        }
    }
    let Some(hidden) = base.strip_prefix(WHITEOUT) else {
        return Ok(Place::Plain);
    };
    match hidden {
        _ if base == OPAQUE => Ok(Place::Opaque),
        _ if base.starts_with(AUFS) => Ok(Place::Nothing),
        b"" | b"." | b".." => Err(wrong(name, "a whiteout of nothing")),
        _ => Ok(Place::Whiteout),
    }
}

/// Writes a name as a path below the root, without empty and `.` components.
pub(crate) fn clean(name: &[u8], path: &mut Vec<u8>) -> Result<(), Error> {
    path.clear();
    if name.is_empty() {
        return Err(wrong(name, "it is empty"));
    }
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(wrong(name, "it leads upwards (..)")),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(())
}

/// Splits a path into its directory, which may be empty, and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Tells whether a path is another one or lies below it.
pub(crate) fn is_below(path: &[u8], dir: &[u8]) -> bool {
    match path.strip_prefix(dir) {
        Some(rest) => dir.is_empty() || rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

fn wrong(name: &[u8], why: &str) -> Error {
    Error::entry(name, "name", why)
}
