//! Filters of lists: `name=value`, given more than once.

use std::collections::BTreeMap;

use crate::{Error, Result, time};

/// What was given with `--filter`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Vec<(String, String)>);

impl Filters {
    /// Parses `name=value` texts.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        let pair = |text: &S| {
            let (name, value) = text.as_ref().split_once('=').ok_or_else(|| {
                Error::invalid(format!(
                    "bad format of filter {:?} (expected name=value)",
                    text.as_ref()
                ))
            })?;
            Ok((name.trim().to_lowercase(), value.trim().to_string()))
        };
        texts.iter().map(pair).collect::<Result<_>>().map(Self)
    }

    /// Adds one filter.
    pub fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_string(), value.to_string()));
    }

    /// Tells whether nothing is filtered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the values of one filter, as given.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter();
        pairs
            .filter(move |pair| pair.0 == name)
            .map(|pair| pair.1.as_str())
    }

    /// Refuses a filter whose name is none of these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<()> {
        match self
            .0
            .iter()
            .find(|(name, _)| !known.contains(&name.as_str()))
        {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(format!("invalid filter '{name}'"))
                .with_hint(format!("the filters here are {}", known.join(", ")))),
        }
    }

    /// Returns a filter that is yes or no.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>> {
        let mut found = None;
        for value in self.values(name) {
            let flag = match value.to_ascii_lowercase().as_str() {
                "1" | "t" | "true" => true,
                "0" | "f" | "false" => false,
                _ => {
                    let text = format!("invalid filter '{name}={value}'");
                    return Err(Error::invalid(text).with_hint(format!("{name} is true or false")));
                }
            };
            if found.is_some_and(|before| before != flag) {
                return Err(Error::invalid(format!(
                    "invalid filter '{name}': both true and false"
                )));
            }
            found = Some(flag);
        }
        Ok(found)
    }

    /// Returns the point in time before which things have to be made (`until`).
    pub(crate) fn until(&self) -> Result<Option<i64>> {
        let mut values = self.values("until");
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Error::invalid("more than one until filter specified"));
        }
        let point = time::point(value, time::now());
        let wrong = || {
            Error::invalid(format!("invalid filter 'until={value}'"))
                .with_hint("a time is 2024-01-31T12:00:00, or how long ago it is, as in 24h")
        };
        point.map(Some).ok_or_else(wrong)
    }

    /// Tells whether labels have all that `label` asks for and nothing that `label!` does.
    #[must_use]
    pub fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &str| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").all(has) && !self.values("label!").any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_needs_a_value_and_a_known_name() {
        let text = |given: &[&str]| {
            let filters = Filters::parse(given)?;
            filters.only(&["dangling", "label"])?;
            filters.flag("dangling")
        };
        assert_eq!(text(&["dangling=true"]).unwrap(), Some(true));
        assert_eq!(text(&[]).unwrap(), None);
        for (given, message) in [
            (
                vec!["dangling"],
                "bad format of filter \"dangling\" (expected name=value)",
            ),
            (vec!["name=x"], "invalid filter 'name'"),
            (vec!["dangling=maybe"], "invalid filter 'dangling=maybe'"),
            (
                vec!["dangling=1", "dangling=0"],
                "invalid filter 'dangling': both true and false",
            ),
        ] {
            assert_eq!(text(&given).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn labels_by_name_value_and_absence() {
        let labels = BTreeMap::from([("a".to_string(), "1".to_string())]);
        for (given, matches) in [
            ("label=a", true),
            ("label=a=1", true),
            ("label=a=2", false),
            ("label=b", false),
            ("label!=b", true),
            ("label!=a=1", false),
        ] {
            let filters = Filters::parse(&[given]).unwrap();
            assert_eq!(filters.labels_match(&labels), matches, "{given}");
        }
    }
}
