//! Access control lists, as far as the kernel changes what it is given (Linux fs/posix_acl.c).
//!
//! ```text
//! version 4, 2   then of each entry:   tag 2   permissions 2   id 4
//! ```

/// Bytes before the entries, and of one.
const HEAD: usize = 4;
const ENTRY: usize = 8;

const USER: u16 = 0x01;
const GROUP: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What a file has after it was given the attribute.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The attribute's value; none: it is not there.
    pub(crate) value: Option<Vec<u8>>,
    /// Its permissions, where the list says them.
    pub(crate) mode: Option<u32>,
}

/// Returns what becomes of an attribute; of one that is no list of this kind: nothing else.
pub(crate) fn settled(xattr: &[u8], value: &[u8]) -> Settled {
    let access = xattr == b"system.posix_acl_access";
    if !access && xattr != b"system.posix_acl_default" {
        let value = Some(value.to_vec());
        return Settled { value, mode: None };
    }
    let mut value = value.to_vec();
    let (mut mode, mut mask, mut plain) = (0, None, true);
    for entry in value
        .get_mut(HEAD..)
        .unwrap_or_default()
        .chunks_exact_mut(ENTRY)
    {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let may = u32::from(entry[2] & 7);
        match tag {
            USER => mode |= may << 6,
            GROUP => mode |= may << 3,
            MASK => mask = Some(may),
            OTHER => mode |= may,
            _ => plain = false,
        }
        if matches!(tag, USER | GROUP | MASK | OTHER) {
            // They are nobody's in particular.
            entry[4..].fill(0xff);
        }
    }
    if let Some(mask) = mask {
        mode = mode & !0o070 | mask << 3;
        plain = false;
    }
    // What a mode can say is no list, and an empty list is none.
    let none = value.len() <= HEAD;
    Settled {
        mode: (access && !none).then_some(mode),
        value: (!(none || access && plain)).then_some(value),
    }
}
