//! Lists: the tags of a repository, and what a search finds.

use image::Repository;
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::auth::scope::Scopes;
use crate::client::Client;
use crate::error::{Error, Kind, Result, clean};
use crate::hosts::Endpoint;
use crate::http::{Answer, Call, same_origin};

const MOST_PAGES: usize = 1000;
const MOST_TAGS: usize = 200_000;
const MOST_BYTES: usize = 8 << 20;
/// Of the names of all tags together.
const MOST_NAMES: usize = 16 << 20;
/// A tag is no longer than this, says the specification.
const LONGEST_TAG: usize = 128;
/// What servers give at most, or less, on a page.
const ON_A_PAGE: &str = "1000";

/// A repository that a search has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// As it is pulled.
    pub name: String,
    /// Of whoever owns it; one line.
    pub description: String,
    /// How many like it.
    pub stars: u64,
    /// It is one of docker's own.
    pub official: bool,
    /// It was built by the registry.
    pub automated: bool,
}

impl Client {
    /// Lists the tags of a repository, in the order of the server.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>> {
        let servers = self.servers(repository, |able| able.resolve)?;
        let mut tags = Ok(Vec::new());
        for (index, server) in servers.iter().enumerate() {
            tags = self.tags_of(server).await;
            match &tags {
                Err(error) if index + 1 < servers.len() => self.mirror_failed(server, error),
                _ => break,
            }
        }
        tags
    }

    async fn tags_of(&self, server: &Endpoint) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let server = self.settle(server).await?;
        let object = format!("tags of {}", server.path);
        let mut url = server.url("tags", "list");
        url.query_pairs_mut().append_pair("n", ON_A_PAGE);
        let (mut all, mut bytes) = (Vec::new(), 0);
        for _ in 0..MOST_PAGES {
            let call = self.call(&server, Method::GET, url, &object);
            let mut answer = self
                .ask(&server, &call, &Scopes::pull(&server.path))
                .await?;
            if !answer.status().is_success() {
                return Err(answer.refusal().await);
            }
            let page = answer.body(MOST_BYTES).await?;
            let page: Page = serde_json::from_slice(&page).map_err(|_| {
                Error::wrong(&server.host, &object, "the answer is not a list of tags")
            })?;
            for tag in page.tags.unwrap_or_default() {
                if tag.len() > LONGEST_TAG {
                    let what = format!("names a tag of {} bytes", tag.len());
                    return Err(Error::wrong(&server.host, &object, what));
                }
                bytes += tag.len();
                all.push(tag);
            }
            if all.len() > MOST_TAGS || bytes > MOST_NAMES {
                break;
            }
            match next_page(&server, &answer, &object)? {
                Some(next) => url = next,
                None => return Ok(all),
            }
        }
        Err(Error::wrong(
            &server.host,
            &object,
            format!("the list has no end: {} so far", all.len()),
        ))
    }

    /// Searches a registry: Docker Hub, or one that has kept the first protocol's search.
    pub async fn search(&self, host: &str, term: &str, limit: u32) -> Result<Vec<Found>> {
        let server = self.settle(&self.settings().hosts.server(host)?).await?;
        let mut url = server.base.clone();
        if server.host == "docker.io" {
            // Cannot fail: it is a name.
            let _ = url.set_host(Some("index.docker.io"));
        }
        url.set_path("/v1/search");
        url.query_pairs_mut()
            .append_pair("q", term)
            .append_pair("n", &limit.clamp(1, 100).to_string());
        let object = format!("search for {:?}", clean(term, 100));
        let mut call = Call::get(url, &server.host, &object);
        call.tls = server.tls.clone();
        let mut answer = self.wire().patient(&call).await?;
        if answer.status().as_u16() == 404 {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{}: {object}: this registry has no search", server.host),
            ));
        }
        if !answer.status().is_success() {
            return Err(answer.refusal().await);
        }
        let bytes = answer.body(MOST_BYTES).await?;
        let answered: Answered = serde_json::from_slice(&bytes).map_err(|_| {
            Error::wrong(
                &server.host,
                &object,
                "the answer is not a list of repositories",
            )
        })?;
        let all = answered
            .results
            .unwrap_or_default()
            .into_iter()
            .take(limit as usize);
        Ok(all.filter_map(One::found).collect())
    }
}

/// What a search answers; anything may be missing.
#[derive(Deserialize)]
struct Answered {
    results: Option<Vec<One>>,
}
#[derive(Deserialize)]
struct One {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    star_count: Option<u64>,
    #[serde(default)]
    is_official: Option<bool>,
    #[serde(default)]
    is_automated: Option<bool>,
}

impl One {
    fn found(self) -> Option<Found> {
        Some(Found {
            name: clean(&self.name?, 300),
            description: clean(&self.description.unwrap_or_default(), 1000),
            stars: self.star_count.unwrap_or(0),
            official: self.is_official.unwrap_or(false),
            automated: self.is_automated.unwrap_or(false),
        })
    }
}

/// Returns the address of the next page, if there is one (`Link: <..>; rel="next"`).
pub(crate) fn next_page(server: &Endpoint, answer: &Answer, object: &str) -> Result<Option<Url>> {
    let links = answer.headers().get_all("link");
    let mut links = links.iter().filter_map(|value| value.to_str().ok());
    let Some(target) = links.find_map(next_link) else {
        return Ok(None);
    };
    let wrong = || {
        Error::wrong(
            &server.host,
            object,
            "its next page is at another place than this one",
        )
    };
    let mut url = answer.url().join(target).map_err(|_| wrong())?;
    // As with uploads: a server that does not know of the TLS before it.
    if url.host_str() == answer.url().host_str()
        && url.scheme() == "http"
        && answer.url().scheme() == "https"
    {
        let upgraded = url
            .set_scheme("https")
            .and_then(|()| url.set_port(answer.url().port()));
        upgraded.map_err(|()| wrong())?;
    }
    if !same_origin(&url, answer.url()) {
        return Err(wrong());
    }
    // A page that follows itself has no end.
    Ok((url != *answer.url()).then_some(url))
}

/// Returns where a `Link` header says that the next page is.
pub fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = rest
            .split(';')
            .any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        next.then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page() {
        for (header, want) in [
            (
                "</v2/x/tags/list?last=a&n=1>; rel=\"next\"",
                Some("/v2/x/tags/list?last=a&n=1"),
            ),
            ("<a>; rel=prev, <b>; title=x; rel=next", Some("b")),
            ("<a>; rel=\"prev\"", None),
            ("a; rel=\"next\"", None),
            ("<a; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), want, "{header}");
        }
    }
}
