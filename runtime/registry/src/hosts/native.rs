//! Our own file, `registries.toml`; see the top of this room. A key that we do not know is refused: a misspelt `insecure` must not pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::files;
use crate::hosts::{
    Able, Hosts, Mirror, Rule, Server, Tls, address::Declared, check_mirror, unquoted,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    search: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    registry: toml::map::Map<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    location: Option<String>,
    #[serde(default)]
    ca: OneOrMore<PathBuf>,
    #[serde(default)]
    client: OneOrMore<Pair>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    mirror: Vec<Other>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Other {
    url: String,
    resolve: Option<bool>,
    #[serde(default)]
    override_path: bool,
    #[serde(default)]
    namespace: bool,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    ca: OneOrMore<PathBuf>,
    #[serde(default)]
    client: OneOrMore<Pair>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    cert: PathBuf,
    key: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

impl<T> OneOrMore<T> {
    fn list(self) -> Vec<T> {
        match self {
            Self::More(list) => list,
            Self::One(one) => vec![one],
        }
    }
}

pub(crate) fn load(path: &Path, hosts: &mut Hosts) -> Result<()> {
    let Some(bytes) = files::read(path)? else {
        return Ok(());
    };
    let document: Document = parse(path, &bytes)?;
    let base = path.parent().unwrap_or(Path::new("/"));
    hosts.search.extend(document.search);
    hosts.aliases.extend(document.aliases);
    for (prefix, value) in document.registry {
        let at = format!("{}: registry.{prefix:?}", path.display());
        let fault = |why: &str| Error::new(Kind::Settings, format!("{at}: {why}"));
        let registry: Registry = value
            .try_into()
            .map_err(|error: toml::de::Error| fault(&unquoted(error.message())))?;
        let host = prefix.split('/').next().unwrap_or_default();
        if Declared::parse(host).is_none() {
            return Err(fault("is neither a host nor a part of one"));
        }
        let mirrors = registry.mirror.into_iter();
        let mirrors: Vec<Mirror> = mirrors.map(|other| mirror(base, &at, other)).collect();
        for mirror in &mirrors {
            check_mirror(&at, mirror)?;
        }
        hosts.rules.push(Rule {
            location: registry.location,
            blocked: registry.blocked,
            insecure: registry.insecure,
            server: server(base, &at, registry.ca, registry.client, registry.headers),
            mirrors,
            prefix,
        });
    }
    Ok(())
}

fn mirror(base: &Path, at: &str, other: Other) -> Mirror {
    let url = if other.url.contains("://") {
        other.url
    } else {
        format!("https://{}", other.url)
    };
    Mirror {
        url,
        able: Able {
            resolve: other.resolve.unwrap_or(true),
            ..Able::PULL
        },
        insecure: other.insecure,
        override_path: other.override_path,
        namespace: other.namespace,
        server: server(base, at, other.ca, other.client, other.headers),
    }
}

fn server(
    base: &Path,
    at: &str,
    ca: OneOrMore<PathBuf>,
    client: OneOrMore<Pair>,
    headers: BTreeMap<String, String>,
) -> Server {
    let pairs = client.list().into_iter().map(|pair| {
        let cert = base.join(pair.cert);
        let key = pair.key.map_or_else(|| cert.clone(), |key| base.join(key));
        (cert, key)
    });
    Server {
        tls: Tls {
            anybody: false,
            authorities: ca.list().into_iter().map(|file| base.join(file)).collect(),
            client: pairs.collect(),
            named: Some(at.to_owned()),
        },
        headers: headers.into_iter().collect(),
        connect: None,
    }
}

/// Parses a TOML file; an error names the place and not the text, which may be a key.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let fault = |line: usize, why: &str| {
        let at = format!("{}: line {line}", path.display());
        Error::new(Kind::Settings, format!("{at}: {why}"))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| fault(1, "is not UTF-8"))?;
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(bytes.len());
        let line = bytes[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        fault(line, &unquoted(error.message()))
    })
}
