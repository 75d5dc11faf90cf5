//! The client: which server to ask, and with which right.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use image::{Digest, Reference, Repository};
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use tokio::sync::OnceCell;

use crate::auth::challenge::challenges;
use crate::auth::scope::Scopes;
use crate::auth::token::{Asker, Tokens, Way};
use crate::credentials::{Credentials, Found, Login};
use crate::error::{Error, Kind, NO_TLS, Result};
use crate::hosts::{Able, Endpoint, Hosts, address};
use crate::http::{Answer, Call, Notice, Notices, Patience, Proxies, Tries, Wire, same_origin};

/// What a client is to keep to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Mirrors, insecure hosts, certificates.
    pub hosts: Hosts,
    /// Logins.
    pub credentials: Credentials,
    /// How we name ourselves (`User-Agent`).
    pub agent: String,
    /// Proxies.
    pub proxies: Proxies,
    /// How long to wait for what.
    pub patience: Patience,
    /// Layers that their registry does not give may be fetched from the addresses in their descriptors, without any login.
    pub foreign: bool,
    /// A blob of more bytes is sent in pieces of so many: a push that is killed goes on behind the last of them. A reader may ask for
    /// pieces of this size, too.
    pub chunk: u64,
    /// Who is told of pauses and warnings.
    pub notices: Notices,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hosts: Hosts::default(),
            credentials: Credentials::default(),
            agent: format!("lade/{}", env!("CARGO_PKG_VERSION")),
            proxies: Proxies::default(),
            patience: Patience::default(),
            foreign: false,
            chunk: 16 << 20,
            notices: Notices::default(),
        }
    }
}

/// What is asked for in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// What has this name there now.
    Tag(String),
    /// This, and nothing else.
    Digest(Digest),
}

impl From<&Reference> for Which {
    /// The digest counts where there is one; without anything, it is `latest`.
    fn from(reference: &Reference) -> Self {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Self::Digest(*digest),
            (None, Some(tag)) => Self::Tag(tag.clone()),
            (None, None) => Self::Tag("latest".to_string()),
        }
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A client; its clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    wire: Wire,
    tokens: Tokens,
    /// How each server wants to be answered for what: saves the refusal before each request.
    ways: Mutex<HashMap<(String, Scopes), Way>>,
    logins: Slots<(String, String), Found>,
    /// Of insecure servers: whether they speak plain HTTP.
    plain: Slots<String, bool>,
    distrusted: Mutex<HashSet<String>>,
}

/// Values that are found once, however many wait for one; who wants another one does not wait for it.
type Slots<K, V> = Mutex<HashMap<K, Arc<OnceCell<V>>>>;

fn slot<K: Eq + Hash, V>(slots: &Slots<K, V>, key: K) -> Arc<OnceCell<V>> {
    let mut all = slots.lock().unwrap_or_else(PoisonError::into_inner);
    all.entry(key).or_default().clone()
}

impl Client {
    /// Makes a client. Nothing is connected to yet.
    pub fn new(settings: Settings) -> Result<Self> {
        let wire = Wire::new(
            settings.agent.clone(),
            settings.patience.clone(),
            settings.proxies.clone(),
            settings.notices.clone(),
        )?;
        Ok(Self(Arc::new(Inner {
            settings,
            wire,
            tokens: Tokens::default(),
            ways: Mutex::default(),
            logins: Mutex::default(),
            plain: Mutex::default(),
            distrusted: Mutex::default(),
        })))
    }

    /// Returns how large a piece of a large blob is.
    pub fn chunk(&self) -> u64 {
        self.settings().chunk
    }

    /// Asks a mirror for no blob any more, as what it gave was wrong. The host of a name itself is still asked.
    pub fn distrust(&self, host: &str) {
        let mut distrusted = self
            .0
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        distrusted.insert(host.to_string());
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.0.wire
    }

    /// Returns the servers to ask for something of a repository, in order; there is at least one.
    pub(crate) fn servers(
        &self,
        repository: &Repository,
        fit: impl Fn(Able) -> bool,
    ) -> Result<Vec<Endpoint>> {
        let mut servers = self.settings().hosts.endpoints(repository)?;
        let distrusted = self
            .0
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = servers.pop();
        servers.retain(|server| fit(server.able) && !distrusted.contains(&server.host));
        servers.extend(last);
        Ok(servers)
    }

