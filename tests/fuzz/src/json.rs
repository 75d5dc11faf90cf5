//! Changes of JSON that leave it JSON: of single bytes most break it.

use serde_json::{Value, json};

/// xorshift64*: the seed is libFuzzer's.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u32) -> Self {
        Self(u64::from(seed) << 1 | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).expect("31 bits") % limit
    }
}

/// Returns a changed text of at most `most` bytes; `None` where there is no JSON to change, or it became too long.
#[must_use]
pub fn mutate(bytes: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let mut random = Random::new(seed);
    for _ in 0..=random.below(3) {
        let donor = pick(&value, &mut random).clone();
        change(&mut value, donor, &mut random);
    }
    let text = serde_json::to_vec(&value).ok()?;
    (text.len() <= most).then_some(text)
}

/// Returns a text with a part of another in it, at the place that it has there; `None` as above.
#[must_use]
pub fn cross(bytes: &[u8], other: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let other: Value = serde_json::from_slice(other).ok()?;
    let mut random = Random::new(seed);
    for _ in 0..=random.below(3) {
        lay(&mut value, &other, &mut random);
    }
    let text = serde_json::to_vec(&value).ok()?;
    (text.len() <= most).then_some(text)
}

/// Goes down in both documents at once, as long as they are alike, and puts what is found in the one into the other.
fn lay(value: &mut Value, other: &Value, random: &mut Random) {
    let deeper = random.below(4) != 0;
    match (value, other) {
        (Value::Object(map), Value::Object(others)) if !others.is_empty() => {
            let index = random.below(others.len());
            let Some((key, found)) = others.iter().nth(index) else {
                return;
            };
            match map.get_mut(key) {
                Some(inner) if deeper => lay(inner, found, random),
                _ => drop(map.insert(key.clone(), found.clone())),
            }
        }
        (Value::Array(list), Value::Array(others)) if !others.is_empty() => {
            let found = &others[random.below(others.len())];
            if deeper && !list.is_empty() {
                let index = random.below(list.len());
                lay(&mut list[index], found, random);
            } else {
                list.push(found.clone());
            }
        }
        (value, other) => *value = other.clone(),
    }
}

/// Returns a value somewhere in a document.
fn pick<'a>(value: &'a Value, random: &mut Random) -> &'a Value {
    let inner: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => return value,
    };
    if inner.is_empty() || random.below(6) == 0 {
        return value;
    }
    pick(inner[random.below(inner.len())], random)
}

/// Changes one place.
fn change(value: &mut Value, donor: Value, random: &mut Random) {
    let deeper = random.below(6) != 0;
    match value {
        Value::Array(list) if deeper && !list.is_empty() => {
            let index = random.below(list.len());
            match random.below(8) {
                0 => drop(list.remove(index)),
                1 => list.push(list[index].clone()),
                2 => list.swap(0, index),
                _ => change(&mut list[index], donor, random),
            }
        }
        Value::Object(map) if deeper && !map.is_empty() => {
            let index = random.below(map.len());
            let key = map.keys().nth(index).cloned().unwrap_or_default();
            match random.below(12) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(key + "x", donor)),
                _ => {
                    if let Some(inner) = map.get_mut(&key) {
                        change(inner, donor, random);
                    }
                }
            }
        }
        leaf => *leaf = another(leaf, donor, random),
    }
}

/// Returns something else in the place of a value.
fn another(value: &Value, donor: Value, random: &mut Random) -> Value {
    const NUMBERS: [i64; 12] = [
        0,
        1,
        -1,
        2,
        7,
        64,
        65535,
        65536,
        4_294_967_295,
        4_294_967_296,
        i64::MAX,
        i64::MIN,
    ];
    const TEXTS: [&str; 10] = [
        "",
        "/",
        "..",
        "/a/../../b",
        "a\nb",
        "-1",
        "max",
        "0-3,5",
        "a:b:c",
        "é\u{0}",
    ];
    match (random.below(6), value) {
        (0, _) => donor,
        (1, Value::Number(n)) => n
            .as_i64()
            .map_or(json!(u64::MAX), |n| json!(n.wrapping_add(1))),
        (2, Value::Number(n)) => n
            .as_i64()
            .map_or(json!(0), |n| json!(n ^ 1 << random.below(63))),
        (_, Value::Number(_)) => json!(NUMBERS[random.below(NUMBERS.len())]),
        (_, Value::Bool(b)) => json!(!b),
        (1, Value::String(text)) => json!(format!("{text}/..")),
        (2, Value::String(text)) => json!(text.chars().rev().collect::<String>()),
        (3, Value::String(text)) => json!(text.chars().skip(1).collect::<String>()),
        (_, Value::String(text)) => {
            let mut letters: Vec<char> = text.chars().collect();
            let at = random.below(letters.len() + 1);
            let new = TEXTS[random.below(TEXTS.len())];
            letters.splice(at..at, new.chars());
            json!(letters.into_iter().collect::<String>())
        }
        (1, _) => Value::Null,
        (2, _) => json!([]),
        (3, _) => json!({}),
        _ => json!(TEXTS[random.below(TEXTS.len())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json() {
        let text = br#"{"a": [1, 2, {"b": "c"}], "d": true, "e": "f"}"#;
        let mut texts = std::collections::BTreeSet::new();
        for seed in 0..2000 {
            let changed = mutate(text, 200, seed).unwrap_or_default();
            assert!(changed.is_empty() || serde_json::from_slice::<Value>(&changed).is_ok());
            texts.insert(changed);
        }
        assert!(texts.len() > 500, "only {} different texts", texts.len());
        assert_eq!(mutate(b"{", 200, 1), None);
    }

    #[test]
    fn parts_of_another_come_to_the_same_place() {
        let (one, other) = (
            br#"{"a": {"b": 1}, "l": []}"#,
            br#"{"a": {"c": [2]}, "l": [3]}"#,
        );
        let texts: std::collections::BTreeSet<_> = (0..200)
            .map(|seed| cross(one, other, 200, seed).expect("it is short"))
            .collect();
        for want in [
            r#"{"a":{"b":1,"c":[2]},"l":[]}"#,
            r#"{"a":{"b":1},"l":[3]}"#,
        ] {
            assert!(texts.contains(want.as_bytes()), "{want}");
        }
        assert_eq!(cross(one, b"{", 200, 1), None);
        assert_eq!(cross(one, other, 5, 1), None);
    }
}
