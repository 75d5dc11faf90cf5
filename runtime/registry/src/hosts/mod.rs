//! Where a repository is to be had: mirrors first, in order, and then the host of its name; and what is to be kept to with each.
//!
//! Our own file is `registries.toml`:
//!
//! ```text
//! search = ["docker.io"]                    # where short names are looked for
//!
//! [aliases]
//! tools = "registry.example.com/team/tools" # a short name for one repository
//!
//! [registry."registry.example.com"]         # a host, part of one ("host/team"), all below one ("*.example.com"), or addresses ("10.0.0.0/8")
//! insecure = false                          # plain HTTP, and certificates of nobody
//! blocked = false
//! location = "other.example.com/team"       # what the name in the brackets stands for
//! ca = "/etc/lade/own.pem"                  # one file or a list: trusted besides those of the system
//! client = { cert = "c.pem", key = "k.pem" }
//! headers = { "X-Team" = "a" }
//!
//! [[registry."docker.io".mirror]]
//! url = "https://mirror.example.com"        # with a path: in front of the repository's
//! resolve = true                            # false: asked by digest only, so that it cannot say what a tag means
//! override-path = false                     # true: the path of the url replaces /v2
//! namespace = false                         # true: asked with ?ns=docker.io
//! ca, client, headers, insecure             # as above
//! ```
//!
//! containerd's `certs.d`, podman's `registries.conf` and docker's `daemon.json` and `certs.d` are read as they are. A loopback address may
//! always speak plain HTTP: what is said to it, no other machine hears.

pub(crate) mod address;
mod containerd;
mod docker;
mod native;
mod podman;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use image::Repository;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Error, Kind, Result};
use address::Declared;

/// The names of docker.io: the one in references, and the host that serves it.
const HUB: &str = "docker.io";
const HUB_SERVER: &str = "registry-1.docker.io";

/// The files that say something of hosts; missing ones are passed over.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Our own `registries.toml`.
    pub native: Vec<PathBuf>,
    /// containerd's directories `certs.d`, with `HOST/hosts.toml`.
    pub containerd: Vec<PathBuf>,
    /// podman's `registries.conf` and directories `registries.conf.d`.
    pub podman: Vec<PathBuf>,
    /// docker's `daemon.json`.
    pub docker: Vec<PathBuf>,
    /// docker's and podman's directories `certs.d`, with `HOST/*.crt` and pairs of `*.cert` and `*.key`.
    pub certs: Vec<PathBuf>,
}

/// What is known of hosts.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    rules: Vec<Rule>,
    insecure: Vec<Declared>,
    containerd: Vec<PathBuf>,
    certs: Vec<PathBuf>,
    aliases: BTreeMap<String, String>,
    search: Vec<String>,
}

/// What is said of the repositories below one name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rule {
    /// Of names as in references: `docker.io`, `docker.io/library`, `*.example.com`.
    prefix: String,
    location: Option<String>,
    blocked: bool,
    insecure: bool,
    server: Server,
    mirrors: Vec<Mirror>,
}

/// What is to be kept to with one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    tls: Tls,
    headers: Vec<(String, String)>,
    connect: Option<Duration>,
}

/// Another server for the same content.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    /// An address (containerd, docker, ours) or a host with a path (podman).
    url: String,
    able: Able,
    insecure: bool,
    override_path: bool,
    namespace: bool,
    server: Server,
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Able {
    /// To say what a tag means.
    pub(crate) resolve: bool,
    /// To give what has a digest.
    pub(crate) pull: bool,
    pub(crate) push: bool,
}

impl Able {
    const PULL: Self = Self {
        resolve: true,
        pull: true,
        push: false,
    };
}

/// Whom we trust, and who we are, on a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tls {
    /// Any certificate will do.
    pub(crate) anybody: bool,
    pub(crate) authorities: Vec<PathBuf>,
    /// Certificate and key; the key may be in the same file.
    pub(crate) client: Vec<(PathBuf, PathBuf)>,
    /// Which place of our own file names them.
    pub(crate) named: Option<String>,
}