    /// Returns the server that a repository is written to, which is never a mirror.
    pub(crate) async fn writer(&self, repository: &Repository) -> Result<Endpoint> {
        let origin = self.settings().hosts.endpoints(repository)?.pop();
        let origin = origin.ok_or_else(|| Error::new(Kind::Settings, "no server"))?;
        self.settle(&origin).await
    }

    /// Decides between https and plain HTTP for a server that may speak either, once.
    ///
    /// On loopback plain HTTP is tried first, which most servers there speak; elsewhere it is what is left when there is no TLS.
    pub(crate) async fn settle(&self, endpoint: &Endpoint) -> Result<Endpoint> {
        let mut settled = endpoint.clone();
        if !endpoint.insecure || endpoint.base.scheme() != "https" {
            return Ok(settled);
        }
        let mut plain_base = endpoint.base.clone();
        // Cannot fail between these two.
        let _ = plain_base.set_scheme("http");
        let known = slot(&self.0.plain, origin(&endpoint.base));
        if *known
            .get_or_init(|| self.is_plain(endpoint, &plain_base))
            .await
        {
            settled.base = plain_base;
        }
        Ok(settled)
    }

    async fn is_plain(&self, endpoint: &Endpoint, plain: &Url) -> bool {
        if address::is_loopback(&endpoint.host) {
            match self.speaks(endpoint, plain).await {
                Some(speaks) => return speaks,
                None => return self.speaks(endpoint, &endpoint.base).await != Some(true),
            }
        }
        self.speaks(endpoint, &endpoint.base).await != Some(true)
    }

    /// Tells whether a server speaks this scheme; nothing where it cannot be asked. One that is silent does not speak another either.
    async fn speaks(&self, endpoint: &Endpoint, base: &Url) -> Option<bool> {
        let mut call = Call::get(base.clone(), &endpoint.host, "version");
        call.tls = endpoint.tls.clone();
        call.connect = endpoint.connect;
        match self.wire().once(&call).await {
            // What a TLS server of Go answers to plain HTTP.
            Ok(answer) => {
                Some(base.scheme() == "https" || answer.status() != StatusCode::BAD_REQUEST)
            }
            Err(error) if error.kind() == Kind::Silent => Some(true),
            // A certificate that we do not trust is TLS all the same: plain HTTP would only hide why.
            Err(error) if error.kind() == Kind::Tls => Some(!error.message().ends_with(NO_TLS)),
            Err(error) => (error.kind() == Kind::Settings).then_some(true),
        }
    }

    /// Prepares a request for something of a repository; the server is settled.
    pub(crate) fn call(&self, endpoint: &Endpoint, method: Method, url: Url, object: &str) -> Call {
        let mut call = Call::get(url, &endpoint.host, object);
        call.method = method;
        call.own = endpoint.base.clone();
        call.tls = endpoint.tls.clone();
        call.connect = endpoint.connect;
        call.private = endpoint.headers.clone();
        // Only the host of the name itself is written to.
        call.replaceable = !endpoint.able.push;
        call
    }

    /// Makes a request with the right that it needs, and makes it again where that may help.
    pub(crate) async fn ask(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        scopes: &Scopes,
    ) -> Result<Answer> {
        let mut tries = Tries::new(&self.settings().patience);
        loop {
            let result = self.ask_once(endpoint, call, scopes).await;
            let Some(again) = tries.after(call, &result) else {
                return result.map_err(Error::lasting);
            };
            self.wire().pause(call, again).await;
        }
    }

    /// Makes a request with the right that it needs. The answer may be a refusal.
    pub(crate) async fn ask_once(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        scopes: &Scopes,
    ) -> Result<Answer> {
        let result = self.ask_as_known(endpoint, call, scopes).await;
        let refused = match &result {
            Ok(answer) => matches!(answer.status().as_u16(), 401 | 403),
            Err(error) => matches!(error.kind(), Kind::Unauthorized | Kind::Denied),
        };
        if !refused {
            return result;
        }
        let key = (endpoint.host.clone(), endpoint.path.clone());
        let looked_up = slot(&self.0.logins, key);
        let Some(error) = looked_up.get().and_then(|found| found.failed.as_ref()) else {
            return result;
        };
        // Only now it matters.
        let (host, object, why) = (&call.host, &call.object, error.message());
        let what = format!("{host}: {object}: a login is wanted, and {why}");
        Err(Error::new(Kind::Unauthorized, what)
            .advise("see why that program has none, or log in again"))
    }

