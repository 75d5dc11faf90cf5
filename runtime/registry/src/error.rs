//! Errors: one line each, that says which host, which object, what the server answered and what to try.

use std::error::Error as _;
use std::fmt;
use std::io;

use reqwest::StatusCode;
use rustls::{AlertDescription, CertificateError};
use serde_json::Value;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, for callers that branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The server does not have it.
    NotFound,
    /// A login is missing or was refused.
    Unauthorized,
    /// The login is known and may not do this.
    Denied,
    /// Too many requests, and the server wants a longer pause than we are told to make.
    TooMany,
    /// The certificate of the host is not one that we trust, or there is no common ground.
    Tls,
    /// The host cannot be reached, or it dropped the connection.
    Connect,
    /// The host sends nothing, or next to nothing.
    Silent,
    /// What came is not what was asked for: digest, size, media type.
    Wrong,
    /// The server, or this program, does not do that.
    Unsupported,
    /// The configuration forbids it.
    Blocked,
    /// A file of the configuration, or of credentials, cannot be used.
    Settings,
    /// A program that the configuration names cannot be started.
    NoProgram,
    /// The server answered with a fault of its own.
    Server,
    /// What was to be sent cannot be read here.
    Local,
}

/// An error of one line. Never holds a secret.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    passing: bool,
}

impl Error {
    /// Makes an error of a [`crate::Source`], which cannot be read; `text` is one line.
    pub fn local(text: impl Into<String>) -> Self {
        Self::new(Kind::Local, text)
    }

