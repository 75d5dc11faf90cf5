//! D-Bus values and their types (D-Bus specification, "Type System"), but for dictionaries, which nothing here needs.

use std::fmt;

/// A complete type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// One letter of `ybnqiuxtdsogh`.
    Basic(u8),
    Variant,
    Array(Box<Type>),
    Struct(Vec<Type>),
}

/// The longest signature.
const LONGEST: usize = 255;

/// How deep arrays and structs may lie in each other; the specification allows 32 of each.
pub(crate) const DEPTH: usize = 32;

impl Type {
    /// Parses a signature of any number of complete types.
    pub(crate) fn parse_all(signature: &str) -> Option<Vec<Self>> {
        let mut rest = signature.as_bytes();
        let mut types = Vec::new();
        // The length of a signature travels in one byte.
        if rest.len() > LONGEST {
            return None;
        }
        while !rest.is_empty() {
            types.push(Self::take(&mut rest, DEPTH)?);
        }
        Some(types)
    }

    /// Parses a signature of exactly one complete type.
    pub(crate) fn parse(signature: &str) -> Option<Self> {
        let mut types = Self::parse_all(signature)?;
        types.pop().filter(|_| types.is_empty())
    }

    fn take(rest: &mut &[u8], depth: usize) -> Option<Self> {
        let (first, after) = rest.split_first()?;
        *rest = after;
        let deeper = depth.checked_sub(1);
        Some(match first {
            b'v' => Self::Variant,
            b'a' => Self::Array(Box::new(Self::take(rest, deeper?)?)),
            b'(' => {
                let mut fields = Vec::new();
                while rest.first()? != &b')' {
                    fields.push(Self::take(rest, deeper?)?);
                }
                *rest = &rest[1..];
                Some(fields)
                    .filter(|fields| !fields.is_empty())
                    .map(Self::Struct)?
            }
            letter if b"ybnqiuxtdsogh".contains(letter) => Self::Basic(*letter),
            _ => return None,
        })
    }

    /// Returns what a value of this type begins at a multiple of.
    pub(crate) fn alignment(&self) -> usize {
        match self {
            Self::Struct(_) | Self::Basic(b'x' | b't' | b'd') => 8,
            Self::Basic(b'n' | b'q') => 2,
            Self::Basic(b'y' | b'g') | Self::Variant => 1,
            Self::Basic(_) | Self::Array(_) => 4,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(letter) => write!(f, "{}", char::from(*letter)),
            Self::Variant => f.write_str("v"),
            Self::Array(element) => write!(f, "a{element}"),
            Self::Struct(fields) => {
                f.write_str("(")?;
                fields.iter().try_for_each(|field| field.fmt(f))?;
                f.write_str(")")
            }
        }
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    String(String),
    ObjectPath(String),
    Signature(String),
    /// The index of a descriptor that travels beside the message.
    Handle(u32),
    /// The type of the elements, which all of them have.
    Array(Type, Vec<Value>),
    Struct(Vec<Value>),
    Variant(Box<Value>),
}

impl Value {
    /// Makes an array of strings.
    pub(crate) fn strings<S: Into<String>>(list: impl IntoIterator<Item = S>) -> Self {
        let list = list.into_iter().map(|text| Self::String(text.into()));
        Self::Array(Type::Basic(b's'), list.collect())
    }

    /// Makes an array of bytes.
    pub(crate) fn bytes(list: impl IntoIterator<Item = u8>) -> Self {
        Self::Array(
            Type::Basic(b'y'),
            list.into_iter().map(Self::Byte).collect(),
        )
    }

    /// Whether it can be sent in a variant: its signature, and those of all variants in it, are neither longer nor deeper than one may be.
    pub(crate) fn can_travel(&self) -> bool {
        let within = match self {
            Self::Variant(inner) => inner.can_travel(),
            Self::Array(_, list) | Self::Struct(list) => list.iter().all(Self::can_travel),
            _ => true,
        };
        within && Type::parse(&self.kind().to_string()).is_some()
    }

    #[must_use]
    pub(crate) fn kind(&self) -> Type {
        Type::Basic(match self {
            Self::Byte(_) => b'y',
            Self::Bool(_) => b'b',
            Self::Int16(_) => b'n',
            Self::Uint16(_) => b'q',
            Self::Int32(_) => b'i',
            Self::Uint32(_) => b'u',
            Self::Int64(_) => b'x',
            Self::Uint64(_) => b't',
            Self::Double(_) => b'd',
            Self::String(_) => b's',
            Self::ObjectPath(_) => b'o',
            Self::Signature(_) => b'g',
            Self::Handle(_) => b'h',
            Self::Variant(_) => return Type::Variant,
            Self::Array(element, _) => return Type::Array(Box::new(element.clone())),
            Self::Struct(fields) => {
                return Type::Struct(fields.iter().map(Self::kind).collect());
            }
        })
    }
}

/// Reads a value as [`Value`]'s `Display` writes it; the error says what was expected where.
impl std::str::FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        super::text::parse(text)
    }
}

/// Values are shown in GVariant's text format, with a type wherever a number or an empty array does not tell it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(n) => write!(f, "byte {n}"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int16(n) => write!(f, "int16 {n}"),
            Self::Uint16(n) => write!(f, "uint16 {n}"),
            Self::Int32(n) => write!(f, "{n}"),
            Self::Uint32(n) => write!(f, "uint32 {n}"),
            Self::Int64(n) => write!(f, "int64 {n}"),
            Self::Uint64(n) => write!(f, "uint64 {n}"),
            Self::Double(n) if n.is_nan() => f.write_str("double nan"),
            Self::Double(n) => write!(f, "double {n:?}"),
            Self::String(text) => quoted(f, text),
            Self::ObjectPath(text) => write!(f, "objectpath ").and_then(|()| quoted(f, text)),
            Self::Signature(text) => write!(f, "signature ").and_then(|()| quoted(f, text)),
            Self::Handle(n) => write!(f, "handle {n}"),
            Self::Variant(inner) => write!(f, "<{inner}>"),
            Self::Array(element, list) => {
                if list.is_empty() {
                    write!(f, "@a{element} ")?;
                }
                listed(f, "[", list, "]")
            }
            Self::Struct(fields) if fields.len() == 1 => listed(f, "(", fields, ",)"),
            Self::Struct(fields) => listed(f, "(", fields, ")"),
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, open: &str, list: &[Value], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, value) in list.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        write!(f, "{value}")?;
    }
    f.write_str(close)
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\'' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}