/// A server to ask, and how.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// As in messages, and as logins are looked up: `docker.io`, `localhost:5000`.
    pub(crate) host: String,
    /// Ends with a slash; repositories are below it.
    pub(crate) base: Url,
    /// The repository's path there.
    pub(crate) path: String,
    pub(crate) namespace: Option<String>,
    pub(crate) able: Able,
    pub(crate) tls: Tls,
    /// Plain HTTP may be tried where TLS is not spoken.
    pub(crate) insecure: bool,
    /// Only because it is this machine: nobody has said so.
    pub(crate) near: bool,
    pub(crate) headers: HeaderMap,
    pub(crate) connect: Option<Duration>,
}

impl Hosts {
    /// Reads what some files say.
    pub fn load(files: &Files) -> Result<Self> {
        let mut hosts = Self {
            containerd: files.containerd.clone(),
            certs: files.certs.clone(),
            ..Self::default()
        };
        for file in &files.native {
            native::load(file, &mut hosts)?;
        }
        for file in &files.podman {
            podman::load(file, &mut hosts)?;
        }
        for file in &files.docker {
            docker::load(file, &mut hosts)?;
        }
        Ok(hosts)
    }

    /// Declares a host insecure: plain HTTP and any certificate will do.
    pub fn insecure(&mut self, host: &str) -> Result<()> {
        self.insecure.push(declared(host, "insecure host")?);
        Ok(())
    }

