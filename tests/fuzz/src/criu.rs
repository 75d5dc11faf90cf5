//! What criu answers: protocol buffers.

use container::criu::Response;
use container::criu::proto::{Message, Value, fields};

pub(crate) fn run(bytes: &[u8]) {
    let read = fields(bytes);
    let response = Response::parse(bytes);
    let Some(read) = read else {
        return assert_eq!(response, None);
    };
    let mut written = Message::default();
    for (field, value) in &read {
        match value {
            Value::Number(number) => written.number(*field, *number),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => written.text(*field, text),
                Err(_) => return,
            },
        };
    }
    assert_eq!(
        fields(written.bytes()),
        Some(read),
        "what is written is read back"
    );
    assert_eq!(Response::parse(written.bytes()), response);
    if let Some(response) = response {
        // As one number, of which every part has two digits.
        assert!(response.version < 100_000_000, "{response:?}");
        assert!(response.restored.is_none_or(|pid| pid >= 0), "{response:?}");
    }
}
