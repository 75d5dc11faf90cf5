//! D-Bus values as bytes (D-Bus specification, "Marshaling"). Pure; what a peer sends is believed in nothing.
//!
//! Every value begins at a multiple of its alignment, counted from the beginning of the message or of its body; both begin at
//! a multiple of 8, so that one counter serves. Numbers are in the byte order that the message's first byte names.

use super::value::{DEPTH, Type, Value};

/// Why bytes are no message.
pub(crate) type Malformed = &'static str;

/// The byte order of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// The longest array that the specification allows.
const LONGEST_ARRAY: usize = 1 << 26;

/// Appends a value, in little-endian order; `out` begins at a multiple of 8 of its message.
pub(crate) fn write(out: &mut Vec<u8>, value: &Value) {
    pad(out, value.kind().alignment());
    match value {
        Value::Byte(n) => out.push(*n),
        Value::Bool(b) => out.extend(u32::from(*b).to_le_bytes()),
        Value::Int16(n) => out.extend(n.to_le_bytes()),
        Value::Uint16(n) => out.extend(n.to_le_bytes()),
        Value::Int32(n) => out.extend(n.to_le_bytes()),
        Value::Uint32(n) | Value::Handle(n) => out.extend(n.to_le_bytes()),
        Value::Int64(n) => out.extend(n.to_le_bytes()),
        Value::Uint64(n) => out.extend(n.to_le_bytes()),
        Value::Double(n) => out.extend(n.to_le_bytes()),
        Value::String(text) | Value::ObjectPath(text) => {
            out.extend(length(text.len()).to_le_bytes());
            out.extend(text.bytes());
            out.push(0);
        }
        Value::Signature(text) => signature(out, text),
        Value::Variant(inner) => {
            signature(out, &inner.kind().to_string());
            write(out, inner);
        }
        Value::Struct(fields) => fields.iter().for_each(|field| write(out, field)),
        Value::Array(element, list) => {
            let place = out.len();
            out.extend([0; 4]);
            // The length does not count the padding before the first element.
            pad(out, element.alignment());
            let begin = out.len();
            list.iter().for_each(|value| write(out, value));
            let bytes = length(out.len() - begin).to_le_bytes();
            out[place..place + 4].copy_from_slice(&bytes);
        }
    }
}

/// A length as it travels. What we send is bounded by the size of a config.json, so the number is never cut.
pub(crate) fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn signature(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend(text.bytes());
    out.push(0);
}

pub(crate) fn pad(out: &mut Vec<u8>, alignment: usize) {
    out.resize(out.len().next_multiple_of(alignment), 0);
}

/// Reads values off bytes that begin at a multiple of 8 of their message.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    order: Order,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], order: Order) -> Self {
        Self {
            bytes,
            at: 0,
            order,
        }
    }

    /// Returns how far it has read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Reads one value of a type.
    pub(crate) fn value(&mut self, kind: &Type) -> Result<Value, Malformed> {
        self.within(kind, 2 * DEPTH)
    }

    fn within(&mut self, kind: &Type, depth: usize) -> Result<Value, Malformed> {
        let deeper = depth
            .checked_sub(1)
            .ok_or("values too deep in each other")?;
        self.align(kind.alignment())?;
        Ok(match kind {
            Type::Basic(letter) => self.basic(*letter)?,
            Type::Variant => {
                let inner = Type::parse(&self.signature()?).ok_or("a variant's signature")?;
                Value::Variant(Box::new(self.within(&inner, deeper)?))
            }
            Type::Struct(fields) => {
                let fields = fields.iter().map(|field| self.within(field, deeper));
                Value::Struct(fields.collect::<Result<_, _>>()?)
            }
            Type::Array(element) => {
                let length = self.length()?;
                if length > LONGEST_ARRAY {
                    return Err("an array too long");
                }
                self.align(element.alignment())?;
                let end = self.at + length;
                if end > self.bytes.len() {
                    return Err("an array longer than its message");
                }
                let mut list = Vec::new();
                // Every element takes a byte at least: a struct has a field, an array its length.
                while self.at < end {
                    list.push(self.within(element, deeper)?);
                }
                if self.at != end {
                    return Err("an array whose last element is cut");
                }
                Value::Array((**element).clone(), list)
            }
        })
    }

    fn basic(&mut self, letter: u8) -> Result<Value, Malformed> {
        Ok(match letter {
            b'y' => Value::Byte(self.fixed::<1>()?[0]),
            b'b' => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err("a boolean that is neither 0 nor 1"),
            },
            b'n' => Value::Int16(i16::from_le_bytes(self.fixed()?)),
            b'q' => Value::Uint16(u16::from_le_bytes(self.fixed()?)),
            b'i' => Value::Int32(i32::from_le_bytes(self.fixed()?)),
            b'u' => Value::Uint32(self.u32()?),
            b'x' => Value::Int64(i64::from_le_bytes(self.fixed()?)),
            b't' => Value::Uint64(u64::from_le_bytes(self.fixed()?)),
            b'd' => Value::Double(f64::from_le_bytes(self.fixed()?)),
            b'h' => Value::Handle(self.u32()?),
            b's' => Value::String(self.string()?),
            b'o' => Value::ObjectPath(self.string()?),
            b'g' => Value::Signature(self.signature()?),
            _ => return Err("a type that is none"),
        })
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.u32()?).map_err(|_| "a length beyond memory")
    }

    /// Takes the bytes of a number, turned into little-endian order.
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut bytes: [u8; N] = self
            .take(N)?
            .try_into()
            .map_err(|_| "a number that is cut")?;
        if self.order == Order::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn string(&mut self) -> Result<String, Malformed> {
        let length = self.length()?;
        self.text(length)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = self.take(1)?[0];
        self.text(usize::from(length))
    }

    fn text(&mut self, length: usize) -> Result<String, Malformed> {
        let bytes = self.take(length)?;
        if bytes.contains(&0) || self.take(1)? != [0] {
            return Err("a string with a NUL in it, or without one behind it");
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| "a string that is not UTF-8")
    }

    pub(crate) fn align(&mut self, alignment: usize) -> Result<(), Malformed> {
        let padding = self.at.next_multiple_of(alignment) - self.at;
        if self.take(padding)?.iter().any(|byte| *byte != 0) {
            return Err("padding that is not zero");
        }
        Ok(())
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count);
        let taken = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or("a message that is cut")?;
        self.at += count;
        Ok(taken)
    }
}