    /// Returns what callers branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the line without what to try.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what to try, where there is something.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: clean(&message.into(), 1024),
            hint: None,
            passing: false,
        }))
    }

    pub(crate) fn wrong(host: &str, object: &str, what: impl fmt::Display) -> Self {
        Self::new(Kind::Wrong, format!("{host}: {object}: {what}")).advise(WRONG)
    }

    pub(crate) fn advise(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Tells whether the same request may well succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        self.0.passing
    }

    pub(crate) fn passing(mut self) -> Self {
        self.0.passing = true;
        self
    }

    /// It was waited for in vain: whoever has asked for this on the way to something else does not wait once more.
    pub(crate) fn lasting(mut self) -> Self {
        self.0.passing = false;
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

const WRONG: &str = "the server, or what is before it, does not do as registries do: try again, see whether the name is right, or tell who runs it";

/// Cuts a text of a stranger to a line of at most `most` bytes, with control characters out.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.trim().chars() {
        if out.len() + c.len_utf8() > most {
            out.push('…');
            break;
        }
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if !hidden {
            out.push(c);
        } else if c.is_whitespace() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

/// Makes an error of an answer that is a refusal. `body` is its beginning.
pub(crate) fn answered(host: &str, object: &str, status: StatusCode, body: &[u8]) -> Error {
    let reason = status.canonical_reason().unwrap_or("unknown status");
    let mut message = format!("{host}: {object}: {} {reason}", status.as_u16());
    let said = said(body);
    if let Some(said) = &said {
        message = format!("{message} ({said})");
    }
    let (kind, hint) = meaning(host, object, status, said.is_some());
    let error = Error::new(kind, message).advise(hint);
    match status.as_u16() {
        408 | 429 | 500 | 502 | 503 | 504 => error.passing(),
        _ => error,
    }
}

/// Says what kind of refusal a status is, and what to try.
/// `told`: it came with a document of errors.
fn meaning(host: &str, object: &str, status: StatusCode, told: bool) -> (Kind, String) {
    let by_digest = object.contains("sha256:") || object.contains("sha512:");
    let part = if by_digest { "digest" } else { "tag" };
    match status.as_u16() {
        401 => (
            Kind::Unauthorized,
            format!(
                "log in to {host}, or check the name: many registries answer so for what does not exist"
            ),
        ),
        403 => (
            Kind::Denied,
            format!(
                "the login at {host} has no right to this: log in as somebody who has"
            ),
        ),
        404 if object.starts_with("blob ") => (
            Kind::NotFound,
            format!(
                "{host} has lost a part of the image: push it there again, or take another tag"
            ),
        ),
        404 if !told => (
            Kind::NotFound,
            format!(
                "check the name and the {part}, and whether {host} is a registry: it answered 404 as any web server does"
            ),
        ),
        404 => (
            Kind::NotFound,
            format!("check the name and the {part}"),
        ),
        405 | 501 => (
            Kind::Unsupported,
            format!("see whether {host} is a registry, and allows this"),
        ),
        407 => (Kind::Denied, PROXY_LOGIN.to_string()),
        413 => (
            Kind::Denied,
            "the server, or a proxy before it, limits the size of requests: raise that limit, or send smaller pieces (the setting `piece`)"
                    .to_string(),
        ),
        429 => (
            Kind::TooMany,
            "wait, or log in: many registries allow more to those whom they know".to_string(),
        ),
        500..=599 => (
            Kind::Server,
            "it is a fault of the server: try again later".to_string(),
        ),
        _ => (
            Kind::Server,
            format!("see whether {host} is a registry, and what its log says of it"),
        ),
    }
}

/// Returns code and message of an error document, as registries and token servers write them.
fn said(body: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value, key: &str| {
        let text = value.get(key)?.as_str()?;
        Some(clean(text, 256)).filter(|text| !text.is_empty())
    };
    let one = |value: &Value| match (text(value, "code"), text(value, "message")) {
        (Some(code), Some(message)) => Some(format!("{code}: {message}")),
        (code, message) => code.or(message),
    };
    if let Some(errors) = document.get("errors").and_then(Value::as_array) {
        let all: Vec<String> = errors.iter().take(3).filter_map(one).collect();
        return Some(all.join(", ")).filter(|all| !all.is_empty());
    }
    match (
        text(&document, "error"),
        text(&document, "error_description"),
    ) {
        (Some(error), Some(more)) => Some(format!("{error}: {more}")),
        (error, more) => error
            .or(more)
            .or_else(|| text(&document, "details"))
            .or_else(|| one(&document)),
    }
}

/// How the message of an error ends where something else than TLS was answered.
pub(crate) const NO_TLS: &str = "the server does not speak TLS";
/// What to do where the way to the server broke.
pub(crate) const AGAIN: &str = "the connection was lost: see whether the server is up, and try again; a pull or a push goes on where it stopped";
const PROXY_LOGIN: &str =
    "the proxy wants a login: name it in the proxy's address, http://USER:PASSWORD@PROXY";

/// Makes an error of a request that got no answer. Addresses are left out: a redirect's may carry a signature. `proxy` is who may stand
/// between.
pub(crate) fn transport(
    host: &str,
    object: &str,
    error: &reqwest::Error,
    proxy: Option<&str>,
) -> Error {
    if let Some(tls) = tls_cause(error) {
        let (why, hint) = tls_fault(host, tls);
        return Error::new(Kind::Tls, format!("{host}: {object}: {why}")).advise(hint);
    }
    let why = cause(error);
    let made = Error::new(Kind::Connect, format!("{host}: {object}: {why}"));
    match proxy {
        // The connection was there and is gone.
        _ if !error.is_connect() => made.advise(AGAIN).passing(),
        Some(_) if why.contains("proxy auth") => made.advise(PROXY_LOGIN),
        Some(proxy) => made.advise(format!(
            "is {host} the right name, and {proxy} the right proxy?"
        )),
        None => made.advise(format!(
            "is {host} the right name, and does this machine need a proxy to reach it?"
        )),
    }
}

/// Says what kept a connection from being made, or ended it.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no connection in time".to_string();
    }
    let mut last = "the connection was lost".to_string();
    let mut next = error.source();
    while let Some(error) = next {
        last = error.to_string();
        next = error.source();
    }
    let last = last.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    lower(&clean(last, 200))
}

