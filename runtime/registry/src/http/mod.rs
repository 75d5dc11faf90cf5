//! Requests: redirects by hand, pauses with an end, and credentials for the host that they belong to and for no other.

mod answer;
mod proxies;
mod reach;
mod retry;
mod tls;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method, StatusCode, Url};
use tokio::time::timeout;

use crate::error::{Error, Kind, Result, clean, transport};
use crate::hosts::Tls;
pub(crate) use answer::Answer;
pub use proxies::Proxies;
pub(crate) use retry::date;
pub use retry::retry_after;
pub(crate) use retry::{Again, Tries};

/// As many as browsers had when the number was found to be enough.
const MOST_REDIRECTS: u32 = 10;

/// How long to wait for what.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection, with its TLS.
    pub connect: Duration,
    /// For a server that says nothing.
    pub silence: Duration,
    /// As many bytes must come within `silence`: a server that gives one byte a minute says nothing.
    pub least: u64,
    /// For all of a small document: what comes byte by byte is never silent, and never there.
    pub whole: Duration,
    /// So often is a request tried again that may succeed then.
    pub retries: u32,
    /// The pause before the first of them; doubled for each more, and up to half of it longer or shorter by chance.
    pub backoff: Duration,
    /// The longest pause, also where the server asks for one (`Retry-After`).
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            least: 1024,
            // 70 KB a second for the largest manifest that is taken.
            whole: Duration::from_secs(60),
            retries: 5,
            backoff: Duration::from_millis(500),
            longest: Duration::from_secs(60),
        }
    }
}

/// What is worth telling while a call goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A request will be made again.
    Retry {
        /// By which host.
        host: String,
        /// What was asked for.
        object: String,
        /// In a line.
        why: String,
        /// After this pause.
        wait: Duration,
        /// Which attempt that will be, the first being 1, and how many there are.
        attempt: (u32, u32),
    },
    /// A request was answered, or not.
    Asked {
        /// Method, host and path, what came of it and how long that took; no query, no header, nothing private.
        line: String,
    },
    /// A server has something to say (`Warning: 299`); each is told once.
    Warning {
        /// Which server.
        host: String,
        /// In a line.
        text: String,
    },
    /// A program that keeps logins cannot be started; without it, nobody is logged in.
    NoProgram {
        /// Whose login was looked for.
        host: String,
        /// In a line.
        why: String,
    },
    /// Something was pushed, and the list of what refers to its subject was not brought up to date.
    Unlisted {
        /// Where.
        host: String,
        /// In a line.
        why: String,
    },
    /// A mirror could not serve, and the next server is asked.
    Mirror {
        /// Which mirror.
        host: String,
        /// In a line.
        why: String,
    },
}

/// Who is told.
#[derive(Clone, Default)]
pub struct Notices(Option<Arc<Listener>>);

type Listener = dyn Fn(&Notice) + Send + Sync;

impl Notices {
    /// Tells a function.
    pub fn to(listener: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn tell(&self, notice: &Notice) {
        if let Some(listener) = &self.0 {
            listener(notice);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Notices(heard)"
        } else {
            "Notices(unheard)"
        })
    }
}

/// Connections to all hosts.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) patience: Patience,
    pub(crate) notices: Notices,
    agent: String,
    proxies: Proxies,
    clients: Mutex<HashMap<Manner, reqwest::Client>>,
    reached: reach::Reached,
    roots: OnceLock<tls::Roots>,
    warnings: Mutex<Vec<String>>,
}

/// What connections have in common that may be used one for another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Manner {
    tls: Tls,
    /// How long to wait for one.
    connect: Duration,
    /// Proxies are asked.
    proxied: bool,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// For messages.
    pub(crate) host: String,
    pub(crate) object: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// What is private (`authorization`, `private`, the certificate of ours) goes to the scheme, host and port of this address only.
    pub(crate) own: Url,
    pub(crate) tls: Tls,
    pub(crate) connect: Option<Duration>,
    pub(crate) headers: HeaderMap,
    pub(crate) private: HeaderMap,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) payload: Payload,
    /// So many silences may pass before the answer: the end of an upload makes the server read all of it again.
    pub(crate) silences: u32,
    /// Another server is asked where this one is gone: it is not waited for.
    pub(crate) replaceable: bool,
}

/// What is sent along. It can be sent again.
#[derive(Clone)]
pub(crate) enum Payload {
    None,
    Bytes(Bytes),
    /// A stream of so many bytes, made anew for each attempt.
    Stream(Arc<dyn Fn(&Pulse) -> reqwest::Body + Send + Sync>, u64),
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Stream(_, size) => write!(f, "Stream({size})"),
        }
    }
}

/// How far the sending of a body is: one more for each step, and odd while it is we who make the next bytes, which the server cannot help.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Call {
    pub(crate) fn get(url: Url, host: &str, object: &str) -> Self {
        Self {
            host: host.to_string(),
            object: object.to_string(),
            method: Method::GET,
            own: url.clone(),
            url,
            tls: Tls::default(),
            connect: None,
            headers: HeaderMap::new(),
            private: HeaderMap::new(),
            authorization: None,
            payload: Payload::None,
            silences: 1,
            replaceable: false,
        }
    }

    pub(crate) fn header(&mut self, name: &'static str, value: &str) -> Result<()> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::new(Kind::Local, format!("{name}: is not a header's value")))?;
        self.headers.append(HeaderName::from_static(name), value);
        Ok(())
    }
}

