//! What the kernel, and a container's own files, say in lines: a table of mounts, a process, the interfaces of a network namespace, and
//! `/etc/passwd`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use container::launch::home;
use container::verbs::events::network_interfaces;
use sys::mountinfo::{self, Entry};
use sys::process::Stat;

pub(crate) fn run(bytes: &[u8]) {
    let mut parts = split(bytes).into_iter();
    let mut next = || parts.next().unwrap_or_default();
    mounts(next());
    process(next());
    interfaces(next());
    homes(next());
}

/// Not as text: names need not be any.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    const BETWEEN: &[u8] = b"\n--\n";
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(BETWEEN.len()).position(|part| part == BETWEEN) {
        parts.push(&rest[..at]);
        rest = &rest[at + BETWEEN.len()..];
    }
    parts.push(rest);
    parts
}

fn mounts(text: &[u8]) {
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty()).count();
    let Some(table) = mountinfo::parse(text) else {
        return;
    };
    assert_eq!(table.len(), lines, "a mount is lost");
    for entry in &table {
        let written = written(entry);
        let read = mountinfo::parse(&written);
        assert_eq!(
            read.as_deref(),
            Some(std::slice::from_ref(entry)),
            "{written:?}"
        );
    }
    // As many as a container may have, twice over; more only takes longer.
    for top in table.iter().map(|entry| entry.id).take(8) {
        below(&table, top);
    }
}

/// Every mount that hangs below another comes once, and behind the one that it hangs on.
fn below(table: &[Entry], top: u64) {
    let mut seen = vec![top];
    for entry in mountinfo::below(table, top) {
        assert!(seen.contains(&entry.parent), "{entry:?} before its parent");
        seen.push(entry.id);
    }
    let left = table
        .iter()
        .find(|entry| seen.contains(&entry.parent) && !seen.contains(&entry.id));
    assert_eq!(left, None, "left out");
}

/// A line as the kernel would print it.
fn written(entry: &Entry) -> Vec<u8> {
    let head = format!("{} {} {} ", entry.id, entry.parent, entry.device);
    let tail = format!(
        " {} shared:1 master:2 - {} none {}",
        entry.options, entry.kind, entry.settings
    );
    let paths = [escaped(&entry.root), escaped(&entry.point)];
    [head.as_bytes(), &paths.join(&b' '), tail.as_bytes()].concat()
}

fn escaped(path: &Path) -> Vec<u8> {
    let one = |byte: &u8| match byte {
        b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
        other => vec![*other],
    };
    path.as_os_str().as_bytes().iter().flat_map(one).collect()
}

/// The fields are those behind the name, whatever the name is.
fn process(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let read = Stat::parse(&text);
    let Some((_, fields)) = text.rsplit_once(')') else {
        return assert_eq!(read, None);
    };
    for name in ["x", "a) Z 1 (b", "(", ") ", "7 (a) R 1 2 3"] {
        assert_eq!(Stat::parse(&format!("7 ({name}){fields}")), read, "{name}");
    }
    let Some(stat) = read else { return };
    let words: Vec<&str> = fields.split_ascii_whitespace().collect();
    let number = |index: usize| words[index].trim_start_matches('+').parse::<u64>();
    assert_eq!(words[0].bytes().next(), Some(stat.state));
    assert_eq!((number(6), number(19)), (Ok(stat.flags), Ok(stat.start)));
}

/// No line makes more than one interface, and no number is another's.
fn interfaces(text: &[u8]) {
    let found = network_interfaces(text);
    assert!(found.len() <= text.split(|byte| *byte == b'\n').count());
    for interface in &found {
        let name = &interface.name;
        assert!(name != "lo" && !name.contains(['\n', ':']), "{name:?}");
        let received = [
            interface.rx_bytes,
            interface.rx_packets,
            interface.rx_errors,
            interface.rx_dropped,
        ];
        let sent = [
            interface.tx_bytes,
            interface.tx_packets,
            interface.tx_errors,
            interface.tx_dropped,
        ];
        let list = |numbers: [u64; 4]| numbers.map(|number| number.to_string()).join(" ");
        let line = format!(
            "Inter-| Receive\n face |bytes\n  {name}: {} 0 0 0 0 {} 0 0 0 0\n",
            list(received),
            list(sent)
        );
        let again = network_interfaces(line.as_bytes());
        assert_eq!(again, std::slice::from_ref(interface), "{line}");
    }
}

/// A home is `/` or what a line of its user says, and can be the value of a variable.
fn homes(text: &[u8]) {
    for uid in [0, 1, 1000, u32::MAX] {
        let home = home(text, uid);
        assert!(
            !home.is_empty() && !home.contains(['\0', '\n', ':']),
            "{home:?}"
        );
        let line = format!("new:x:{uid}:0::/new:/bin/sh\n");
        let first = [line.as_bytes(), text].concat();
        assert_eq!(self::home(&first, uid), "/new");
    }
}
