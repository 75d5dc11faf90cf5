//! The table of `images`: a row for each name of an image.

use image::{Digest, Reference};

use crate::Summary;

/// Which rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rows {
    /// A row for each digest, too.
    pub digests: bool,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name without tag; `<none>` for an image without one.
    pub repository: String,
    /// The tag; `<none>`.
    pub tag: String,
    /// The digest in a registry; `<none>`.
    pub digest: String,
    /// The image's id.
    pub id: Digest,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// In bytes.
    pub size: u64,
    /// How much of it other images have, too.
    pub shared_size: Option<u64>,
    /// How many containers use it.
    pub containers: u64,
}

const NONE: &str = "<none>";

/// Makes docker's rows: one for each tag; with digests, one for each tag and digest of a repository; and where there is no tag, one for
/// each repository that is known by a digest.
#[must_use]
pub fn rows(images: &[Summary], options: &Rows) -> Vec<Row> {
    let mut rows = Vec::new();
    for image in images {
        let before = rows.len();
        let pins: Vec<Reference> = parsed(&image.digests);
        let tags: Vec<Reference> = parsed(&image.names);
        for name in &tags {
            let tag = name.tag.as_deref().unwrap_or(NONE);
            let of_same = |pin: &&Reference| pin.repository == name.repository;
            let digests: Vec<String> = pins.iter().filter(of_same).filter_map(digest).collect();
            let shown = if options.digests {
                digests.len().max(1)
            } else {
                1
            };
            for at in 0..shown {
                let digest = digests.get(at).map_or(NONE, String::as_str);
                rows.push(row(image, &name.repository.to_string(), tag, digest));
            }
        }
        let tagged = |pin: &Reference| tags.iter().any(|name| name.repository == pin.repository);
        let mut shown: Vec<String> = Vec::new();
        for pin in pins.iter().filter(|pin| !tagged(pin)) {
            let repository = pin.repository.to_string();
            // Without the column they would all look alike.
            if !options.digests && shown.contains(&repository) {
                continue;
            }
            let digest = digest(pin).unwrap_or_else(|| NONE.to_string());
            rows.push(row(image, &repository, NONE, &digest));
            shown.push(repository);
        }
        if rows.len() == before {
            rows.push(row(image, NONE, NONE, NONE));
        }
    }
    rows
}

fn parsed(names: &[String]) -> Vec<Reference> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

fn digest(pin: &Reference) -> Option<String> {
    pin.digest.map(|digest| digest.to_string())
}

fn row(image: &Summary, repository: &str, tag: &str, digest: &str) -> Row {
    Row {
        repository: repository.to_string(),
        tag: tag.to_string(),
        digest: digest.to_string(),
        id: image.id,
        created: image.created,
        size: image.size,
        shared_size: image.shared_size,
        containers: image.containers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], digests: &[&str], options: Rows) -> Vec<String> {
        let image = Summary {
            id: Digest::of(b"config"),
            names: names.iter().map(ToString::to_string).collect(),
            digests: digests.iter().map(ToString::to_string).collect(),
            created: 0,
            size: 1,
            shared_size: None,
            labels: std::collections::BTreeMap::new(),
            unread: false,
            platform: None,
            containers: 0,
        };
        let line = |row: Row| {
            let digest = row.digest.get(7..10).unwrap_or("-").to_string();
            format!("{} {} {digest}", row.repository, row.tag)
        };
        rows(&[image], &options).into_iter().map(line).collect()
    }

    #[test]
    fn a_row_for_each_name() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let (a, b) = (format!("x@sha256:{a}"), format!("x@sha256:{b}"));
        let (plain, digests) = (Rows { digests: false }, Rows { digests: true });
        assert_eq!(table(&[], &[], plain), ["<none> <none> -"]);
        assert_eq!(table(&["x:1", "y:2"], &[], plain), ["x 1 -", "y 2 -"]);
        assert_eq!(table(&["x:1", "y:2"], &[&a], digests), ["x 1 aaa", "y 2 -"]);
        assert_eq!(table(&["x:1"], &[&a, &b], digests), ["x 1 aaa", "x 1 bbb"]);
        assert_eq!(table(&["x:1"], &[&a, &b], plain), ["x 1 aaa"]);
        assert_eq!(table(&[], &[&a, &b], plain), ["x <none> aaa"]);
        assert_eq!(
            table(&[], &[&a, &b], digests),
            ["x <none> aaa", "x <none> bbb"]
        );
    }
}
