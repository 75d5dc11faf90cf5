//! Values in GVariant's text format, as annotations carry them.

use cgroup::Value;
use cgroup::bus::message::{Fields, Message};

use crate::is_message;

pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let value = match text.parse::<Value>() {
        Ok(value) => value,
        Err(why) => return is_message(&why),
    };
    let written = value.to_string();
    let read: Value = written
        .parse()
        .unwrap_or_else(|why| panic!("{written}: {why}"));
    // With its types, which one text may leave open; and a number that is none equals nothing.
    assert_eq!(format!("{read:?}"), format!("{value:?}"), "{written}");
    assert!(!written.contains(['\n', '\0']), "{written:?}");
    // As it travels to systemd.
    let arguments = [Value::Variant(Box::new(value))];
    let message = Message::call(Fields::default(), &arguments).encode();
    let read = Message::decode(&message).and_then(|message| message.arguments());
    let read = read.unwrap_or_else(|why| panic!("{written}: {why}"));
    assert_eq!(read[0].to_string(), arguments[0].to_string());
}
