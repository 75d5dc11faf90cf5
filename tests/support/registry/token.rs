//! Who may ask: nobody in particular, whoever knows a password, or whoever has a token of ours.

use super::State;
use super::fault::What;
use super::http::{Answer, Request, unescape};
use super::serve::split;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::net::SocketAddr;

/// What a registry wants to know before it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer {
        /// Who may push, and pull where `open` is not set.
        user: String,
        password: String,
        /// Whoever has no password may pull.
        open: bool,
        /// How many requests a token is good for.
        uses: usize,
        /// What the token server calls it: `token` or `access_token`.
        field: &'static str,
        /// Given with a token, and taken instead of a password.
        refresh: Option<String>,
    },
}

impl Auth {
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Tokens for everybody to pull, for `user` to push.
    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer {
            user: user.to_owned(),
            password: password.to_owned(),
            open: true,
            uses: usize::MAX,
            field: "token",
            refresh: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Token {
    /// `repository:NAME:ACTIONS`.
    scopes: Vec<String>,
    uses: usize,
}

fn basic_words(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The scope that a request needs.
fn wanted(request: &Request) -> String {
    let repository = split(&request.path).map_or("", |(repository, _, _)| repository);
    let actions = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        _ => "pull,push",
    };
    format!("repository:{repository}:{actions}")
}

fn covers(scopes: &[String], wanted: &str) -> bool {
    let Some((name, actions)) = wanted.rsplit_once(':') else {
        return false;
    };
    actions.split(',').all(|action| {
        scopes.iter().any(|scope| {
            scope.rsplit_once(':').is_some_and(|(one, given)| {
                one == name && given.split(',').any(|given| given == action)
            })
        })
    })
}

/// 401 as this registry says it.
pub(super) fn challenge(
    state: &State,
    request: &Request,
    address: &SocketAddr,
    error: &str,
) -> Answer {
    let words = match &state.manner.auth {
        Auth::Bearer { .. } => {
            let scope = match split(&request.path) {
                Some(_) => format!(",scope=\"{}\"", wanted(request)),
                None => String::new(),
            };
            let error = if error.is_empty() {
                String::new()
            } else {
                format!(",error=\"{error}\"")
            };
            format!(
                "Bearer realm=\"http://{address}/token\",service=\"our registry\"{scope}{error}"
            )
        }
        _ => "Basic realm=\"our registry\"".to_owned(),
    };
    Answer::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", words)
}

/// Returns the refusal when this request may not be made.
pub(super) fn refuse(
    state: &mut State,
    request: &Request,
    what: What,
    address: &SocketAddr,
) -> Option<Answer> {
    let given = request.header("authorization").to_owned();
    match state.manner.auth.clone() {
        _ if what == What::Token => None,
        Auth::None => None,
        Auth::Basic { user, password } => {
            let known = given == basic_words(&user, &password);
            (!known).then(|| challenge(state, request, address, ""))
        }
        Auth::Bearer { .. } => {
            let name = given.strip_prefix("Bearer ").unwrap_or_default();
            let Some(token) = state.tokens.get_mut(name) else {
                return Some(challenge(state, request, address, ""));
            };
            let error = if token.uses == 0 {
                "invalid_token"
            } else if split(&request.path).is_some() && !covers(&token.scopes, &wanted(request)) {
                "insufficient_scope"
            } else {
                token.uses -= 1;
                return None;
            };
            Some(challenge(state, request, address, error))
        }
    }
}

/// The token server.
pub(super) fn give(state: &mut State, request: &Request, body: &[u8]) -> Answer {
    let Auth::Bearer {
        user,
        password,
        open,
        uses,
        field,
        refresh,
    } = state.manner.auth.clone()
    else {
        return Answer::error(404, "UNSUPPORTED", "no token server");
    };
    let form = String::from_utf8_lossy(body).into_owned();
    let posted = |name: &str| {
        let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| unescape(value))
    };
    let given = request.header("authorization");
    let known = given == basic_words(&user, &password)
        || posted("grant_type").as_deref() == Some("refresh_token")
            && posted("refresh_token") == refresh
        || posted("username").as_ref() == Some(&user)
            && posted("password").as_ref() == Some(&password);
    let anybody = open && given.is_empty() && form.is_empty();
    if !known && !anybody {
        return Answer::error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let mut scopes = request.all_asked("scope");
    scopes.extend(posted("scope"));
    let scopes = scopes.iter().flat_map(|scope| scope.split(' '));
    let allowed = |scope: &str| match scope.rsplit_once(':') {
        // Whoever is unknown gets less than was asked for, as it is with every registry.
        Some((name, _)) if !known => format!("{name}:pull"),
        _ => scope.to_owned(),
    };
    let scopes = scopes.map(allowed).collect();
    state.serial += 1;
    let name = format!("token-{}", state.serial);
    state.tokens.insert(name.clone(), Token { scopes, uses });
    let mut answer = json!({field: name, "expires_in": 300});
    if let Some(refresh) = refresh {
        answer["refresh_token"] = refresh.into();
    }
    Answer::new(200, answer.to_string()).with("Content-Type", "application/json")
}
