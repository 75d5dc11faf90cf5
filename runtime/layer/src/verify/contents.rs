//! A file's contents as one number, for which holes cost nothing.
//!
//! An archive of a few bytes can say of a file that it has a terabyte of zeros. So runs of zeros are counted and not hashed, by blocks that begin at
//! multiples of their size: the same whether a block is a hole, or zeros that somebody has written.

use sha2::{Digest as _, Sha256};

/// What files are stored in.
const BLOCK: usize = 4096;
/// What stands before a block's bytes, and before a count of blocks of zeros.
const BYTES: [u8; 1] = [1];
const ZEROS: [u8; 1] = [0];

/// Contents as they are read, from the first byte on.
#[derive(Debug, Default)]
pub(super) struct Contents {
    hash: Sha256,
    /// Blocks of zeros that the hash does not know of yet.
    zeros: u64,
    /// The beginning of a block.
    part: Vec<u8>,
}

impl Contents {
    pub(super) fn data(&mut self, mut bytes: &[u8]) {
        if !self.part.is_empty() {
            let some;
            (some, bytes) = bytes.split_at(bytes.len().min(BLOCK - self.part.len()));
            self.part.extend_from_slice(some);
            if self.part.len() < BLOCK {
                return;
            }
            let part = std::mem::take(&mut self.part);
            self.block(&part);
        }
        let mut blocks = bytes.chunks_exact(BLOCK);
        blocks.by_ref().for_each(|block| self.block(block));
        self.part.extend_from_slice(blocks.remainder());
    }

    pub(super) fn hole(&mut self, len: u64) {
        let zeros = [0; BLOCK];
        // The end of a block that has begun, then whole ones, then the beginning of another.
        let missing = BLOCK - self.part.len();
        let end = if self.part.is_empty() { 0 } else { missing };
        let end = usize::try_from(len).map_or(end, |len| end.min(len));
        self.data(&zeros[..end]);
        let rest = len - end as u64;
        let block = BLOCK as u64;
        self.zeros += rest / block;
        // Less than a block.
        let begin = usize::try_from(rest % block).unwrap_or_default();
        self.data(&zeros[..begin]);
    }

    pub(super) fn finish(mut self) -> [u8; 32] {
        let rest = std::mem::take(&mut self.part);
        if !rest.is_empty() {
            self.block(&rest);
        }
        self.count();
        self.hash.finalize().into()
    }

    fn block(&mut self, block: &[u8]) {
        if block == [0; BLOCK] {
            self.zeros += 1;
            return;
        }
        self.count();
        self.hash.update(BYTES);
        self.hash.update(block);
    }

    fn count(&mut self) {
        if self.zeros > 0 {
            self.hash.update(ZEROS);
            self.hash.update(self.zeros.to_le_bytes());
            self.zeros = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data of some length, or a hole.
    enum Part {
        Data(usize, u8),
        Hole(u64),
    }

    fn hash(parts: &[Part]) -> [u8; 32] {
        let mut contents = Contents::default();
        for part in parts {
            match part {
                Part::Data(len, byte) => contents.data(&vec![*byte; *len]),
                Part::Hole(len) => contents.hole(*len),
            }
        }
        contents.finish()
    }

    #[test]
    fn holes_are_zeros_however_they_come() {
        use Part::{Data, Hole};
        let whole = hash(&[Data(5000, 1), Data(20_000, 0), Data(3, 2)]);
        for parts in [
            &[Data(5000, 1), Hole(20_000), Data(3, 2)][..],
            &[
                Data(4096, 1),
                Data(904, 1),
                Hole(1),
                Hole(19_999),
                Data(1, 2),
                Data(2, 2),
            ],
            &[
                Data(1, 1),
                Data(4999, 1),
                Data(10, 0),
                Hole(9990),
                Data(10_000, 0),
                Data(3, 2),
            ],
            &[
                Data(5000, 1),
                Hole(3192),
                Hole(0),
                Hole(16_384),
                Hole(424),
                Data(3, 2),
            ],
        ] {
            assert_eq!(hash(parts), whole);
        }
        for other in [
            &[Data(5000, 1), Hole(20_001), Data(3, 2)][..],
            &[Data(5000, 1), Hole(20_000), Data(4, 2)],
            &[Data(5001, 1), Hole(19_999), Data(3, 2)],
            &[Data(5000, 1), Hole(20_000 + 4096), Data(3, 2)],
        ] {
            assert_ne!(hash(other), whole);
        }
        assert_eq!(
            hash(&[Hole(1 << 40)]),
            hash(&[Hole(1), Hole((1 << 40) - 1)])
        );
        assert_ne!(hash(&[Hole(4096)]), hash(&[Hole(8192)]));
    }
}