/// Finds what TLS has to say in the causes of an error.
fn tls_cause(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        let mut held = error;
        // What an error of I/O carries is not among its causes, and there may be one in another.
        while let Some(io) = held.downcast_ref::<io::Error>() {
            let Some(inner) = io.get_ref() else { break };
            held = inner;
        }
        if let Some(tls) = held.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        next = error.source();
    }
    None
}

/// Says what is wrong with TLS, and what to do about it.
fn tls_fault(host: &str, error: &rustls::Error) -> (String, String) {
    let ours = || {
        format!(
            "name the certificate and the key for {host} in registries.toml (client), or put them into certs.d/{host} as client.cert and client.key"
        )
    };
    match error {
        rustls::Error::InvalidCertificate(why) => distrusted(host, why),
        // Its first bytes are no record of TLS.
        rustls::Error::InvalidMessage(_) => (
            NO_TLS.to_string(),
            format!(
                "if {host} is to be spoken to in plain HTTP: {}",
                insecure(host)
            ),
        ),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            ("it wants to see a certificate of ours".to_string(), ours())
        }
        // Go's word, before TLS 1.3 also for none at all.
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate),
        ) => (
            format!("it does not take our certificate, or wants one: {alert:?}"),
            ours(),
        ),
        other => (
            format!("no TLS connection: {}", lower(&other.to_string())),
            format!("see whether {host} speaks TLS 1.2 or 1.3"),
        ),
    }
}

/// Says how to do without TLS, or without a certificate that anybody vouches for.
pub(crate) fn insecure(host: &str) -> String {
    format!(
        "declare {host} insecure: `insecure = true` below [registry.\"{host}\"] in registries.toml, or LADE_INSECURE_REGISTRIES={host}"
    )
}

/// Says why a certificate is not one to trust, and what makes it one.
fn distrusted(host: &str, why: &CertificateError) -> (String, String) {
    use CertificateError as Why;
    let days = |from: u64, to: u64| to.saturating_sub(from) / 86_400 + 1;
    let place =
        format!("into /etc/lade/certs.d/{host}/ca.crt, or name its file in registries.toml (ca)");
    let clock = format!(
        "see whether this machine's clock is right; if it is, {host} needs another certificate"
    );
    let another = format!("{host} needs another certificate");
    let (what, hint) = match why {
        // The second: another authority of the same name.
        Why::UnknownIssuer | Why::BadSignature => (
            "nobody whom this machine trusts has signed it".to_string(),
            format!("put the certificate of its authority {place}"),
        ),
        Why::Other(other) if other.to_string() == "CaUsedAsEndEntity" => (
            "it has signed itself, and this machine does not know it".to_string(),
            format!("if it is the right one, put it {place}"),
        ),
        Why::ExpiredContext { time, not_after } => {
            let days = days(not_after.as_secs(), time.as_secs());
            (format!("it ended {days} days ago"), clock)
        }
        Why::Expired => ("its time is over".to_string(), clock),
        Why::NotValidYetContext { time, not_before } => {
            let days = days(time.as_secs(), not_before.as_secs());
            (format!("it begins in {days} days"), clock)
        }
        Why::NotValidYet => ("its time has not begun".to_string(), clock),
        Why::NotValidForNameContext { presented, .. } if !presented.is_empty() => (
            format!("it is for {}, and not for {host}", names(presented)),
            format!("use such a name; else {another}"),
        ),
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            (format!("it is not for {host}"), another)
        }
        Why::Revoked => ("it was revoked".to_string(), another),
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            ("it is not one for servers".to_string(), another)
        }
        Why::Other(other) => (format!("it cannot be checked ({other})"), another),
        other => (format!("it cannot be checked ({other:?})"), another),
    };
    (
        format!("its certificate is not trusted: {what}"),
        format!("{hint}; or {}", insecure(host)),
    )
}

