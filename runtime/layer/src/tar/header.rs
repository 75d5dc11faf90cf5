//! One header block.
//!
//! ```text
//! byte   0  name       100      100  mode   8     108  uid      8     116  gid     8
//!      124  size        12      136  mtime 12     148  checksum 8     156  kind    1
//!      157  link name  100      257  magic and version           8    265  user and group name, which nobody reads here
//!      329  major        8      337  minor  8     345  prefix  155 (POSIX) or 131 (star)
//!      386  four pieces of a sparse file, 24 each      482  more of them follow      483  its whole size  12 (old GNU)
//! ```

use super::input::BLOCK;
use super::{Time, pax};

/// Whose rules the header follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// From before there were rules; no prefix.
    Old,
    Posix,
    Star,
    Gnu,
}

/// A header with a right checksum.
pub(crate) struct Header<'a> {
    block: &'a [u8; BLOCK],
    pub(crate) dialect: Dialect,
}

impl<'a> Header<'a> {
    /// Checks the sum, which some old programs made of signed bytes.
    pub(crate) fn parse(block: &'a [u8; BLOCK]) -> Result<Self, String> {
        let found = octal(&block[148..156]).map_err(|why| format!("checksum {why}"))?;
        // The field itself counts as spaces.
        let rest = || block[..148].iter().chain(&block[156..]);
        let unsigned = rest().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * 32;
        if found != unsigned {
            let signed = rest()
                .map(|byte| i64::from(byte.cast_signed()))
                .sum::<i64>()
                + 8 * 32;
            if i64::try_from(found) != Ok(signed) {
                return Err(format!(
                    "this is no header: its checksum says {found}, the block makes {unsigned}"
                ));
            }
        }
        let dialect = match (&block[257..263], &block[263..265], &block[508..]) {
            (b"ustar\0", _, b"tar\0") => Dialect::Star,
            (b"ustar\0", _, _) => Dialect::Posix,
            (b"ustar ", b" \0", _) => Dialect::Gnu,
            _ => Dialect::Old,
        };
        Ok(Self { block, dialect })
    }

    /// Returns the byte that says what the entry is.
    pub(crate) fn kind(&self) -> u8 {
        self.block[156]
    }

    /// Appends the name, which may lie in two parts.
    pub(crate) fn name(&self, to: &mut Vec<u8>) {
        let prefix = match self.dialect {
            Dialect::Posix => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::Old | Dialect::Gnu => &[],
        };
        if !prefix.is_empty() {
            to.extend_from_slice(prefix);
            to.push(b'/');
        }
        to.extend_from_slice(text(&self.block[..100]));
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        text(&self.block[157..257])
    }

    /// Returns the permissions; what else stands in the field is the kind once more.
    pub(crate) fn mode(&self) -> Result<u32, String> {
        let mode = number(&self.block[100..108]).map_err(|why| format!("mode {why}"))?;
        u32::try_from(mode & 0o7777).map_err(|_| "mode is too large".to_owned())
    }

    pub(crate) fn uid(&self) -> Result<u32, String> {
        id("uid", number(&self.block[108..116]))
    }

    pub(crate) fn gid(&self) -> Result<u32, String> {
        id("gid", number(&self.block[116..124]))
    }

    pub(crate) fn size(&self) -> Result<u64, String> {
        number(&self.block[124..136]).map_err(|why| format!("size {why}"))
    }

    /// Returns the time, which may lie before 1970 where the field is binary.
    pub(crate) fn mtime(&self) -> Result<Time, String> {
        let seconds = signed(&self.block[136..148]).map_err(|why| format!("mtime {why}"))?;
        Ok(Time { seconds, nanos: 0 })
    }

