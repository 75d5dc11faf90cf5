//! Tokens: one per realm, service, set of scopes and login; asked for once, however many wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::auth::challenge::Challenge;
use crate::auth::scope::Scopes;
use crate::credentials::Login;
use crate::error::{Error, Kind, Result, answered, insecure};
use crate::hosts::Tls;
use crate::hosts::address::is_loopback;
use crate::http::{Answer, Call, Payload, Wire, date};
use crate::secret::Secret;

/// What the specification of tokens says where a server does not.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token that ends while its request is on the way is of no use. Of a short life a quarter is left for that.
const MARGIN: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 1 << 20;
/// By it a server tells its users what has a token of theirs.
const CLIENT: &str = "lade";

/// How a server wants to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scopes: Scopes,
    },
}

impl Way {
    /// Chooses among challenges: Bearer before Basic, as tokens are worth less to a thief.
    pub(crate) fn choose(all: &[Challenge], ours: &Scopes) -> Option<Self> {
        let bearer = all
            .iter()
            .filter(|challenge| challenge.scheme == "bearer")
            .find_map(|challenge| {
                let asked = challenge.get("scope").unwrap_or_default();
                Some(Self::Bearer {
                    realm: challenge.get("realm")?.to_string(),
                    service: challenge.get("service").map(str::to_string),
                    scopes: ours.clone().and(&Scopes::parse(asked)),
                })
            });
        bearer.or_else(|| {
            let mut schemes = all.iter().map(|challenge| challenge.scheme.as_str());
            schemes
                .any(|scheme| scheme == "basic")
                .then_some(Self::Basic)
        })
    }
}

/// For whom a token is asked.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    /// The registry, for messages.
    pub(crate) host: String,
    pub(crate) tls: Tls,
    /// The registry was reached without TLS: so may its token server be.
    pub(crate) plain: bool,
    /// So, but only because it is this machine: what is said to another one would be heard on the way.
    pub(crate) near: bool,
    pub(crate) login: Option<Login>,
}

#[derive(Debug, Clone)]
struct Token {
    secret: Secret,
    until: Instant,
}

type Key = (String, Way, Option<Login>);
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Tokens by what they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Slot>>);

impl Tokens {
    /// Returns the `Authorization` that answers a challenge. `refused` is the one that the server did not take: no other is given out
    /// for it but a newer one.
    pub(crate) async fn answer(
        &self,
        wire: &Wire,
        asker: &Asker,
        way: &Way,
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>> {
        if let Some(Login::Token(token)) = &asker.login {
            return header("Bearer", token.expose()).map(Some);
        }
        let Way::Bearer { .. } = way else {
            return asker.login.as_ref().and_then(basic).transpose();
        };
        let key = (asker.host.clone(), way.clone(), asker.login.clone());
        let slot = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        };
        // Held over the request: whoever comes meanwhile waits for the token of the first.
        let mut slot = slot.lock().await;
        if let Some(token) = &*slot
            && token.until > Instant::now()
        {
            let known = header("Bearer", token.secret.expose())?;
            if refused != Some(&known) {
                return Ok(Some(known));
            }
        }
        let token = fetch(wire, asker, way, false).await?.token(&asker.host)?;
        let fresh = header("Bearer", token.secret.expose())?;
        *slot = Some(token);
        Ok(Some(fresh))
    }
}

fn basic(login: &Login) -> Option<Result<HeaderValue>> {
    match login {
        Login::Password { user, password } => {
            let pair = format!("{user}:{}", password.expose());
            Some(header("Basic", &STANDARD.encode(pair)))
        }
        Login::Identity { .. } | Login::Token(_) => None,
    }
}

