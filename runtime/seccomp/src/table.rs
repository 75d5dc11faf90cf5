//! The system call numbers of every architecture, by name.
//!
//! `syscalls.tbl` is text that `hack/syscalls` writes. It becomes a hash table while this crate is compiled, without a single pointer in
//! it: nothing is relocated or parsed when the runtime starts, and one look-up answers for all architectures of a profile.

use crate::multiplex;

const TEXT: &[u8] = include_bytes!("syscalls.tbl");

/// Number of architectures in the table; `arch::Abi::column` says which is which.
pub(crate) const COLUMNS: usize = 14;

/// Stands for "this architecture has no such call": no kernel uses it, because -1 means "no call" to tracers.
pub(crate) const ABSENT: u32 = u32::MAX;

/// Twice the number of names, rounded up to a power of two: a look-up needs few probes.
const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    start: u16,
    length: u8,
    /// Which part of socketcall(2) or ipc(2) does the same on architectures that have those.
    pub(crate) part: multiplex::Part,
    pub(crate) numbers: [u32; COLUMNS],
}

struct Table {
    rows: [Row; ROWS],
    slots: [u16; SLOTS],
}

const ROWS: usize = lines() - 1; // the first line names the columns

static TABLE: Table = build();

/// Per architecture the numbers between which no call exists yet: after the newest one, up to the calls that stand apart (x32's old
/// numbers from 512 on, the private calls of arm) or to the end.
pub(crate) static UNUSED: [(u32, u32); COLUMNS] = unused();

/// Returns the line of a system call.
pub(crate) fn row(name: &str) -> Option<&'static Row> {
    let mut slot = hash(name.as_bytes());
    loop {
        let index = TABLE.slots[slot];
        if index == EMPTY {
            return None;
        }
        let row = &TABLE.rows[usize::from(index)];
        if spelled(row) == name.as_bytes() {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Returns all names of the table.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    // The table is ASCII: a name that is not UTF-8 cannot come out of it.
    TABLE
        .rows
        .iter()
        .map(|row| std::str::from_utf8(spelled(row)).unwrap_or_default())
}

fn spelled(row: &Row) -> &'static [u8] {
    let start = usize::from(row.start);
    &TEXT[start..start + usize::from(row.length)]
}

/// FNV-1a: short, and good enough for names that nobody can choose.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

const fn lines() -> usize {
    let mut count = 0;
    let mut at = 0;
    while at < TEXT.len() {
        count += (TEXT[at] == b'\n') as usize;
        at += 1;
    }
    count
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the text is shorter than 65536 bytes, a name than 256, and rows fit u16: asserted"
)]
const fn build() -> Table {
    assert!(TEXT.len() < 65536 && ROWS * 2 < SLOTS);
    let blank = Row {
        start: 0,
        length: 0,
        part: multiplex::Part::None,
        numbers: [ABSENT; COLUMNS],
    };
    let mut table = Table {
        rows: [blank; ROWS],
        slots: [EMPTY; SLOTS],
    };
    let mut at = after_line(0);
    let mut index = 0;
    while index < ROWS {
        let start = at;
        while TEXT[at] != b' ' {
            at += 1;
        }
        assert!(at - start < 256);
        let (_, name) = TEXT.split_at(start);
        let (name, _) = name.split_at(at - start);
        let row = Row {
            start: start as u16,
            length: (at - start) as u8,
            part: multiplex::part(name),
            numbers: numbers(at),
        };
        table.rows[index] = row;
        let mut slot = hash(name);
        while table.slots[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table.slots[slot] = index as u16;
        at = after_line(at);
        index += 1;
    }
    table
}

const fn after_line(mut at: usize) -> usize {
    while TEXT[at] != b'\n' {
        at += 1;
    }
    at + 1
}

/// Reads the columns that follow the space at `at`.
const fn numbers(mut at: usize) -> [u32; COLUMNS] {
    let mut numbers = [ABSENT; COLUMNS];
    let mut column = 0;
    while column < COLUMNS {
        assert!(TEXT[at] == b' ');
        at += 1;
        if TEXT[at] == b'-' {
            at += 1;
        } else {
            numbers[column] = 0;
            while TEXT[at].is_ascii_digit() {
                numbers[column] = numbers[column] * 10 + (TEXT[at] - b'0') as u32;
                at += 1;
            }
        }
        column += 1;
    }
    assert!(TEXT[at] == b'\n');
    numbers
}

const fn unused() -> [(u32, u32); COLUMNS] {
    // Calls stand apart when more than this many numbers lie between them and the newest ordinary call. The hole that every architecture
    // has below 424, where the numbers became the same everywhere, is larger, but ordinary calls follow it.
    const HOLE: u32 = 32;
    let table = build();
    let newest_everywhere = match newest_common(&table) {
        Some(row) => row.numbers,
        None => panic!("the table has no name that every architecture has"),
    };
    let mut unused = [(0, u32::MAX); COLUMNS];
    let mut column = 0;
    while column < COLUMNS {
        let newest = newest_everywhere[column];
        let mut apart = u32::MAX;
        let mut index = 0;
        while index < ROWS {
            let number = table.rows[index].numbers[column];
            assert!(number <= newest || number > newest + HOLE);
            if number > newest && number < apart {
                apart = number;
            }
            index += 1;
        }
        unused[column] = (newest + 1, apart);
        column += 1;
    }
    unused
}

/// The newest call: new ones get the same number on all architectures, so it is the highest among those that all of them have.
const fn newest_common(table: &Table) -> Option<Row> {
    let mut newest: Option<Row> = None;
    let mut index = 0;
    while index < ROWS {
        let row = table.rows[index];
        let mut column = 0;
        while column < COLUMNS && row.numbers[column] != ABSENT {
            column += 1;
        }
        let higher = match newest {
            Some(best) => row.numbers[0] > best.numbers[0],
            None => true,
        };
        if column == COLUMNS && higher {
            newest = Some(row);
        }
        index += 1;
    }
    newest
}
