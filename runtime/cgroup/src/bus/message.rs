//! D-Bus messages (D-Bus specification, "Message Format"):
//!
//! ```text
//! 0   order: 'l' or 'B'   type   flags   version: 1
//! 4   length of the body
//! 8   serial, which a reply names
//! 12  header fields: a(yv)
//!     padding to a multiple of 8, then the body
//! ```

use super::value::{Type, Value};
use super::wire::{self, Malformed, Order, Reader};

/// The longest body and the longest header that are read; what a manager says to us has some hundred bytes.
const LONGEST: (usize, usize) = (1 << 20, 1 << 16);

/// The fixed beginning, up to and with the length of the header fields.
pub const PRELUDE: usize = 16;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Call,
    Return,
    Error,
    Signal,
    /// A type that later versions of the protocol may have; to be ignored.
    Unknown,
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub kind: Kind,
    pub serial: u32,
    pub fields: Fields,
    order: Order,
    body: Vec<u8>,
}

/// The header fields that matter here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields {
    pub path: Option<String>,
    pub interface: Option<String>,
    pub member: Option<String>,
    pub error: Option<String>,
    pub reply_to: Option<u32>,
    pub destination: Option<String>,
    pub sender: Option<String>,
    pub signature: String,
}

impl Message {
    /// Makes a call of a method. Its serial is given by whoever sends it.
    pub fn call(fields: Fields, arguments: &[Value]) -> Self {
        Self::new(Kind::Call, fields, arguments)
    }

    fn new(kind: Kind, fields: Fields, arguments: &[Value]) -> Self {
        let mut body = Vec::new();
        arguments
            .iter()
            .for_each(|value| wire::write(&mut body, value));
        let signature = arguments
            .iter()
            .map(|value| value.kind().to_string())
            .collect();
        Self {
            kind,
            serial: 0,
            fields: Fields {
                signature,
                ..fields
            },
            order: Order::Little,
            body,
        }
    }

    /// Returns the bytes to send.
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Unknown => 0,
            Kind::Call => 1,
            Kind::Return => 2,
            Kind::Error => 3,
            Kind::Signal => 4,
        };
        let mut out = vec![b'l', kind, 0, 1];
        out.extend(wire::length(self.body.len()).to_le_bytes());
        out.extend(self.serial.to_le_bytes());
        wire::write(&mut out, &self.fields.encode());
        wire::pad(&mut out, 8);
        out.extend(&self.body);
        out
    }

    /// Returns how many bytes a message has, from its first [`PRELUDE`].
    pub fn size(prelude: &[u8; PRELUDE]) -> Result<usize, Malformed> {
        let order = order(prelude[0])?;
        if prelude[3] != 1 {
            return Err("a version of the protocol that is not 1");
        }
        let word = |at: usize| {
            let n = Reader::new(&prelude[at..at + 4], order).u32()?;
            usize::try_from(n).map_err(|_| "a length beyond memory")
        };
        let (body, fields) = (word(4)?, word(12)?);
        if body > LONGEST.0 || fields > LONGEST.1 {
            return Err("a message too long");
        }
        Ok((PRELUDE + fields).next_multiple_of(8) + body)
    }

    /// Reads exactly one message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let prelude = bytes.first_chunk().ok_or("a message that is cut")?;
        if Self::size(prelude)? != bytes.len() {
            return Err("a message of another length than it says");
        }
        let order = order(bytes[0])?;
        let kind = match bytes[1] {
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Unknown,
        };
        let mut reader = Reader::new(bytes, order);
        reader.take(8)?;
        let serial = reader.u32()?;
        let fields = Fields::decode(&mut reader)?;
        reader.align(8)?;
        Ok(Self {
            kind,
            serial,
            fields,
            order,
            body: bytes[reader.at()..].to_vec(),
        })
    }

    /// Reads the arguments.
    pub fn arguments(&self) -> Result<Vec<Value>, Malformed> {
        let types = Type::parse_all(&self.fields.signature).ok_or("a signature that is none")?;
        let mut reader = Reader::new(&self.body, self.order);
        let values = types
            .iter()
            .map(|kind| reader.value(kind))
            .collect::<Result<_, _>>()?;
        if reader.at() != self.body.len() {
            return Err("a body longer than its signature");
        }
        Ok(values)
    }
}

fn order(byte: u8) -> Result<Order, Malformed> {
    match byte {
        b'l' => Ok(Order::Little),
        b'B' => Ok(Order::Big),
        _ => Err("a byte order that is none"),
    }
}

impl Fields {
    fn encode(&self) -> Value {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let signature = Some(self.signature.clone()).filter(|text| !text.is_empty());
        let list = [
            (1, self.path.clone().map(Value::ObjectPath)),
            (2, text(&self.interface)),
            (3, text(&self.member)),
            (4, text(&self.error)),
            (5, self.reply_to.map(Value::Uint32)),
            (6, text(&self.destination)),
            (7, text(&self.sender)),
            (8, signature.map(Value::Signature)),
        ];
        let field = |(code, value): (u8, Option<Value>)| {
            let value = Value::Variant(Box::new(value?));
            Some(Value::Struct(vec![Value::Byte(code), value]))
        };
        let kind = Type::Struct(vec![Type::Basic(b'y'), Type::Variant]);
        Value::Array(kind, list.into_iter().filter_map(field).collect())
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let kind = Type::Array(Box::new(Type::Struct(vec![
            Type::Basic(b'y'),
            Type::Variant,
        ])));
        let Value::Array(_, list) = reader.value(&kind)? else {
            return Err("header fields");
        };
        let mut fields = Self::default();
        for field in list {
            let Value::Struct(mut parts) = field else {
                return Err("a header field");
            };
            let (Some(Value::Variant(value)), Some(Value::Byte(code))) = (parts.pop(), parts.pop())
            else {
                return Err("a header field");
            };
            match (code, *value) {
                (1, Value::ObjectPath(text)) => fields.path = Some(text),
                (2, Value::String(text)) => fields.interface = Some(text),
                (3, Value::String(text)) => fields.member = Some(text),
                (4, Value::String(text)) => fields.error = Some(text),
                (5, Value::Uint32(serial)) => fields.reply_to = Some(serial),
                (6, Value::String(text)) => fields.destination = Some(text),
                (7, Value::String(text)) => fields.sender = Some(text),
                (8, Value::Signature(text)) => fields.signature = text,
                (0..=8, _) => return Err("a header field of another type"),
                // Later versions of the protocol may have more.
                _ => {}
            }
        }
        Ok(fields)
    }
}
