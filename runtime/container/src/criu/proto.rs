//! Protocol buffers, as far as criu's messages need them: fields of numbers, of strings and of messages.
//!
//! The wire format is <https://protobuf.dev/programming-guides/encoding/>. Every field is its number and its form in one variable-length
//! integer, followed by such an integer (form 0) or by a length and that many bytes (form 2); forms 1 and 5 are of fixed size and
//! are skipped. Unknown fields are skipped as well.

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn number(&mut self, field: u64, value: u64) -> &mut Self {
        self.varint(field << 3 | VARINT);
        self.varint(value);
        self
    }

    /// Writes a switch that is on; one that is off is left out, which means the same.
    pub fn switch(&mut self, field: u64, on: bool) -> &mut Self {
        if on { self.number(field, 1) } else { self }
    }

    /// Writes a string; criu takes paths as the kernel has them, which need not be UTF-8.
    pub fn text(&mut self, field: u64, text: &(impl AsRef<[u8]> + ?Sized)) -> &mut Self {
        let text = text.as_ref();
        self.varint(field << 3 | BYTES);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text);
        self
    }

    pub fn message(&mut self, field: u64, message: &Self) -> &mut Self {
        self.varint(field << 3 | BYTES);
        self.varint(message.0.len() as u64);
        self.0.extend_from_slice(&message.0);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }
}

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Value<'_> {
    pub fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    pub fn text(self) -> String {
        match self {
            Self::Number(_) => String::new(),
            Self::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

/// Returns the fields of a message in their order, or `None` where the bytes are no message.
pub fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        match key & 7 {
            VARINT => fields.push((key >> 3, Value::Number(varint(&mut bytes)?))),
            BYTES => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                fields.push((key >> 3, Value::Bytes(take(&mut bytes, length)?)));
            }
            FIXED64 => drop(take(&mut bytes, 8)?),
            FIXED32 => drop(take(&mut bytes, 4)?),
            _ => return None,
        }
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    // Ten times seven bits hold every number of 64.
    for shift in (0..70).step_by(7) {
        let byte = *take(bytes, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut inner = Message::default();
        inner.text(1, "pipe:[7]").number(2, 300);
        let mut outer = Message::default();
        outer
            .number(1, 2)
            .switch(3, false)
            .switch(4, true)
            .message(27, &inner);
        // By hand, from the encoding's description: 27 << 3 | 2 is 218, which takes two bytes.
        let mut want = vec![0x08, 2, 0x20, 1, 0xda, 0x01, 13, 0x0a, 8];
        want.extend_from_slice(b"pipe:[7]");
        want.extend_from_slice(&[0x10, 0xac, 0x02]);
        assert_eq!(outer.bytes(), want);
        let read = fields(outer.bytes()).expect("a message");
        assert_eq!(read.len(), 3);
        assert_eq!(read[0], (1, Value::Number(2)));
        let Value::Bytes(bytes) = read[2].1 else {
            panic!("no bytes: {read:?}");
        };
        let inner = fields(bytes).expect("a message");
        assert_eq!(inner[0].1.text(), "pipe:[7]");
        assert_eq!(inner[1].1.number(), 300);
    }

    #[test]
    fn broken_bytes_are_no_message() {
        let check = |bytes: &[u8], fine: bool| assert_eq!(fields(bytes).is_some(), fine);
        check(&[], true);
        check(&[0x08], false);
        check(&[0x0a, 5, 1], false);
        check(
            &[
                0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ],
            false,
        );
        check(&[0x80; 11], false);
        check(&[0x0b], false);
        // Fixed sizes are skipped.
        check(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x0d, 1, 2, 3, 4], true);
    }
}