/// The names in a certificate, as many as fit a line: `DnsName("a")` becomes `a`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        clean(inner.trim_matches(['(', ')', '"']), 80)
    };
    let shown: Vec<String> = presented.iter().take(3).map(bare).collect();
    let more = if presented.len() > 3 {
        " and others"
    } else {
        ""
    };
    shown.join(", ") + more
}

fn lower(text: &str) -> String {
    // "No route to host (os error 113)": the number says nothing to a person.
    let text = text.split(" (os error").next().unwrap_or(text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_trusted_is_told_in_words() {
        use rustls::OtherError;
        use rustls::pki_types::{ServerName, UnixTime};
        use std::time::Duration;
        let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(days * 86_400));
        let presented = vec![
            "DnsName(\"a.b\")".to_string(),
            "IpAddress(127.0.0.1)".to_string(),
        ];
        let expected = ServerName::try_from("h").unwrap();
        let own = OtherError(std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity")));
        let odd = OtherError(std::sync::Arc::new(io::Error::other(
            "UnsupportedCertVersion",
        )));
        use CertificateError as Why;
        for (why, want) in [
            (
                Why::UnknownIssuer,
                "nobody whom this machine trusts has signed it; put the certificate of its authority into /etc/lade/certs.d/h/ca.crt",
            ),
            (
                Why::Other(own),
                "it has signed itself, and this machine does not know it; if it is the right one, put it into /etc/lade/certs.d/h/ca.crt",
            ),
            (Why::Other(odd), "it cannot be checked (UnsupportedCert"),
            (
                Why::ExpiredContext {
                    time: at(100),
                    not_after: at(98),
                },
                "it ended 3 days ago; see whether this machine's clock is right",
            ),
            (
                Why::NotValidYetContext {
                    time: at(98),
                    not_before: at(100),
                },
                "it begins in 3 days; see whether this machine's clock is right",
            ),
            (
                Why::NotValidForNameContext {
                    expected,
                    presented,
                },
                "it is for a.b, 127.0.0.1, and not for h; use such a name",
            ),
            (Why::NotValidForName, "it is not for h; h needs another"),
        ] {
            let (what, hint) = distrusted("h", &why);
            let text = format!("{what}; {hint}");
            assert!(
                text.starts_with(&format!("its certificate is not trusted: {want}")),
                "{text}"
            );
            assert!(
                text.contains("; or declare h insecure: ")
                    && text.ends_with("LADE_INSECURE_REGISTRIES=h"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_to_try_is_said_of_every_refusal() {
        for status in 400..=599 {
            let status = StatusCode::from_u16(status).unwrap();
            let error = answered("h", "blob sha256:12", status, b"");
            assert!(error.hint().is_some(), "{error}");
        }
        let lost = answered("h", "blob sha256:12", StatusCode::NOT_FOUND, b"");
        assert!(lost.to_string().contains("h has lost a part"), "{lost}");
    }

    #[test]
    fn what_a_server_says_becomes_one_line() {
        for (status, body, want) in [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"x":1}}]}"#,
                "h: blob x: 404 Not Found (MANIFEST_UNKNOWN: manifest unknown)",
            ),
            (500, "<html>\n", "h: blob x: 500 Internal Server Error"),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "h: blob x: 401 Unauthorized (incorrect username or password)",
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"a\u001b[31m\nb"}"#,
                "h: blob x: 400 Bad Request (invalid_grant: a[31m b)",
            ),
            (403, r#"{"errors":{}}"#, "h: blob x: 403 Forbidden"),
            (
                403,
                r#"{"errors":[1,null,{"code":3}]}"#,
                "h: blob x: 403 Forbidden",
            ),
            (
                429,
                r#"{"message":"slow down"}"#,
                "h: blob x: 429 Too Many Requests (slow down)",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                answered("h", "blob x", status, body.as_bytes()).message(),
                want
            );
        }
        let long = format!(r#"{{"message":"{}"}}"#, "é".repeat(5000));
        let error = answered("h", "x", StatusCode::FORBIDDEN, long.as_bytes());
        assert!(error.message().len() < 300, "{error}");
    }
}
