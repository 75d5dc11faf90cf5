//! Files with holes: pieces of data at offsets, in one of GNU's four notations.

use std::io::Read;

use super::header::{decimal, number};
use super::input::{BLOCK, Input};
use crate::Error;

/// Data at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Where the list of pieces stands, of those that an extended header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// 0.0 and 0.1: in the extended header.
    Listed,
    /// 1.0: before the data, as decimal lines.
    Leading,
}

/// Checks that the pieces are in order, do not overlap, lie in the file and hold the data that is stored.
pub(crate) fn check(pieces: &[Piece], size: u64, stored: u64) -> Result<(), String> {
    let (mut end, mut sum) = (0, 0_u64);
    for piece in pieces {
        let Piece { offset, len } = *piece;
        let after = offset.checked_add(len).filter(|after| *after <= size);
        let Some(after) = after.filter(|_| offset >= end) else {
            return Err(format!(
                "piece of {len} bytes at {offset} overlaps another one or the end at {size}"
            ));
        };
        end = after;
        sum += len;
    }
    if sum != stored {
        return Err(format!("pieces make {sum} bytes, stored are {stored}"));
    }
    Ok(())
}

/// Reads pieces of an old GNU header or of a block behind it; the first empty one ends them.
pub(crate) fn fields(bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), String> {
    for field in bytes.chunks_exact(24) {
        if field[0] == 0 || field[12] == 0 {
            break;
        }
        let wrong = |why| format!("map of the file {why}");
        let offset = number(&field[..12]).map_err(wrong)?;
        let len = number(&field[12..]).map_err(wrong)?;
        pieces.push(Piece { offset, len });
    }
    Ok(())
}

/// Reads the lines before the data: how many pieces, then offset and length of each, up to the end of a block. Returns the bytes that were
/// read.
pub(crate) fn leading<R: Read>(
    input: &mut Input<R>,
    stored: u64,
    most: u64,
    name: &[u8],
    pieces: &mut Vec<Piece>,
) -> Result<u64, Error> {
    let wrong = |why: String| Error::entry(name, "map of the file", why);
    let (mut block, mut at, mut read) = ([0; BLOCK], BLOCK, 0);
    let mut number = || {
        let (mut line, mut len) = ([0; 20], 0);
        loop {
            if at == BLOCK {
                if read + BLOCK as u64 > stored.min(most) {
                    return Err(wrong("it does not end".to_owned()));
                }
                let Some(next) = input.block()? else {
                    return Err(wrong("the stream ends in it".to_owned()));
                };
                (block, at, read) = (next, 0, read + BLOCK as u64);
            }
            at += 1;
            match block[at - 1] {
                b'\n' => return decimal(&line[..len]).map_err(wrong).map(|it| (it, read)),
                _ if len == line.len() => return Err(wrong("a line is too long".to_owned())),
                digit => line[len] = digit,
            }
            len += 1;
        }
    };
    let (count, mut end) = number()?;
    for _ in 0..count {
        let (offset, _) = number()?;
        let len;
        (len, end) = number()?;
        pieces.push(Piece { offset, len });
    }
    Ok(end)
}
