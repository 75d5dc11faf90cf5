//! What a token is asked for: `repository:library/busybox:pull,push`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// More than any request of ours needs; the rest of what a server demands is not asked for.
const MOST: usize = 16;

/// A set of scopes: kind and name, and the actions on it. One set has one text, whatever it was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    pub(crate) fn pull(repository: &str) -> Self {
        Self::parse(&format!("repository:{repository}:pull"))
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self::parse(&format!("repository:{repository}:pull,push"))
    }

    /// Reads scopes between blanks, as a challenge has them. What is none is passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        for one in text.split_ascii_whitespace().take(MOST) {
            // The name may have colons: a host with its port.
            let Some((name, actions)) = one.rsplit_once(':') else {
                continue;
            };
            let known = scopes.0.entry(name.to_string()).or_default();
            let actions = actions.split(',').filter(|action| !action.is_empty());
            known.extend(actions.take(MOST).map(str::to_string));
        }
        scopes
    }

    pub(crate) fn and(mut self, other: &Self) -> Self {
        for (name, actions) in &other.0 {
            let known = self.0.entry(name.clone()).or_default();
            known.extend(actions.iter().cloned());
        }
        self
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(name, actions)| {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            format!("{name}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.each().collect();
        f.write_str(&all.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_set_has_one_text() {
        for (a, b, want) in [
            ("repository:x:push,pull", "", "repository:x:pull,push"),
            (
                "repository:x:pull",
                "repository:x:push",
                "repository:x:pull,push",
            ),
            (
                "repository:x:pull",
                "repository:h:5000/y:pull",
                "repository:h:5000/y:pull repository:x:pull",
            ),
            ("nonsense", ":: registry:catalog:*", ":: registry:catalog:*"),
        ] {
            assert_eq!(Scopes::parse(a).and(&Scopes::parse(b)).to_string(), want);
        }
    }
}