fn header(scheme: &str, secret: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {secret}"))
        .map_err(|_| Error::new(Kind::Wrong, "a token has characters that no token may have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// What a token server answers.
#[derive(Deserialize)]
pub(crate) struct Given {
    token: Option<Secret>,
    access_token: Option<Secret>,
    pub(crate) refresh_token: Option<Secret>,
    expires_in: Option<f64>,
    issued_at: Option<String>,
    /// How long it had been given out already.
    #[serde(skip)]
    age: Duration,
}

impl Given {
    fn token(self, host: &str) -> Result<Token> {
        let set = |secret: &Secret| !secret.expose().is_empty();
        let secret = self.token.filter(set).or(self.access_token.filter(set));
        let secret = secret.ok_or_else(|| {
            Error::wrong(
                host,
                "token",
                "the token server gave an answer without a token",
            )
        })?;
        // Bounded: what is said to live for ever is asked for again after a day.
        let life = match self.expires_in {
            Some(seconds) if seconds > 0.0 => Duration::from_secs_f64(seconds.min(86_400.0)),
            _ => DEFAULT_LIFE,
        };
        let life = life.saturating_sub(self.age);
        Ok(Token {
            secret,
            until: Instant::now() + life.saturating_sub(MARGIN.min(life / 4)),
        })
    }
}

/// Asks a token server; `offline`: for a refresh token, too.
pub(crate) async fn fetch(wire: &Wire, asker: &Asker, way: &Way, offline: bool) -> Result<Given> {
    let Way::Bearer { realm, .. } = way else {
        return Err(Error::new(Kind::Unsupported, "no token server"));
    };
    let realm = check_realm(asker, realm)?;
    let first_by_form = matches!(asker.login, Some(Login::Identity { .. }));
    let (mut answer, mut body) = ask(wire, asker, way, &realm, first_by_form, offline).await?;
    let unknown = matches!(
        answer.status(),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    );
    // A server may know one of the two forms only. Without a login, the form has nothing to say.
    if unknown && asker.login.is_some() {
        (answer, body) = ask(wire, asker, way, &realm, !first_by_form, offline).await?;
    }
    let status = answer.status();
    let object = match &asker.login {
        Some(_) => format!("token of {} for the login", authority(&realm)),
        None => format!("token of {}", authority(&realm)),
    };
    if !status.is_success() {
        let error = answered(&asker.host, &object, status, &body);
        return Err(match (status.as_u16(), &asker.login) {
            (400 | 401 | 403, Some(_)) => {
                Error::new(Kind::Unauthorized, error.message()).advise(format!(
                    "the login for {} is wrong or too old: log in again",
                    asker.host
                ))
            }
            (400 | 401 | 403, None) => Error::new(Kind::Unauthorized, error.message())
                .advise(format!("log in to {}", asker.host)),
            _ => error,
        });
    }
    let mut given: Given = serde_json::from_slice(&body).map_err(|_| {
        Error::wrong(
            &asker.host,
            &object,
            "the answer is not what a token server gives",
        )
    })?;
    given.age = age(given.issued_at.as_deref(), answer.header("date"));
    Ok(given)
}

/// Returns how old a token is by its server's own clock: ours may be another. A server that keeps tokens gives out old ones.
fn age(issued_at: Option<&str>, now: Option<&str>) -> Duration {
    let age = || {
        let issued: image::Time = issued_at?.parse().ok()?;
        let issued = u64::try_from(issued.seconds()).ok()?;
        now.and_then(date)?.checked_sub(issued)
    };
    Duration::from_secs(age().unwrap_or(0))
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

fn check_realm(asker: &Asker, realm: &str) -> Result<Url> {
    let url = Url::parse(realm)
        .ok()
        .filter(Url::has_host)
        .ok_or_else(|| {
            Error::wrong(
                &asker.host,
                "token",
                "its token server has no usable address",
            )
        })?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if asker.plain && (!asker.near || is_loopback(&authority(&url))) => Ok(url),
        scheme => Err(Error::new(
            Kind::Blocked,
            format!(
                "{}: token: its token server is to be reached by {scheme}, which would show the login to others",
                asker.host
            ),
        )
        .advise(format!("if it is meant to be so: {}", insecure(&asker.host)))),
    }
}

async fn ask(
    wire: &Wire,
    asker: &Asker,
    way: &Way,
    realm: &Url,
    form: bool,
    offline: bool,
) -> Result<(Answer, Vec<u8>)> {
    let fields = fields(asker.login.as_ref(), way, form, offline);
    let mut url = realm.clone();
    let mut call = Call::get(url.clone(), &asker.host, "token");
    call.tls = asker.tls.clone();
    call.own = realm.clone();
    if form {
        let mut body = Url::parse("form:").map_err(|_| Error::new(Kind::Local, "no form"))?;
        body.query_pairs_mut().extend_pairs(&fields);
        let body = body.query().unwrap_or_default().to_string();
        call.method = Method::POST;
        call.header("content-type", "application/x-www-form-urlencoded")?;
        call.payload = Payload::Bytes(body.into());
    } else {
        url.query_pairs_mut().extend_pairs(&fields);
        call.url = url;
        call.authorization = asker.login.as_ref().and_then(basic).transpose()?;
    }
    let mut answer = wire.patient(&call).await?;
    let body = answer.body(MOST_BYTES).await?;
    Ok((answer, body))
}

fn fields(
    login: Option<&Login>,
    way: &Way,
    form: bool,
    offline: bool,
) -> Vec<(&'static str, String)> {
    let Way::Bearer {
        service, scopes, ..
    } = way
    else {
        return Vec::new();
    };
    let mut fields = Vec::new();
    if let Some(service) = service {
        fields.push(("service", service.clone()));
    }
    if !form {
        fields.extend(scopes.each().map(|scope| ("scope", scope)));
        if let Some(Login::Password { user, .. } | Login::Identity { user, .. }) = login {
            fields.push(("account", user.clone()));
        }
        if offline {
            fields.push(("offline_token", "true".to_string()));
        }
        fields.push(("client_id", CLIENT.to_string()));
        return fields;
    }
    fields.push(("scope", scopes.to_string()));
    fields.push(("client_id", CLIENT.to_string()));
    if offline {
        fields.push(("access_type", "offline".to_string()));
    }
    match login {
        Some(Login::Identity { token, .. } | Login::Token(token)) => {
            fields.push(("grant_type", "refresh_token".to_string()));
            fields.push(("refresh_token", token.expose().to_string()));
        }
        Some(Login::Password { user, password }) => {
            fields.push(("grant_type", "password".to_string()));
            fields.push(("username", user.clone()));
            fields.push(("password", password.expose().to_string()));
        }
        None => {}
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_as_old_as_its_server_says() {
        for (issued, now, want) in [
            (
                Some("1994-11-06T08:49:27Z"),
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                10,
            ),
            (
                Some("1994-11-06T10:49:37.5+02:00"),
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                0,
            ),
            (
                Some("2024-11-06T08:49:27Z"),
                Some("Sun, 06 Nov 1994 08:49:37 GMT"),
                0,
            ),
            (Some("yesterday"), Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0),
            (Some("1994-11-06T08:49:27Z"), None, 0),
            (None, Some("Sun, 06 Nov 1994 08:49:37 GMT"), 0),
        ] {
            assert_eq!(age(issued, now).as_secs(), want, "{issued:?} {now:?}");
        }
    }

    #[test]
    fn a_short_life_is_not_all_margin() {
        for (answer, most) in [
            (r#"{"token":"t","expires_in":300}"#, 295),
            (r#"{"token":"t","expires_in":4}"#, 3),
            (r#"{"token":"t"}"#, 55),
            (r#"{"token":"t","expires_in":1e300}"#, 86_395),
        ] {
            let given: Given = serde_json::from_str(answer).unwrap();
            let left = given.token("h").unwrap().until - Instant::now();
            assert!(
                (most - 1..=most).contains(&left.as_secs()),
                "{answer} {left:?}"
            );
        }
    }
}
