//! Search: images of a registry by words.

use crate::progress::Quiet;
use crate::{Error, Filters, Registries, Result};

/// How to search.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// At most so many; 0 for docker's 25.
    pub limit: u32,
    /// `stars`, `is-official`, `is-automated`.
    pub filters: Filters,
}

/// One image that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRow {
    /// Its repository.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many people like it.
    pub stars: u64,
    /// Docker answers for it.
    pub official: bool,
    /// It was built by Docker Hub.
    pub automated: bool,
}

impl Registries {
    /// Searches a registry: the one that the term begins with, else Docker Hub.
    pub fn search(&self, term: &str, options: &Search) -> Result<Vec<SearchRow>> {
        options
            .filters
            .only(&["stars", "is-official", "is-automated"])?;
        let official = options.filters.flag("is-official")?;
        let automated = options.filters.flag("is-automated")?;
        let stars = stars(&options.filters)?;
        if options.limit > 100 {
            return Err(Error::invalid(format!(
                "limit {} is outside the range of [1, 100]",
                options.limit
            )));
        }
        let (host, words) = match term.split_once('/') {
            Some((host, words)) if host.contains(['.', ':']) || host == "localhost" => {
                (host, words)
            }
            _ => ("docker.io", term),
        };
        let limit = if options.limit == 0 {
            25
        } else {
            options.limit
        };
        let remote = self.remote()?;
        let client = &remote.client;
        let found = remote.run(&Quiet, |_| async {
            client.search(host, words, limit).await
        })?;
        let mut rows: Vec<SearchRow> = found.into_iter().map(row).collect();
        rows.retain(|row| {
            row.stars >= stars
                && official.is_none_or(|wanted| wanted == row.official)
                && automated.is_none_or(|wanted| wanted == row.automated)
        });
        Ok(rows)
    }
}

fn stars(filters: &Filters) -> Result<u64> {
    let mut most = 0;
    for value in filters.values("stars") {
        let stars: u64 = value
            .parse()
            .map_err(|_| Error::invalid(format!("invalid filter 'stars={value}'")))?;
        most = most.max(stars);
    }
    Ok(most)
}

fn row(found: registry::Found) -> SearchRow {
    SearchRow {
        name: found.name,
        description: found.description,
        stars: found.stars,
        official: found.official,
        automated: found.automated,
    }
}
