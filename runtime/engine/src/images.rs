//! Images: the list of what is here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use image::{Digest, Reference};
use store::{ImageRecord, Store};

use crate::find::{familiar, find, if_here};
use crate::run::containers;
use crate::{Engine, Error, Filters, Result, documents, time};

/// Which images to list.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Also those that only other images stand on; there are none such here, since nothing makes them.
    pub all: bool,
    /// `dangling`, `label`, `before`, `since`, `until`, `reference`.
    pub filters: Filters,
    /// A repository, or a name with its tag; `*` and `?` as in file names.
    pub reference: Option<String>,
    /// Work out how much of each image others have, too.
    pub shared_size: bool,
}

/// One image of the list.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its id.
    pub id: Digest,
    /// Its names with their tags, as people write them.
    pub names: Vec<String>,
    /// Its names with the digests of what they led to in registries.
    pub digests: Vec<String>,
    /// When it was made, in seconds since 1970; 0 when it does not say.
    pub created: i64,
    /// Of its layers, unpacked, in bytes.
    pub size: u64,
    /// How much of that other images have, too.
    pub shared_size: Option<u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What says them cannot be read, which `system check` explains: no filter by labels takes it.
    pub unread: bool,
    /// For which machine it is.
    pub platform: Option<String>,
    /// How many containers use it.
    pub containers: u64,
}

impl Engine {
    /// Lists images, the newest first.
    pub fn images(&self, options: &List) -> Result<Vec<Summary>> {
        let known = [
            "dangling",
            "label",
            "label!",
            "before",
            "since",
            "until",
            "reference",
        ];
        options.filters.only(&known)?;
        let chosen = Chosen::new(&self.store, options)?;
        let mut names = by_image(&self.store)?;
        let records = self.store.images()?;
        let mut users: HashMap<Digest, u64> = HashMap::new();
        for container in containers::list(&self.store)? {
            if let Some(image) = container.image {
                *users.entry(image).or_default() += 1;
            }
        }
        let mut sizes = Sizes::new(&self.store);
        let mut summaries = Vec::new();
        for record in &records {
            let labels = match if_here(&self.store, &record.id, || labels(&self.store, record)) {
                Ok(None) => continue,
                Ok(Some(labels)) => Some(labels),
                // One that is damaged hides none of the others.
                Err(_) => None,
            };
            let named = names.remove(&record.id).unwrap_or_default();
            let mut summary = summary(record, named, labels, &mut sizes)?;
            summary.containers = users.get(&record.id).copied().unwrap_or(0);
            if chosen.takes(&mut summary) {
                summaries.push(summary);
            }
        }
        if options.shared_size {
            share(&records, &mut summaries, &mut sizes)?;
        }
        summaries.sort_by(|a, b| b.created.cmp(&a.created).then(a.names.cmp(&b.names)));
        Ok(summaries)
    }
}

impl Summary {
    /// Tells whether the labels are as filters want them.
    pub(crate) fn labels_match(&self, filters: &Filters) -> bool {
        let asked = ["label", "label!"].map(|name| filters.values(name).next());
        if self.unread {
            return asked == [None, None];
        }
        filters.labels_match(&self.labels)
    }
}

/// The names of one image: with tags, with digests.
type Named = (Vec<String>, Vec<String>);

fn by_image(store: &Store) -> Result<HashMap<Digest, Named>> {
    let mut names: HashMap<Digest, Named> = HashMap::new();
    for name in store.names()? {
        names
            .entry(name.image)
            .or_default()
            .0
            .push(familiar(&name.name));
    }
    for pin in store.pins()? {
        let text = familiar(&format!("{}@{}", pin.repository, pin.digest));
        names.entry(pin.image).or_default().1.push(text);
    }
    Ok(names)
}

fn labels(store: &Store, record: &ImageRecord) -> Result<BTreeMap<String, String>> {
    match record.config {
        // An artifact's is no config of an image.
        Some(config) if record.platform.is_some() => {
            let config = documents::read_config(store, &config)?.value.config;
            Ok(config.map(|process| process.labels).unwrap_or_default())
        }
        _ => Ok(BTreeMap::new()),
    }
}

fn summary(
    record: &ImageRecord,
    (names, digests): Named,
    labels: Option<BTreeMap<String, String>>,
    sizes: &mut Sizes<'_>,
) -> Result<Summary> {
    let created = record.created.as_deref().and_then(time::parse);
    Ok(Summary {
        id: record.id,
        names,
        digests,
        created: created.unwrap_or(0),
        size: sizes.of(record)?,
        shared_size: None,
        unread: labels.is_none(),
        labels: labels.unwrap_or_default(),
        platform: record.platform.clone(),
        containers: 0,
    })
}

/// What layers take, each asked for once.
#[derive(Debug)]
pub(crate) struct Sizes<'a> {
    store: &'a Store,
    known: HashMap<Digest, u64>,
}

impl<'a> Sizes<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        let known = HashMap::new();
        Self { store, known }
    }

    pub(crate) fn layer(&mut self, diff_id: &Digest) -> Result<u64> {
        if let Some(size) = self.known.get(diff_id) {
            return Ok(*size);
        }
        let size = self.store.layer(diff_id)?.map_or(0, |layer| layer.size);
        self.known.insert(*diff_id, size);
        Ok(size)
    }

    /// Of an image: its layers, each once; an artifact's blobs.
    pub(crate) fn of(&mut self, record: &ImageRecord) -> Result<u64> {
        if record.platform.is_none() {
            return Ok(record.size);
        }
        let layers: BTreeSet<&Digest> = record.layers.iter().collect();
        layers.into_iter().map(|diff_id| self.layer(diff_id)).sum()
    }
}