    /// Returns the device's numbers. Larger ones than the kernel has would be cut into other devices.
    pub(crate) fn device(&self) -> Result<(u32, u32), String> {
        let field = |at: usize, most: u32, what: &str| match number(&self.block[at..at + 8]) {
            Ok(number) => u32::try_from(number)
                .ok()
                .filter(|number| *number <= most)
                .ok_or_else(|| format!("{what} number {number} is over {most}")),
            Err(why) => Err(format!("{what} number {why}")),
        };
        Ok((field(329, 0xfff, "major")?, field(337, 0xf_ffff, "minor")?))
    }

    /// Returns the pieces of an old GNU sparse file, whether more follow, and its whole size.
    pub(crate) fn sparse(&self) -> (&'a [u8], bool, Result<u64, String>) {
        (
            &self.block[386..482],
            self.block[482] != 0,
            number(&self.block[483..495]).map_err(|why| format!("whole size {why}")),
        )
    }
}

/// Bounds an owner's number; the largest means "leave it" to the kernel.
pub(crate) fn id(what: &str, number: Result<u64, String>) -> Result<u32, String> {
    let number = number.map_err(|why| format!("{what} {why}"))?;
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(format!("{what} {number} is over {}", u32::MAX - 1)),
    }
}

/// Returns what stands before the first NUL.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Reads a number that is not negative: octal digits, or binary after a byte with the highest bit set.
pub(crate) fn number(field: &[u8]) -> Result<u64, String> {
    if field[0] & 0x80 == 0 {
        return octal(field);
    }
    let number = signed(field)?;
    u64::try_from(number).map_err(|_| format!("is negative ({number})"))
}

/// Reads a number that may be negative, in binary.
fn signed(field: &[u8]) -> Result<i64, String> {
    if field[0] & 0x80 == 0 {
        let number = octal(field)?;
        return i64::try_from(number).map_err(|_| format!("is too large ({number})"));
    }
    // The second highest bit is the sign.
    let first = i128::from((field[0] << 1).cast_signed() >> 1);
    let mut number = first;
    for byte in &field[1..] {
        number = (number << 8) | i128::from(*byte);
    }
    i64::try_from(number).map_err(|_| format!("is out of range ({number})"))
}

/// Reads octal digits between spaces and NULs; nothing at all is zero.
fn octal(field: &[u8]) -> Result<u64, String> {
    let blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(field.len());
    let digits = field[start..]
        .iter()
        .take_while(|byte| (b'0'..=b'7').contains(*byte));
    let digits = &field[start..start + digits.count()];
    if !field[start + digits.len()..].iter().all(blank) {
        return Err(format!(
            "is no octal number: {}",
            crate::error::quote(text(field))
        ));
    }
    // Twelve digits at most: 36 bits.
    Ok(digits
        .iter()
        .fold(0, |sum, digit| sum * 8 + u64::from(digit - b'0')))
}

/// Reads a decimal number as extended headers and maps have it.
pub(crate) fn decimal(text: &[u8]) -> Result<u64, String> {
    let wrong = || format!("is no decimal number: {}", crate::error::quote(text));
    if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let sum = text.iter().try_fold(0_u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    // Nothing that counts bytes or blocks goes beyond what the kernel calls an offset.
    sum.filter(|sum| i64::try_from(*sum).is_ok())
        .ok_or_else(wrong)
}

/// Takes the extended header's word for a number where there is one.
pub(crate) fn or<T>(
    extended: Option<T>,
    header: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    extended.map_or_else(header, Ok)
}

/// Bounds the size against what the extended header says of it: both have to mean the same bytes. Who reads the one where others read the other
/// finds other entries in the data. Nobody who writes an archive says two things: where both sizes stand, for one that a header can hold, they
/// are the same in GNU tar, libarchive, Python's tarfile, Go's archive/tar and node-tar.
pub(crate) fn size(header: u64, extended: &pax::Fields) -> Result<u64, String> {
    match extended.size {
        None => Ok(header),
        // What does not fit the header stands there as zero or cut off.
        Some(size) if size == header || size >= 1 << 33 => Ok(size),
        Some(size) => Err(format!(
            "the extended header says {size} bytes and the header {header}: readers disagree about what follows"
        )),
    }
}
