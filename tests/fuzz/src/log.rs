//! Messages as lines of a log.

use orlop::log::{Format, line, one_line};

const TIME: &str = "2026-11-21T00:00:00Z";

/// Of a message; more of it only takes longer.
const MOST: usize = 300;

pub(crate) fn run(bytes: &[u8]) {
    let given = String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]);
    let message = one_line(&given);
    // What a configuration says must not look like a message of ours, nor talk to the terminal.
    assert!(!message.contains(char::is_control), "{message:?}");
    assert_eq!(one_line(&message), message);
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).count();
    assert!(letters(&message) >= letters(&given), "a word is lost");
    // One of them for each input: they do not differ otherwise.
    let level = ["debug", "warning", "error"][bytes.len() % 3];
    let text = line(Format::Text, level, &message, TIME);
    assert!(!text.contains('\n'), "{text:?}");
    let quoted = text.split_once(" msg=").expect("a message").1;
    let plain = unquoted(quoted);
    assert_eq!(plain.as_deref(), Some(message.as_str()), "{text}");
    let json = line(Format::Json, level, &message, TIME);
    assert!(!json.contains('\n'), "{json:?}");
    let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&read["msg"], &read["level"]),
        (&message.clone().into(), &level.into())
    );
}

/// Undoes the escapes of Rust's `Debug`; `None` where the text is not one string.
fn unquoted(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut plain = String::new();
    while let Some(c) = rest.next() {
        plain.push(match c {
            '"' => return None,
            '\\' => match rest.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'u' => {
                    let hex: String = rest.by_ref().take_while(|c| *c != '}').collect();
                    char::from_u32(u32::from_str_radix(hex.strip_prefix('{')?, 16).ok()?)?
                }
                c => c,
            },
            c => c,
        });
    }
    Some(plain)
}
