//! D-Bus messages as a peer may send them.

use cgroup::Value;
use cgroup::bus::message::{Kind, Message, PRELUDE};

/// More than any message may hold; a peer cannot make us keep more than a multiple of what it sends.
const MOST: usize = 64 * 1024;

pub(crate) fn run(bytes: &[u8]) {
    let size = bytes.first_chunk::<PRELUDE>().map(Message::size);
    let message = match Message::decode(bytes) {
        Ok(message) => message,
        Err(why) => return assert!(!why.is_empty()),
    };
    assert_eq!(size, Some(Ok(bytes.len())));
    if message.kind == Kind::Unknown || bytes.len() > MOST {
        return;
    }
    let Ok(arguments) = message.arguments() else {
        return;
    };
    assert!(
        arguments.iter().map(count).sum::<usize>() <= bytes.len() + 1,
        "more values than bytes"
    );
    let mut ours = Message::call(message.fields.clone(), &arguments);
    ours.kind = message.kind;
    ours.serial = message.serial;
    let written = ours.encode();
    let read = Message::decode(&written).expect("what we have written");
    assert_eq!(
        (read.kind, read.serial, &read.fields),
        (message.kind, message.serial, &message.fields)
    );
    // By their bytes: a number that is none equals nothing.
    let again = Message::call(read.fields.clone(), &read.arguments().expect("our own"));
    let body = |message: &Message| message.encode();
    assert_eq!(
        body(&Message::call(ours.fields.clone(), &arguments)),
        body(&again)
    );
    // Arguments have one form only: padding is zero, and a length counts what is there.
    if bytes[0] == b'l' {
        let body = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        let from = |bytes: &[u8]| bytes.len() - usize::try_from(body).expect("a size");
        assert!(written[from(&written)..] == bytes[from(bytes)..]);
    }
    arguments.iter().for_each(written_and_read);
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(_, list) | Value::Struct(list) => list.iter().map(count).sum(),
        Value::Variant(inner) => count(inner),
        _ => 0,
    }
}

/// The text of a value is read as the same value, as far as the text's form goes as deep as the wire's.
pub(crate) fn written_and_read(value: &Value) {
    let text = value.to_string();
    match text.parse::<Value>() {
        Ok(read) => assert_eq!(read.to_string(), text),
        Err(why) => assert!(
            why.contains("too deep") || has_odd_text(value),
            "{text}: {why}"
        ),
    }
}

/// Whether a path is none, which the wire does not look at.
fn has_odd_text(value: &Value) -> bool {
    match value {
        Value::ObjectPath(path) => !path.starts_with('/'),
        Value::Signature(text) => !text.is_empty(),
        Value::Array(_, list) | Value::Struct(list) => list.iter().any(has_odd_text),
        Value::Variant(inner) => has_odd_text(inner),
        _ => false,
    }
}