/// Fills in how much of each image others have, too.
pub(crate) fn share(
    records: &[ImageRecord],
    summaries: &mut [Summary],
    sizes: &mut Sizes<'_>,
) -> Result<()> {
    let mut users: HashMap<Digest, u32> = HashMap::new();
    for record in records {
        for diff_id in record.layers.iter().collect::<BTreeSet<_>>() {
            *users.entry(*diff_id).or_default() += 1;
        }
    }
    let records: HashMap<Digest, &ImageRecord> =
        records.iter().map(|record| (record.id, record)).collect();
    for summary in summaries {
        let layers = records.get(&summary.id).map(|record| &record.layers[..]);
        let mut shared = 0;
        for diff_id in layers.unwrap_or_default().iter().collect::<BTreeSet<_>>() {
            if users.get(diff_id).is_some_and(|count| *count > 1) {
                shared += sizes.layer(diff_id)?;
            }
        }
        summary.shared_size = Some(shared);
    }
    Ok(())
}

/// The filters of a list, each looked up once.
struct Chosen<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
    patterns: Vec<String>,
}

impl<'a> Chosen<'a> {
    fn new(store: &Store, options: &'a List) -> Result<Self> {
        let filters = &options.filters;
        let moment = |name: &str| {
            let created = |value| {
                let record = find(store, value)?.record;
                Ok(record.created.as_deref().and_then(time::parse).unwrap_or(0))
            };
            filters
                .values(name)
                .map(created)
                .collect::<Result<Vec<i64>>>()
        };
        let before = moment("before")?.into_iter().chain(filters.until()?).min();
        let mut patterns: Vec<String> = filters.values("reference").map(String::from).collect();
        patterns.extend(options.reference.clone());
        for pattern in &patterns {
            check_pattern(pattern)?;
        }
        Ok(Self {
            filters,
            dangling: filters.flag("dangling")?,
            before,
            since: moment("since")?.into_iter().max(),
            patterns,
        })
    }

    /// Tells whether an image is listed, and takes away the names of it that are not.
    fn takes(&self, summary: &mut Summary) -> bool {
        let dangling = summary.names.is_empty();
        if self.dangling.is_some_and(|wanted| wanted != dangling)
            || self.before.is_some_and(|before| summary.created >= before)
            || self.since.is_some_and(|since| summary.created <= since)
            || !summary.labels_match(self.filters)
        {
            return false;
        }
        if self.patterns.is_empty() {
            return true;
        }
        let matches = |name: &String| self.patterns.iter().any(|pattern| fits(pattern, name));
        summary.names.retain(matches);
        summary.digests.retain(matches);
        !summary.names.is_empty() || !summary.digests.is_empty()
    }
}

fn check_pattern(pattern: &str) -> Result<()> {
    let open = pattern.matches('[').count() != pattern.matches(']').count();
    if open && !pattern.contains("[:") {
        return Err(Error::invalid(format!(
            "invalid filter 'reference={pattern}': syntax error in pattern"
        )));
    }
    Ok(())
}

/// Tells whether a name is meant: by its repository, by repository and tag, by either with everything said.
fn fits(pattern: &str, name: &str) -> bool {
    let Ok(reference) = name.parse::<Reference>() else {
        return false;
    };
    let repository = &reference.repository;
    let canonical = reference.canonical();
    [
        name,
        &repository.to_string(),
        &canonical,
        &repository.canonical(),
    ]
    .iter()
    .any(|text| glob(pattern.as_bytes(), text.as_bytes()))
}

/// Matches as Go's path.Match does: `*` and `?` do not cross a slash, `[a-z]` and `[^a]` are sets, a backslash takes what follows as it is.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            let reach = text
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(text.len());
            (0..=reach).any(|at| glob(rest, &text[at..]))
        }
        ([b'?', rest @ ..], [byte, text @ ..]) => *byte != b'/' && glob(rest, text),
        ([b'[', rest @ ..], [byte, text @ ..]) => match set(rest, *byte) {
            Some((true, rest)) => *byte != b'/' && glob(rest, text),
            _ => false,
        },
        ([b'\\', literal, rest @ ..], [byte, text @ ..]) => literal == byte && glob(rest, text),
        ([literal, rest @ ..], [byte, text @ ..]) => literal == byte && glob(rest, text),
        _ => false,
    }
}

/// Tells whether a byte is in the set that begins here, and what follows the set; nothing when the set does not end.
fn set(pattern: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut first = true;
    loop {
        rest = match rest {
            [b']', rest @ ..] if !first => return Some((found != negated, rest)),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                rest
            }
            [one, rest @ ..] => {
                found |= *one == byte;
                rest
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_by_pattern() {
        for (pattern, name, expected) in [
            ("busybox", "busybox:latest", true),
            ("busybox:1", "busybox:latest", false),
            ("busy*", "busybox:latest", true),
            ("*:latest", "busybox:latest", true),
            ("docker.io/library/busybox", "busybox:latest", true),
            ("*", "team/app:1", false),
            ("*/*", "team/app:1", true),
            ("localhost:5000/team/app", "localhost:5000/team/app:1", true),
            ("[a-c]usybox", "busybox:latest", true),
            ("[^b]usybox", "busybox:latest", false),
            ("busybo?", "busybox:latest", true),
            (
                "busybox@sha256:*",
                &format!("busybox@sha256:{}", "0".repeat(64)),
                true,
            ),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_set_ends() {
        assert!(glob(b"[]a]", b"]"));
        assert!(!glob(b"[a", b"a"));
        assert!(glob(b"a\\*", b"a*"));
    }
}