    /// Returns the full names that a name without a host may stand for: its alias, or the name below each of the hosts to search. Empty
    /// where nothing is said of that, or the name has a host.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        let end = name.find('@').unwrap_or(name.len());
        let colon = name[..end]
            .rfind(':')
            .filter(|at| !name[*at..end].contains('/'));
        let (bare, rest) = name.split_at(colon.unwrap_or(end));
        if let Some(full) = self.aliases.get(bare) {
            return vec![format!("{full}{rest}")];
        }
        let first = bare.split_once('/').map(|(first, _)| first);
        let has_host =
            first.is_some_and(|first| first.contains(['.', ':']) || first == "localhost");
        if has_host {
            return Vec::new();
        }
        let search = self.search.iter();
        search.map(|host| format!("{host}/{name}")).collect()
    }

    /// Returns the servers of a repository in the order in which they are to be asked; the last is the one of its name.
    pub(crate) fn endpoints(&self, repository: &Repository) -> Result<Vec<Endpoint>> {
        let name = repository.canonical();
        let rule = self.rule(&name, |_| true);
        if let Some(rule) = rule
            && rule.blocked
        {
            return Err(Error::new(
                Kind::Blocked,
                format!(
                    "{name}: the configuration of registries blocks {}",
                    rule.prefix
                ),
            ));
        }
        let mut endpoints = Vec::new();
        let mirrored = self.rule(&name, |rule| !rule.mirrors.is_empty());
        for mirror in mirrored.iter().flat_map(|rule| &rule.mirrors) {
            let rest = mirrored.and_then(|rule| rule.rest(&name)).unwrap_or("");
            endpoints.push(self.mirror(mirror, repository, rest)?);
        }
        let configured = containerd::load(&self.containerd, &repository.host)?;
        for mirror in &configured.mirrors {
            endpoints.push(self.mirror(mirror, repository, "")?);
        }
        endpoints.push(self.origin(repository, rule, &configured)?);
        // Docker's own host may be named as a mirror of itself: once is enough.
        let mut seen = Vec::new();
        endpoints.retain(|endpoint| {
            let key = (endpoint.base.clone(), endpoint.path.clone());
            let new = !seen.contains(&key) || endpoint.able.push;
            seen.push(key);
            new
        });
        Ok(endpoints)
    }

    /// Returns the rule with the longest prefix of those that are `fit`; of equals the first.
    fn rule(&self, name: &str, fit: impl Fn(&Rule) -> bool) -> Option<&Rule> {
        let mut best: Option<&Rule> = None;
        for rule in self.rules.iter().filter(|rule| fit(rule)) {
            let longer = best.is_none_or(|best| rule.prefix.len() > best.prefix.len());
            if longer && rule.rest(name).is_some() {
                best = Some(rule);
            }
        }
        best
    }

    fn origin(
        &self,
        repository: &Repository,
        rule: Option<&Rule>,
        configured: &containerd::Configured,
    ) -> Result<Endpoint> {
        let name = repository.canonical();
        let location = rule.and_then(|rule| Some((rule.location.as_ref()?, rule.rest(&name)?)));
        let place = match location {
            Some((location, rest)) => format!("{location}{rest}"),
            None => name,
        };
        let (host, path) = place.split_once('/').unwrap_or((place.as_str(), ""));
        let mut made = self.plain(host, path, rule.is_some_and(|rule| rule.insecure))?;
        made.able.push = true;
        made.adopt_all(rule, configured)?;
        Ok(made)
    }

    /// Returns the server of a host, for what is not about one of its repositories: as those are asked, but never in another's place.
    pub(crate) fn server(&self, host: &str) -> Result<Endpoint> {
        let rule = self.rule(host, |rule| rule.location.is_none());
        let mut made = self.plain(host, "", rule.is_some_and(|rule| rule.insecure))?;
        made.adopt_all(rule, &containerd::load(&self.containerd, host)?)?;
        Ok(made)
    }

    fn mirror(&self, mirror: &Mirror, repository: &Repository, rest: &str) -> Result<Endpoint> {
        let namespace = (mirror.namespace && !covers_itself(&mirror.url, &repository.host))
            .then(|| repository.host.clone());
        let mut made = match base(&mirror.url, mirror.override_path)? {
            Some(base) => {
                let host = authority(&base);
                let mut made = self.plain(&host, &repository.path, mirror.insecure)?;
                made.base = base;
                made
            }
            // podman's: what it says takes the place of the rule's prefix.
            None => {
                let place = format!("{}{rest}", mirror.url);
                let (host, path) = place.split_once('/').unwrap_or((place.as_str(), ""));
                self.plain(host, path, mirror.insecure)?
            }
        };
        made.namespace = namespace;
        made.able = mirror.able;
        made.adopt(&mirror.server)?;
        Ok(made)
    }

    /// Returns a server by its host alone, with what is declared of the host.
    fn plain(&self, host: &str, path: &str, insecure: bool) -> Result<Endpoint> {
        let hub = [HUB, HUB_SERVER, "index.docker.io"].contains(&host);
        let server = if hub { HUB_SERVER } else { host };
        let declared = self.insecure.iter().any(|declared| declared.covers(host));
        let near = !insecure && !declared && address::is_loopback(host);
        let insecure = insecure || declared || near;
        let mut tls = docker::certificates(&self.certs, host)?;
        tls.anybody = insecure && tls.authorities.is_empty();
        let base = Url::parse(&format!("https://{server}/v2/")).map_err(|error| {
            Error::new(
                Kind::Settings,
                format!("{host}: is not the name of a host: {error}"),
            )
        })?;
        Ok(Endpoint {
            host: if hub { HUB } else { host }.to_string(),
            base,
            path: path.to_string(),
            namespace: None,
            able: Able::PULL,
            tls,
            insecure,
            near,
            headers: HeaderMap::new(),
            connect: None,
        })
    }
}

impl Rule {
    /// Returns what of a name is behind the prefix, where that is its beginning and ends with a part of it.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let host = name.split('/').next().unwrap_or(name);
        if self.prefix.starts_with("*.") || self.prefix.parse::<std::net::IpAddr>().is_ok() {
            let declared = Declared::parse(&self.prefix)?;
            return declared.covers(host).then_some(&name[host.len()..]);
        }
        if let Some(range @ Declared::Range(..)) = Declared::parse(&self.prefix) {
            return range.covers(host).then_some(&name[host.len()..]);
        }
        let rest = name.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }
}

impl Endpoint {
    /// Takes over what our own file or podman's says of the server, and then containerd's.
    fn adopt_all(
        &mut self,
        rule: Option<&Rule>,
        configured: &containerd::Configured,
    ) -> Result<()> {
        if let Some(rule) = rule {
            self.adopt(&rule.server)?;
        }
        let Some(own) = &configured.origin else {
            return Ok(());
        };
        self.adopt(&own.server)?;
        self.insecure |= own.insecure;
        self.near &= !own.insecure;
        if let Some(base) = base(&own.url, own.override_path)? {
            self.base = base;
        }
        Ok(())
    }

