//! Which bytes of a blob under way are there: the file `have`.
//!
//! ```text
//! record := begin u64, end u64, check u64      little-endian; bytes begin..end of `data` were written
//! check  := (begin * 0x9e3779b97f4a7c15) ^ end.rotate_left(32) ^ 0x6c616465_68617665
//! ```
//!
//! A record is written after its bytes, and grows in place as the stream that it stands for goes on: the file has one for each stream.
//! A kill keeps what was written. A power cut may keep records and not their bytes, or half a record (which its check does not fit):
//! therefore whoever goes on hashes the whole at the end, and begins anew if it is wrong. What does not count is taken out of the file
//! before anything is written again: bytes at another place may make `data` as long as a lost record says.

use std::ops::Range;

pub(crate) const RECORD: usize = 24;

/// The records of one file, as they stand in it.
#[derive(Debug, Default)]
pub(crate) struct Spans(Vec<Range<u64>>);

impl Spans {
    /// Reads a file, for a blob of `size` bytes of which the file system has `written`. What does not count is left out.
    pub(crate) fn read(bytes: &[u8], size: u64, written: u64) -> Self {
        let most = size.min(written);
        let span = |record: &[u8]| {
            let word = |at: usize| {
                let bytes = record[at..at + 8].try_into();
                u64::from_le_bytes(bytes.expect("eight bytes of a record of 24"))
            };
            let (begin, end) = (word(0), word(8));
            let span = begin..end.min(most);
            (word(16) == check(begin, end) && !span.is_empty()).then_some(span)
        };
        Self(bytes.chunks_exact(RECORD).filter_map(span).collect())
    }

    /// Returns the file that has these spans.
    pub(crate) fn file(&self) -> Vec<u8> {
        self.0.iter().flat_map(record).collect()
    }

    /// Adds a span; returns the index of the record that it changed, and what to write there.
    pub(crate) fn add(&mut self, span: &Range<u64>) -> (usize, [u8; RECORD]) {
        let grown = self.0.iter().position(|known| known.end == span.start);
        let index = grown.unwrap_or(self.0.len());
        match grown {
            Some(index) => self.0[index].end = span.end,
            None => self.0.push(span.clone()),
        }
        (index, record(&self.0[index]))
    }

    /// Returns what is missing of `size` bytes, in order.
    pub(crate) fn missing(&self, size: u64) -> Vec<Range<u64>> {
        let mut known: Vec<_> = self.0.iter().collect();
        known.sort_by_key(|span| span.start);
        let mut missing = Vec::new();
        let mut reached = 0;
        for span in known {
            if span.start > reached {
                missing.push(reached..span.start.min(size));
            }
            reached = reached.max(span.end);
        }
        if reached < size {
            missing.push(reached..size);
        }
        missing
    }
}

fn record(span: &Range<u64>) -> [u8; RECORD] {
    let words = [span.start, span.end, check(span.start, span.end)];
    let mut record = [0; RECORD];
    for (place, word) in record.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    record
}

fn check(begin: u64, end: u64) -> u64 {
    begin.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ end.rotate_left(32) ^ 0x6c61_6465_6861_7665
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written, how long the file is, what is missing, how many records it takes.
    type Case<'a> = (&'a [Range<u64>], u64, &'a [Range<u64>], usize);

    fn file(spans: &[Range<u64>]) -> Vec<u8> {
        let mut written = Spans::default();
        let mut bytes = Vec::new();
        for span in spans {
            let (index, record) = written.add(span);
            let at = index * RECORD;
            bytes.resize(bytes.len().max(at + RECORD), 0);
            bytes[at..at + RECORD].copy_from_slice(&record);
        }
        bytes
    }

    #[test]
    fn what_was_written_is_not_missing() {
        #[expect(clippy::single_range_in_vec_init, reason = "lists of spans")]
        let cases: [Case<'_>; 7] = [
            (&[], 100, &[0..100], 0),
            (&[0..10, 10..25, 25..100], 100, &[], 1),
            (&[0..10, 50..60, 10..20, 60..70], 100, &[20..50, 70..100], 2),
            (&[0..10, 5..30], 100, &[30..100], 2),
            (&[40..100, 0..40], 100, &[], 2),
            // A file shorter than its records say: the rest was lost by a power cut.
            (&[0..100], 60, &[60..100], 1),
            (&[0..10, 90..100], 60, &[10..100], 2),
        ];
        for (spans, written, missing, records) in cases {
            let bytes = file(spans);
            assert_eq!(bytes.len(), records * RECORD, "{spans:?}");
            let read = Spans::read(&bytes, 100, written);
            assert_eq!(read.missing(100), missing, "{spans:?} of {written}");
        }
    }

    #[test]
    fn what_does_not_count_is_not_in_the_file_any_more() {
        let mut bytes = file(&[0..10, 20..30, 40..50, 60..90]);
        bytes[RECORD + 3] ^= 1;
        bytes.extend([7; 11]);
        let mut read = Spans::read(&bytes, 100, 70);
        assert_eq!(read.missing(100), [10..40, 50..60, 70..100]);
        assert_eq!(read.file(), file(&[0..10, 40..50, 60..70]));
        assert_eq!(read.add(&(50..60)).0, 1);
        assert_eq!(read.add(&(80..90)).0, 3);
    }
}
