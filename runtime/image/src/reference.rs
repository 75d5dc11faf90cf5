//! Names of images, read as Docker reads them.
//!
//! ```text
//! reference   [HOST[:PORT]/]PATH[:TAG][@DIGEST]
//! HOST        a domain, an IPv4 address, or an IPv6 address in brackets; the first component is a host if it is "localhost",
//!             or holds a dot, a colon or an upper-case letter; without one it is docker.io
//! PATH        components of a-z 0-9, joined inside by one of . _ __ or any number of -; one component alone on docker.io is
//!             below library/
//! TAG         1 to 128 of A-Z a-z 0-9 _ . -, the first neither . nor -
//! ```

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::{Digest, Malformed, quoted};

const HUB: &str = "docker.io";
/// The name that Docker Hub had before; still written by old programs.
const OLD_HUB: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// Of the whole text: longer than any host, path, tag and digest that are each allowed.
const LONGEST: usize = 1024;
const LONGEST_HOST: usize = 255;
const LONGEST_PATH: usize = 255;
const LONGEST_TAG: usize = 128;

/// Where an image's versions live: a host and a path on it. Displays as people write it: `busybox` for `docker.io/library/busybox`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    /// The registry, with its port if it has one: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub host: String,
    /// The path on it: `library/busybox`.
    pub path: String,
}

impl Repository {
    /// Returns the name with everything said: `docker.io/library/busybox`.
    pub fn canonical(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// Returns the name as people write it, if that is read as the same repository again.
    fn familiar(&self) -> Option<&str> {
        if self.host != HUB {
            return None;
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(name) if !name.contains('/') => name,
            _ => &self.path,
        };
        (split_host(short) == (HUB, short) && !is_id(short)).then_some(short)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.familiar() {
            Some(short) => f.write_str(short),
            None => write!(f, "{}/{}", self.host, self.path),
        }
    }
}

impl FromStr for Repository {
    type Err = Malformed;

    /// Takes a name without tag and digest.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let reference = Reference::from_str(text)?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(wrong(text, "a repository has neither tag nor digest"));
        }
        Ok(reference.repository)
    }
}

/// The name of an image: a repository, and in it a tag, a digest, both (the digest is what counts then) or neither. Displays as
/// people write it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Where to look.
    pub repository: Repository,
    /// What it is called there.
    pub tag: Option<String>,
    /// What it must be.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Returns the name with everything said: `docker.io/library/busybox:1.36`.
    pub fn canonical(&self) -> String {
        format!("{}{}", self.repository.canonical(), Version(self))
    }

    /// Returns the same name with the tag `latest` if it has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".to_owned());
        }
        self
    }

    /// Returns the same repository with this tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, Malformed> {
        check_tag(tag).map_err(|why| wrong(tag, &why))?;
        Ok(Self {
            repository: self.repository.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        })
    }

    /// Returns the same repository with this digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            repository: self.repository.clone(),
            tag: None,
            digest: Some(digest),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, Version(self))
    }
}

/// What stands after the repository: `:tag@digest`.
struct Version<'a>(&'a Reference);

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.0.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        parse(text).map_err(|why| wrong(text, &why))
    }
}

fn wrong(text: &str, why: &str) -> Malformed {
    let text = quoted(text);
    Malformed(format!(
        "image name {text}: {why}; a name looks like [HOST[:PORT]/]PATH[:TAG][@DIGEST], as in debian:12 or localhost:5000/team/app:1"
    ))
}

fn parse(text: &str) -> Result<Reference, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    if let Some((scheme, _)) = text.split_once("://") {
        // As other programs write it: docker://debian:12.
        let scheme = quoted(&format!("{scheme}://"));
        return Err(format!("it is an address; leave out {scheme}"));
    }
    if is_id(text) {
        return Err("64 hexadecimal digits are an image's id and cannot be its name".to_owned());
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let (host, rest) = split_host(name);
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    check_host(host)?;
    check_path(path)?;
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    let digest = match digest {
        Some(digest) => Some(digest.parse().map_err(|Malformed(why)| why)?),
        None => None,
    };
    let path = if host == HUB && !path.contains('/') {
        format!("{OFFICIAL}{path}")
    } else {
        path.to_owned()
    };
    if path.len() > LONGEST_PATH {
        return Err(format!("its path is longer than {LONGEST_PATH} bytes"));
    }
    Ok(Reference {
        repository: Repository {
            host: host.to_owned(),
            path,
        },
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// Returns the host (Docker Hub if none is named) and what follows it.
fn split_host(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((OLD_HUB, rest)) => (HUB, rest),
        Some((first, rest)) if is_host(first) => (first, rest),
        _ => (HUB, name),
    }
}

/// Tells whether the first of several components is a host. Upper case makes it one because no path may hold any.
fn is_host(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Tells whether this is an image's id, with which no name may be confused.
fn is_id(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_host(host: &str) -> Result<(), String> {
    let shown = quoted(host);
    if host.len() > LONGEST_HOST {
        return Err(format!("its host is longer than {LONGEST_HOST} bytes"));
    }
    let (address, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, rest) = rest
            .split_once(']')
            .ok_or_else(|| format!("host {shown} has no closing bracket"))?;
        if address.parse::<Ipv6Addr>().is_err() {
            return Err(format!("host {shown} is no IPv6 address"));
        }
        match rest.strip_prefix(':') {
            Some(port) => (None, Some(port)),
            None if rest.is_empty() => (None, None),
            None => return Err(format!("host {shown} goes on after its bracket")),
        }
    } else {
        match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        }
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if address.is_some_and(|name| !name.split('.').all(is_label)) {
        return Err(format!("{shown} is no host"));
    }
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match port {
        Some(port) if !is_port(port) => {
            Err(format!("host {shown} has a port that is not 1 to 65535"))
        }
        _ => Ok(()),
    }
}

fn check_path(path: &str) -> Result<(), String> {
    let lower = path.to_ascii_lowercase();
    if lower != path && lower.split('/').all(is_component) {
        let lower = quoted(&lower);
        return Err(format!("upper case is not allowed, {lower} would be"));
    }
    match path.split('/').find(|component| !is_component(component)) {
        Some("") => Err("a component of its path is empty".to_owned()),
        Some(component) => {
            let component = quoted(component);
            Err(format!(
                "{component} is not a-z and 0-9, joined by one of . _ __ or by -"
            ))
        }
        None => Ok(()),
    }
}

fn is_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_well = bytes.first().is_some_and(is_word) && bytes.last().is_some_and(is_word);
    ends_well
        && bytes.split(is_word).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|byte| *byte == b'-')
        })
}

fn check_tag(tag: &str) -> Result<(), String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let shown = quoted(tag);
    if tag.len() > LONGEST_TAG {
        return Err(format!("tag {shown} is longer than {LONGEST_TAG} bytes"));
    }
    let starts_well = tag.bytes().next().is_some_and(is_word);
    if !starts_well
        || !tag
            .bytes()
            .all(|byte| is_word(byte) || b".-".contains(&byte))
    {
        return Err(format!(
            "tag {shown} is not of A-Z a-z 0-9 _ . -, the first neither . nor -"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