    fn adopt(&mut self, server: &Server) -> Result<()> {
        self.tls.anybody |= server.tls.anybody;
        self.tls
            .authorities
            .extend(server.tls.authorities.iter().cloned());
        self.tls.client.extend(server.tls.client.iter().cloned());
        self.tls.named = self.tls.named.take().or(server.tls.named.clone());
        if !server.tls.authorities.is_empty() {
            self.tls.anybody = server.tls.anybody;
        }
        self.connect = server.connect.or(self.connect);
        for (name, value) in &server.headers {
            let wrong = || {
                Error::new(
                    Kind::Settings,
                    format!("{}: {name}: is not a header", self.host),
                )
            };
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
            // Often a key.
            value.set_sensitive(true);
            self.headers.insert(header, value);
        }
        Ok(())
    }

    /// Returns the address of something in the repository.
    pub(crate) fn url(&self, kind: &str, name: &str) -> Url {
        let mut url = self.base.clone();
        // An https address has segments always; ours ends with an empty one.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty();
            segments.extend(self.path.split('/'));
            segments.extend(kind.split('/'));
            segments.push(name);
        }
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }
}

/// Reads the address of a mirror; nothing where it has no scheme.
fn base(text: &str, override_path: bool) -> Result<Option<Url>> {
    if !text.contains("://") {
        return Ok(None);
    }
    // What stands before its host may be a login.
    let open = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => text.to_string(),
    };
    let wrong = |why: &str| Error::new(Kind::Settings, format!("mirror {open:?}: {why}"));
    let mut url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(wrong("is not an http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::new(
            Kind::Settings,
            format!("mirror {}: its address holds a login", authority(&url)),
        )
        .advise("log in to that host in its place"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("has a query or a fragment"));
    }
    let path = url.path().trim_end_matches('/').to_string();
    let path = match (override_path, path.strip_suffix("/v2")) {
        (true, _) => format!("{path}/"),
        (false, Some(_)) => format!("{path}/"),
        // A path of a mirror is in front of the repository's.
        (false, None) => format!("/v2{path}/"),
    };
    url.set_path(&path);
    Ok(Some(url))
}

/// Sees at once to what would else be said when the first image is pulled through it; `at` is where it stands.
fn check_mirror(at: &str, mirror: &Mirror) -> Result<()> {
    let Err(error) = base(&mirror.url, mirror.override_path) else {
        return Ok(());
    };
    let made = Error::new(Kind::Settings, format!("{at}: {}", error.message()));
    Err(match error.hint() {
        Some(hint) => made.advise(hint),
        None => made,
    })
}

/// Cuts out of a parser's message what it quotes of a file, which may be a key.
fn unquoted(message: &str) -> String {
    if message.contains("any variant of untagged enum") {
        return "a value is neither of its kind nor a list of such".to_string();
    }
    let quotes = ["invalid type: ", "invalid value: "];
    let quotes = quotes.iter().any(|start| message.starts_with(start));
    // Whatever is quoted, it stands before the last of these words.
    match message.rsplit_once(", expected ") {
        Some((is, wanted)) if quotes => {
            let is = is.split(['"', '`']).next().unwrap_or(is).trim_end();
            format!("{is}, expected {wanted}")
        }
        _ => message.to_string(),
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

fn covers_itself(url: &str, host: &str) -> bool {
    Url::parse(url)
        .is_ok_and(|url| authority(&url) == host || (host == HUB && authority(&url) == HUB_SERVER))
}

fn declared(text: &str, what: &str) -> Result<Declared> {
    Declared::parse(text).ok_or_else(|| {
        Error::new(
            Kind::Settings,
            format!(
                "{what} {text:?}: is neither a host nor a range of addresses such as 10.0.0.0/8"
            ),
        )
    })
}

#[cfg(test)]
mod tests;