impl Wire {
    pub(crate) fn new(
        agent: String,
        patience: Patience,
        proxies: Proxies,
        notices: Notices,
    ) -> Result<Self> {
        let wire = Self {
            patience,
            notices,
            agent,
            proxies,
            clients: Mutex::default(),
            reached: reach::Reached::default(),
            roots: OnceLock::new(),
            warnings: Mutex::default(),
        };
        wire.proxies.check()?;
        Ok(wire)
    }

    /// Makes a request, and makes it again where that may help. The answer may still be a refusal.
    pub(crate) async fn patient(&self, call: &Call) -> Result<Answer> {
        let mut tries = Tries::new(&self.patience);
        loop {
            let result = self.once(call).await;
            let Some(again) = tries.after(call, &result) else {
                return result.map_err(Error::lasting);
            };
            self.pause(call, again).await;
        }
    }

    pub(crate) async fn pause(&self, call: &Call, again: Again) {
        let Again { why, wait, attempt } = again;
        // A listener has both already.
        let known = format!("{}: {}: ", call.host, call.object);
        let why = why.strip_prefix(&known).map_or(why.clone(), String::from);
        self.notices.tell(&Notice::Retry {
            host: call.host.clone(),
            object: call.object.clone(),
            why,
            wait,
            attempt,
        });
        tokio::time::sleep(wait).await;
    }

    /// Makes a request, and follows where the server sends it.
    pub(crate) async fn once(&self, call: &Call) -> Result<Answer> {
        let mut url = call.url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send(call, &url).await?;
            let Some(next) = redirect(call, &answer)? else {
                return Ok(answer);
            };
            url = next;
        }
        let many = format!("is redirected more than {MOST_REDIRECTS} times");
        Err(Error::wrong(&call.host, &call.object, many))
    }

    async fn send(&self, call: &Call, url: &Url) -> Result<Answer> {
        let own = same_origin(url, &call.own);
        let mut tls = call.tls.clone();
        if !own {
            tls.client.clear();
        }
        let client = self.client(Manner {
            tls,
            connect: call.connect.unwrap_or(self.patience.connect),
            proxied: !self.proxies.leave_out(url),
        })?;
        let pulse = Pulse::default();
        let mut request = client.request(call.method.clone(), url.clone());
        request = request.headers(call.headers.clone());
        if own {
            request = request.headers(call.private.clone());
            if let Some(authorization) = &call.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
        }
        request = match &call.payload {
            Payload::None if call.method == Method::GET || call.method == Method::HEAD => request,
            Payload::None => request.header(CONTENT_LENGTH, 0),
            Payload::Bytes(bytes) => request.body(bytes.clone()),
            Payload::Stream(make, size) => request.header(CONTENT_LENGTH, *size).body(make(&pulse)),
        };
        let begin = Instant::now();
        let response = self.await_response(call, url, request.send(), &pulse).await;
        self.notices.tell(&Notice::Asked {
            line: asked(call, url, &response, begin.elapsed()),
        });
        let response = response?;
        self.reached.note(url);
        self.collect_warnings(call, response.headers());
        Ok(Answer::new(response, call, url.clone(), &self.patience))
    }

    /// Waits for the beginning of an answer, as long as something moves.
    async fn await_response(
        &self,
        call: &Call,
        url: &Url,
        sent: impl Future<Output = reqwest::Result<reqwest::Response>>,
        pulse: &Pulse,
    ) -> Result<reqwest::Response> {
        let mut sent = pin!(sent);
        let mut before = pulse.count();
        let mut silent = 0;
        loop {
            let wait = self
                .patience
                .silence
                .max(call.connect.unwrap_or(self.patience.connect));
            if let Ok(done) = timeout(wait, &mut sent).await {
                return done.map_err(|error| self.transport(call, url, &error));
            }
            let now = pulse.count();
            let ours = now % 2 == 1;
            silent = if now == before && !ours {
                silent + 1
            } else {
                0
            };
            before = now;
            if silent >= call.silences {
                return Err(answer::silent(call, wait * silent));
            }
        }
    }

    fn transport(&self, call: &Call, url: &Url, error: &reqwest::Error) -> Error {
        let proxy = self.proxies.before(url);
        let made = transport(&call.host, &call.object, error, proxy.as_deref());
        let no_roots = self.roots.get().is_some_and(tls::Roots::is_empty);
        if made.kind() == Kind::Tls && no_roots {
            return made.advise(
                "this machine has no certificates of authorities: install ca-certificates",
            );
        }
        if error.is_connect() && made.kind() == Kind::Connect {
            return self.reached.unreached(call, url, error, made);
        }
        made
    }

    fn client(&self, manner: Manner) -> Result<reqwest::Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match clients.entry(manner) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(free) => {
                let made = self.make(free.key())?;
                free.insert(made).clone()
            }
        })
    }

    fn make(&self, manner: &Manner) -> Result<reqwest::Client> {
        let config = tls::config(&manner.tls, &self.roots)?;
        let mut making = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .user_agent(&self.agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(manner.connect)
            .pool_max_idle_per_host(16)
            // Neither from the environment: our caller has read that.
            .no_proxy();
        if manner.proxied {
            for proxy in self.proxies.each()? {
                making = making.proxy(proxy);
            }
        }
        making.build().map_err(|error| {
            Error::new(
                Kind::Settings,
                format!("connections cannot be made: {}", error.without_url()),
            )
        })
    }

    fn collect_warnings(&self, call: &Call, headers: &HeaderMap) {
        for value in headers.get_all("warning") {
            let Some(text) = value.to_str().ok().and_then(warning) else {
                continue;
            };
            let host = call.host.clone();
            self.warn(format!("{host}: {text}"), &Notice::Warning { host, text });
        }
    }

    /// Tells something once, however often it is so.
    pub(crate) fn warn(&self, line: String, notice: &Notice) {
        let mut known = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        // A server may warn without end, but not us.
        if known.len() < 100 && !known.contains(&line) {
            known.push(line);
            drop(known);
            self.notices.tell(notice);
        }
    }
}

pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Writes what became of a request, without what only its two ends may know.
fn asked(call: &Call, url: &Url, response: &Result<reqwest::Response>, took: Duration) -> String {
    let authority = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_string(),
    };
    let done = match response {
        Ok(response) => response.status().as_u16().to_string(),
        Err(_) => "no answer".to_string(),
    };
    let (method, scheme, path) = (&call.method, url.scheme(), url.path());
    let millis = took.as_millis();
    clean(
        &format!("{method} {scheme}://{authority}{path}: {done}, {millis} ms"),
        500,
    )
}

/// Returns where an answer sends the request, if it does.
fn redirect(call: &Call, answer: &Answer) -> Result<Option<Url>> {
    let status = answer.status();
    let reads = call.method == Method::GET || call.method == Method::HEAD;
    match status.as_u16() {
        307 | 308 => {}
        301..=303 if reads => {}
        301..=303 => {
            let what = format!(
                "{} redirects what is to be written: {status}",
                answer.host()
            );
            return Err(Error::wrong(&call.host, &call.object, what));
        }
        _ => return Ok(None),
    }
    let wrong = |what: &str| Error::wrong(&call.host, &call.object, what);
    let target = answer
        .header(LOCATION.as_str())
        .ok_or_else(|| wrong("is redirected to nowhere"))?;
    let next = answer
        .url()
        .join(target)
        .map_err(|_| wrong("is redirected to what is no address"))?;
    // A form holds the login itself.
    let form = call.method == Method::POST && matches!(call.payload, Payload::Bytes(_));
    if form && !same_origin(&next, &call.own) {
        let what = "is redirected to another host, which is not to see the login";
        let what = format!("{}: {}: {what}", call.host, call.object);
        return Err(Error::new(Kind::Blocked, what));
    }
    match (answer.url().scheme(), next.scheme()) {
        ("https" | "http", "https") | ("http", "http") => Ok(Some(next)),
        ("https", "http") => Err(Error::new(
            Kind::Blocked,
            format!(
                "{}: {}: is redirected from https to plain http",
                call.host, call.object
            ),
        )),
        _ => Err(wrong("is redirected to neither http nor https")),
    }
}

/// Reads `299 - "text"`; only this code is for people.
fn warning(value: &str) -> Option<String> {
    let rest = value.trim().strip_prefix("299 ")?;
    let quoted = rest.split_once('"')?.1;
    let text = quoted.rsplit_once('"')?.0.replace("\\\"", "\"");
    Some(clean(&text, 300)).filter(|text| !text.is_empty())
}

/// Tells whether a status may be another one in a moment.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_warnings_for_people_are_shown() {
        for (header, want) in [
            (r#"299 - "repository moves""#, Some("repository moves")),
            (
                r#"299 host "a \"b\" c" "Sat, 25 Aug 2012""#,
                Some(r#"a "b" c" "Sat, 25 Aug 2012"#),
            ),
            (r#"199 - "other""#, None),
            ("299 - \"\x1b[2Jx\"", Some("[2Jx")),
            ("299 - \"\"", None),
            ("299", None),
            ("", None),
        ] {
            assert_eq!(warning(header).as_deref(), want, "{header}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (one, other, want) in [
            ("https://a/x", "https://a:443/y?z", true),
            ("https://a/", "http://a/", false),
            ("https://a/", "https://b/", false),
            ("https://a/", "https://a:444/", false),
            ("https://A/", "https://a/", true),
            ("https://a/", "https://a.evil/", false),
        ] {
            let parse = |text| Url::parse(text).unwrap();
            assert_eq!(
                same_origin(&parse(one), &parse(other)),
                want,
                "{one} {other}"
            );
        }
    }
}