    async fn ask_as_known(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        scopes: &Scopes,
    ) -> Result<Answer> {
        let mut call = call.clone();
        let key = (origin(&call.own), scopes.clone());
        let known = self.ways().get(&key).cloned();
        if let Some(way) = known {
            call.authorization = self.authorize(endpoint, &way, None).await?;
        }
        // A token that has run out, and then one with more rights.
        for _ in 0..2 {
            let answer = self.wire().once(&call).await?;
            let asked =
                answer.status() == StatusCode::UNAUTHORIZED && same_origin(answer.url(), &call.own);
            let Some(way) = asked.then(|| way(&answer, scopes)).flatten() else {
                return Ok(answer);
            };
            let fresh = self
                .authorize(endpoint, &way, call.authorization.as_ref())
                .await?;
            if fresh.is_none() || fresh == call.authorization {
                return Ok(answer);
            }
            self.ways().insert(key.clone(), way);
            call.authorization = fresh;
        }
        self.wire().once(&call).await
    }

    fn ways(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Scopes), Way>> {
        self.0.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorize(
        &self,
        endpoint: &Endpoint,
        way: &Way,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        let login = self.login_for(&endpoint.host, &endpoint.path).await?;
        let asker = asker(endpoint, way, login);
        self.0
            .tokens
            .answer(self.wire(), &asker, way, refused)
            .await
    }

    /// Looks a login up, once: a helper program may ask a person.
    async fn login_for(&self, host: &str, path: &str) -> Result<Option<Login>> {
        let (host, path) = (host.to_string(), path.to_string());
        let known = slot(&self.0.logins, (host.clone(), path.clone()));
        let look_up = || async move {
            let (credentials, name) = (self.settings().credentials.clone(), host.clone());
            let found = tokio::task::spawn_blocking(move || credentials.find(&name, &path)).await;
            let found = found
                .map_err(|_| Error::new(Kind::Settings, "the look-up of a login was given up"))??;
            if let Some(missing) = &found.missing {
                let why = missing.to_string();
                self.wire()
                    .warn(why.clone(), &Notice::NoProgram { host, why });
            }
            Ok(found)
        };
        Ok(known.get_or_try_init(look_up).await?.login.clone())
    }

    pub(crate) fn mirror_failed(&self, endpoint: &Endpoint, error: &Error) {
        self.settings().notices.tell(&Notice::Mirror {
            host: endpoint.host.clone(),
            why: error.message().to_string(),
        });
    }
}

/// Says for whom a token is asked. A certificate of ours is shown to no other host than the registry; and that this machine may be
/// whoever it says it is holds for no other one.
pub(crate) fn asker(endpoint: &Endpoint, way: &Way, login: Option<Login>) -> Asker {
    let mut tls = endpoint.tls.clone();
    if let Way::Bearer { realm, .. } = way {
        let realm = Url::parse(realm).ok();
        let host = realm.as_ref().and_then(Url::host_str);
        if host != endpoint.base.host_str() {
            tls.client.clear();
        }
        if endpoint.near && !host.is_some_and(address::is_loopback) {
            tls.anybody = false;
        }
    }
    Asker {
        host: endpoint.host.clone(),
        tls,
        plain: endpoint.insecure || endpoint.base.scheme() == "http",
        near: endpoint.near,
        login,
    }
}

pub(crate) fn way(answer: &Answer, scopes: &Scopes) -> Option<Way> {
    let headers = answer.headers().get_all("www-authenticate");
    let texts = headers
        .iter()
        .take(16)
        .filter_map(|value| value.to_str().ok());
    let all: Vec<_> = texts.flat_map(challenges).collect();
    Way::choose(&all, scopes)
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
