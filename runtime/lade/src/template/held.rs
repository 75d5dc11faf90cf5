//! A value at work: the data's own or one that was computed, with the type that docker has for it where that is known.

use std::borrow::Cow;
use std::ops::Deref;

use serde_json::Value;

use super::print::{kind, plain};
use super::shape::Shape;

/// A value of the data or of the template, or one that was computed.
#[derive(Debug, Clone)]
pub(super) struct Held<'v> {
    value: Cow<'v, Value>,
    shape: Option<&'static Shape>,
}

impl Deref for Held<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl<'v> Held<'v> {
    /// A value of somebody else's.
    pub(super) fn of(value: &'v Value, shape: Option<&'static Shape>) -> Self {
        let value = Cow::Borrowed(value);
        Self { value, shape }
    }

    /// A value that was computed.
    pub(super) fn made(value: impl Into<Value>) -> Self {
        let value = Cow::Owned(value.into());
        Self { value, shape: None }
    }

    /// What stands where nothing is given; of no type, nothing.
    fn zero(shape: Option<&'static Shape>) -> Self {
        let value = Cow::Owned(shape.map_or(Value::Null, Shape::zero));
        Self { value, shape }
    }

    /// What `{{value}}` prints.
    pub(super) fn shown(&self) -> String {
        match (self.shape, self.value.as_ref()) {
            (None, Value::Null) => "<no value>".to_owned(),
            (None, value) => plain(value),
            (Some(shape), value) => shape.text(value),
        }
    }

    /// What `%v` prints, and `print`, which shows that a pointer is one.
    pub(super) fn text(&self) -> String {
        match self.shape {
            Some(shape @ Shape::Pointer(_)) if !self.value.is_null() => {
                format!("&{}", shape.text(&self.value))
            }
            Some(shape) => shape.text(&self.value),
            None => plain(&self.value),
        }
    }

    /// Returns what `printf` fills in: where Go has another type than JSON, the text that it makes of it.
    pub(super) fn filled(&self, verb: char) -> Cow<'_, Value> {
        match self.shape {
            None | Some(Shape::Text | Shape::Truth | Shape::Number) => Cow::Borrowed(&self.value),
            Some(_) if "vs".contains(verb) => Cow::Owned(Value::from(self.text())),
            Some(_) => Cow::Borrowed(&self.value),
        }
    }

    /// Returns a member, by its name or place in the document.
    fn member(&self, get: impl Fn(&Value) -> Option<&Value>) -> Option<Cow<'v, Value>> {
        match &self.value {
            Cow::Borrowed(whole) => get(whole).map(Cow::Borrowed),
            Cow::Owned(whole) => get(whole).cloned().map(Cow::Owned),
        }
    }

    fn typed(&self, found: Option<Cow<'v, Value>>, shape: Option<&'static Shape>) -> Option<Self> {
        let value = found?;
        if value.is_null() && shape.is_some() {
            return Some(Self::zero(shape));
        }
        Some(Self { value, shape })
    }

    /// Returns what is at a name in an object, or at a place in a list.
    pub(super) fn at(&self, key: &Value) -> Option<Self> {
        let found = self.member(|whole| match key {
            Value::String(name) => whole.get(name),
            Value::Number(index) => whole.get(usize::try_from(index.as_u64()?).ok()?),
            _ => None,
        });
        self.typed(found, self.shape.and_then(Shape::inner))
    }

    /// Returns what `index` gives for a name that is not there.
    pub(super) fn absent(&self) -> Self {
        match (self.shape.and_then(Shape::inner), self.value.as_ref()) {
            (None, Value::Object(map)) if map.values().all(Value::is_string) => Self::made(""),
            (None, Value::Null) => Self::made(""),
            (shape, _) => Self::zero(shape),
        }
    }

    /// Returns a field. One that docker's type has is always there; a name that anybody may choose need not be.
    pub(super) fn field(&self, name: &str) -> Result<Self, String> {
        let shape = self.shape.map(Shape::direct);
        match (shape, self.value.as_ref()) {
            (Some(Shape::Struct(fields)), Value::Object(_)) => {
                let known = fields.iter().find(|(known, ..)| *known == name);
                let (_, key, shape) = known.ok_or_else(|| {
                    let names = fields.iter().map(|(name, ..)| *name);
                    format!("no field {name:?}; there are {}", some(names))
                })?;
                let found = self.member(|whole| whole.get(key));
                let found = self.typed(found, Some(shape));
                return Ok(found.unwrap_or_else(|| Self::zero(Some(shape))));
            }
            (Some(Shape::Map(_)), Value::Object(_) | Value::Null) => {
                let found = self.at(&Value::from(name));
                return Ok(found.unwrap_or_else(|| Self::made(Value::Null)));
            }
            _ => {}
        }
        let found = self.member(|whole| whole.as_object()?.get(name));
        self.typed(found, None).ok_or_else(|| {
            let what = match self.value.as_ref() {
                Value::Object(map) if map.is_empty() => "nothing is there".to_owned(),
                Value::Object(map) => {
                    format!("there are {}", some(map.keys().map(String::as_str)))
                }
                Value::Null => "there is nothing that could have it".to_owned(),
                other => format!("what should have it is {}", kind(other)),
            };
            format!("no field {name:?}; {what}")
        })
    }
}

/// Lists names, but not without end.
fn some<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 40;
    // Labels are somebody else's words.
    let mut names: Vec<String> = names.map(|name| name.escape_debug().to_string()).collect();
    names.sort_unstable();
    let more = if names.len() > MOST { ", ..." } else { "" };
    names.truncate(MOST);
    format!("{}{more}", names.join(", "))
}
