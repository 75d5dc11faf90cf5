//! Reading archives: old, POSIX (ustar, pax), star and GNU, one entry after the other.
//!
//! Strict, because what two readers understand differently is how a layer smuggles: an extended header belongs to the very next entry, one
//! size says both how much data there is and where the next header lies, nothing malformed is skipped, and what readers are
//! known to disagree about is refused.

mod header;
mod input;
mod pax;
mod sparse;
pub(crate) mod write;

use std::fmt;
use std::io::Read;

use crate::limits::{Limits, within};
use crate::{Error, error::quote};
use header::{Dialect, Header};
use input::Input;

pub(crate) use input::BLOCK;
pub(crate) use sparse::Piece;

/// A point in time, before or after 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

/// What an entry stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    File,
    Link,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// One entry. The same one is filled again and again, so that its memory is kept.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The name as the archive spells it.
    pub(crate) name: Vec<u8>,
    /// Where a link leads to.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions with the set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The size of the unpacked file.
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a sparse file, where its data belong to.
    pub(crate) pieces: Option<Vec<Piece>>,
}

/// What came before the entry that is about it.
#[derive(Debug, Default)]
struct Before {
    extended: bool,
    name: bool,
    link: bool,
}

/// An archive that is being read.
pub(crate) struct Archive<R> {
    input: Input<R>,
    limits: Limits,
    /// Bytes of the whole stream.
    most: u64,
    /// Headers so far.
    headers: u64,
    /// Bytes of the tree so far.
    unpacked: u64,
    /// Bytes of them that the archive does not have.
    holes: u64,
    /// Of the entry's data, what has not been read.
    left: u64,
    padding: u64,
    extended: Vec<u8>,
    fields: pax::Fields,
}

impl<R: Read> Archive<R> {
    /// Reads from `from`, at most `most` bytes of it.
    pub(crate) fn new(from: R, limits: Limits, most: u64) -> Self {
        Self {
            input: Input::new(from, most),
            limits,
            most,
            headers: 0,
            unpacked: 0,
            holes: 0,
            left: 0,
            padding: 0,
            extended: Vec::new(),
            fields: pax::Fields::default(),
        }
    }

    /// Goes on to the next entry, past what was not read of this one; `false` at the end of the archive.
    pub(crate) fn next(&mut self, entry: &mut Entry) -> Result<bool, Error> {
        self.input.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        self.fields.clear();
        let mut before = Before::default();
        loop {
            let at = self.input.at();
            let wrong = |why| Error::Archive { at, why };
            let Some(block) = self.block()? else {
                if before.extended || before.name || before.link {
                    return Err(wrong(
                        "the archive ends behind an extended header".to_owned(),
                    ));
                }
                return Ok(false);
            };
            self.headers += 1;
            within(self.headers, self.limits.entries, || {
                "entries of the archive".to_owned()
            })?;
            let header = Header::parse(&block).map_err(wrong)?;
            match header.kind() {
                b'x' | b'g' | b'L' | b'K' => {
                    self.special(&header, &mut before, entry)
                        .map_err(|error| match error {
                            Refused::Why(why) => wrong(why),
                            Refused::Error(error) => error,
                        })?;
                }
                _ => {
                    self.fill(&header, &before, entry)?;
                    return Ok(true);
                }
            }
        }
    }

    /// Returns some more of the entry's stored data; nothing when it has all been read.
    pub(crate) fn data(&mut self) -> Result<&[u8], Error> {
        self.data_up_to(u64::MAX)
    }

    /// Returns some more of the entry's stored data, at most so much.
    pub(crate) fn data_up_to(&mut self, most: u64) -> Result<&[u8], Error> {
        let most = self.left.min(most);
        if most == 0 {
            return Ok(&[]);
        }
        let data = self.input.take(most)?;
        self.left -= data.len() as u64;
        Ok(data)
    }

