//! Lists of small numbers, as the kernel writes sets of processors and memory nodes: `0-3,5`.

use serde::{Serialize, Serializer};

use super::Refusal;

/// Above what any kernel numbers; a bound, because the set is as long as its highest number.
const HIGHEST: usize = 65535;

/// A set of numbers, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    text: String,
    pub words: Vec<u64>,
}

impl Numbers {
    /// Parses a list; blanks around a part do not count.
    pub(super) fn parse(text: &str, at: &str) -> Result<Self, Refusal> {
        let refuse = |part: &str| {
            Refusal::new(
                at,
                format!(
                    "{part:?} is neither a number up to {HIGHEST} nor a range; write a list such as \"0-3,5\""
                ),
            )
        };
        let mut words = Vec::new();
        for part in text.split(',') {
            let (first, last) = range(part).ok_or_else(|| refuse(part))?;
            if words.len() <= last / 64 {
                words.resize(last / 64 + 1, 0);
            }
            (first..=last).for_each(|number| words[number / 64] |= 1 << (number % 64));
        }
        Ok(Self {
            text: text.to_string(),
            words,
        })
    }
}

fn range(part: &str) -> Option<(usize, usize)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|n| digits && *n <= HIGHEST)
    };
    let part = part.trim();
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn lists_of_numbers() {
        let check = |text: &str, want: Option<&[u64]>| {
            let got = Numbers::parse(text, "at").ok().map(|set| set.words);
            assert_eq!(got.as_deref(), want, "{text:?}");
        };
        check("0", Some(&[1]));
        check("0-3,5", Some(&[0b10_1111]));
        check("1, 3", Some(&[0b1010]));
        check("63-64", Some(&[1 << 63, 1]));
        check("1100", Some(&[[0; 17].as_slice(), &[1 << 12]].concat()));
        for wrong in [
            "",
            ",",
            "1,",
            "3-1",
            "a",
            "-1",
            "1-",
            "+1",
            "65536",
            "1-2-3",
            "99999999999999999999",
        ] {
            check(wrong, None);
        }
    }
}