    /// Returns how many headers and how many bytes of files there were.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.headers, self.unpacked)
    }

    /// Reads to the end of the stream, which may go on behind the archive, and returns its length and hash.
    pub(crate) fn finish(self) -> Result<(u64, [u8; 32]), Error> {
        self.input.finish()
    }

    /// Returns the next header; none at the end, which is two blocks of zeros. A stream that ends without them behind an entry is whole, too: Go's
    /// archive/tar, which other engines read layers with, takes it so, some programs write it so, and the digest tells whether something is missing.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let at = self.input.at();
        let Some(block) = self.input.block()? else {
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        match self.input.block()? {
            Some(second) if second != [0; BLOCK] => Err(Error::Archive {
                at,
                why: "a lone block of zeros: readers disagree whether this is the end".to_owned(),
            }),
            _ => Ok(None),
        }
    }

    /// Takes in a header that is about the next entry.
    fn special(
        &mut self,
        header: &Header<'_>,
        before: &mut Before,
        entry: &mut Entry,
    ) -> Result<(), Refused> {
        let kind = header.kind();
        let size = header.size()?;
        let what = match kind {
            b'x' | b'g' => "extended header",
            _ => "long name",
        };
        within(size, self.limits.extended, || {
            format!("bytes of an {what}").replace("an l", "a l")
        })?;
        let long = before.name || before.link;
        let disputed = match kind {
            // Some who add attributes write both. What both would say is not one thing to all readers, and some take the size for this header's.
            b'L' if before.extended => self.fields.names() || self.fields.size.is_some(),
            b'K' if before.extended => self.fields.link.is_some() || self.fields.size.is_some(),
            b'L' | b'K' => false,
            _ => before.extended || long,
        };
        if disputed {
            return Err(Refused::Why(
                format!("an {what} behind another header about the next entry: readers disagree what they mean")
                    .replace("an l", "a l"),
            ));
        }
        let into = match kind {
            b'L' => &mut entry.name,
            b'K' => &mut entry.link,
            _ => &mut self.extended,
        };
        into.clear();
        let mut left = size;
        while left > 0 {
            let data = self.input.take(left)?;
            into.extend_from_slice(data);
            left -= data.len() as u64;
        }
        self.input.skip(padding(size))?;
        match kind {
            b'x' => {
                before.extended = true;
                self.fields.parse(&self.extended)?;
            }
            b'g' => pax::check_global(&self.extended)?,
            _ => {
                let seen = if kind == b'L' {
                    &mut before.name
                } else {
                    &mut before.link
                };
                let len = header::text(into).len();
                if len == 0 || std::mem::replace(seen, true) {
                    return Err(Refused::Why(
                        "a long name that is empty or given twice".to_owned(),
                    ));
                }
                into.truncate(len);
            }
        }
        Ok(())
    }

    /// Fills the entry from its header and from what came before it.
    fn fill(
        &mut self,
        header: &Header<'_>,
        before: &Before,
        entry: &mut Entry,
    ) -> Result<(), Error> {
        let fields = &mut self.fields;
        let sparse_name = fields
            .sparse
            .as_ref()
            .and_then(|sparse| sparse.name.clone());
        if let Some(path) = sparse_name.or_else(|| fields.path.clone()) {
            entry.name.clear();
            entry.name.extend_from_slice(&self.extended[path]);
        } else if !before.name {
            entry.name.clear();
            header.name(&mut entry.name);
        }
        if let Some(link) = &fields.link {
            entry.link.clear();
            entry.link.extend_from_slice(&self.extended[link.clone()]);
        } else if !before.link {
            entry.link.clear();
            entry.link.extend_from_slice(header.link());
        }
        std::mem::swap(&mut entry.xattrs, &mut fields.xattrs);
        let wrong = |why| Error::entry(&entry.name, "header", why);
        entry.kind = kind(header, &entry.name).map_err(wrong)?;
        entry.mode = header.mode().map_err(wrong)?;
        entry.uid = header::or(fields.uid, || header.uid()).map_err(wrong)?;
        entry.gid = header::or(fields.gid, || header.gid()).map_err(wrong)?;
        entry.mtime = header::or(fields.mtime, || header.mtime()).map_err(wrong)?;
        entry.device = match entry.kind {
            Kind::Char | Kind::Block => header.device().map_err(wrong)?,
            _ => (0, 0),
        };
        // Of a link some programs write the size of the file that it leads to, of a directory that of its inode: there are no data behind these.
        let stored = match entry.kind {
            Kind::File => header
                .size()
                .and_then(|size| header::size(size, fields))
                .map_err(wrong)?,
            _ => 0,
        };
        within(entry.xattrs.len() as u64, self.limits.xattrs, || {
            format!("entry {}: extended attributes", quote(&entry.name))
        })?;
        // Else it would fill the disk first, and be found to be short then.
        within(self.input.at().saturating_add(stored), self.most, || {
            format!(
                "entry {}: bytes of the archive up to its end",
                quote(&entry.name)
            )
        })?;
        (self.left, self.padding) = (stored, padding(stored));
        entry.size = stored;
        self.expand(header, stored, entry)?;
        self.unpacked = self.unpacked.saturating_add(entry.size);
        within(self.unpacked, self.limits.bytes, || {
            format!("entry {}: bytes of all files", quote(&entry.name))
        })?;
        self.holes = self
            .holes
            .saturating_add(entry.size.saturating_sub(self.left));
        within(self.holes, self.limits.holes, || {
            format!("entry {}: bytes of holes in all files", quote(&entry.name))
        })
    }

    /// Learns where the data of a sparse file belong to.
    fn expand(&mut self, header: &Header<'_>, stored: u64, entry: &mut Entry) -> Result<(), Error> {
        entry.pieces = None;
        let old = header.kind() == b'S';
        let extended = self.fields.sparse.take();
        if !old && extended.is_none() {
            return Ok(());
        }
        let name = &entry.name;
        let wrong = |why| Error::entry(name, "sparse file", why);
        if entry.kind != Kind::File || old && extended.is_some() {
            return Err(wrong(
                "its header and its extended header disagree".to_owned(),
            ));
        }
        let (size, pieces) = match extended {
            None => self.old_map(header, name)?,
            Some(mut sparse) => {
                let size = sparse
                    .size
                    .ok_or_else(|| wrong("its size is missing".to_owned()))?;
                if sparse.format().map_err(wrong)? == sparse::Format::Leading {
                    let (pieces, most) = (&mut sparse.pieces, self.limits.extended);
                    self.left -= sparse::leading(&mut self.input, stored, most, name, pieces)?;
                }
                (size, sparse.pieces)
            }
        };
        sparse::check(&pieces, size, self.left).map_err(wrong)?;
        entry.size = size;
        entry.pieces = Some(pieces);
        Ok(())
    }

    /// Reads the map of an old GNU sparse file, which goes on in blocks of its own.
    fn old_map(&mut self, header: &Header<'_>, name: &[u8]) -> Result<(u64, Vec<Piece>), Error> {
        let wrong = |why| Error::entry(name, "sparse file", why);
        let (first, mut more, size) = header.sparse();
        let mut pieces = Vec::new();
        sparse::fields(first, &mut pieces).map_err(wrong)?;
        let mut read = 0;
        while more {
            read += BLOCK as u64;
            within(read, self.limits.extended, || {
                format!("entry {}: bytes of the map of a sparse file", quote(name))
            })?;
            let Some(block) = self.input.block()? else {
                return Err(wrong("the stream ends in its map".to_owned()));
            };
            sparse::fields(&block[..504], &mut pieces).map_err(wrong)?;
            more = block[504] != 0;
        }
        Ok((size.map_err(wrong)?, pieces))
    }
}

impl<R> fmt::Debug for Archive<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

/// A reason that still needs its place, or a whole error.
enum Refused {
    Why(String),
    Error(Error),
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Why(why)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Returns how many bytes fill the last block.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK as u64) - size
}

/// Returns what a header stands for. Files whose name ends in a slash were directories once, when there was no letter for those.
fn kind(header: &Header<'_>, name: &[u8]) -> Result<Kind, String> {
    let slash = name.ends_with(b"/");
    match header.kind() {
        0 if slash => Ok(Kind::Directory),
        b'0' | b'7' if slash => {
            Err("a file whose name ends in a slash: readers disagree what it is".to_owned())
        }
        0 | b'0' | b'7' => Ok(Kind::File),
        b'S' if header.dialect == Dialect::Gnu => Ok(Kind::File),
        b'1' => Ok(Kind::Link),
        b'2' => Ok(Kind::Symlink),
        b'3' => Ok(Kind::Char),
        b'4' => Ok(Kind::Block),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        other => Err(format!("type {:?} is not known", char::from(other))),
    }
}
