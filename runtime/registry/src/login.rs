//! Logging in: whether a server takes a login, and what is to be kept of it.

use reqwest::StatusCode;

use crate::auth::scope::Scopes;
use crate::auth::token::{Tokens, Way, fetch};
use crate::client::{Client, asker, way};
use crate::credentials::Login;
use crate::error::{Error, Kind, Result};
use crate::http::Call;

impl Client {
    /// Shows a login to a host. Returns what is to be kept: an identity token in the place of the password, where the server gives one.
    pub async fn login(&self, host: &str, login: &Login) -> Result<Login> {
        let server = self.settle(&self.settings().hosts.server(host)?).await?;
        let mut call = Call::get(server.base.clone(), &server.host, "login");
        call.tls = server.tls.clone();
        call.connect = server.connect;
        call.private = server.headers.clone();
        let answer = self.wire().patient(&call).await?;
        if answer.status().is_success() {
            // It asks nobody who he is.
            return Ok(login.clone());
        }
        if answer.status() == StatusCode::NOT_FOUND {
            let text = format!(
                "{}: login: is no registry (it answered 404 to /v2/)",
                server.host
            );
            let hint = "a registry's address is that of its names: HOST[:PORT] alone";
            return Err(Error::new(Kind::NotFound, text).advise(hint));
        }
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Err(answer.refusal().await);
        }
        let Some(way) = way(&answer, &Scopes::default()) else {
            return Err(Error::wrong(
                &server.host,
                "login",
                "the server wants a login of a kind that is not known here",
            ));
        };
        let asker = asker(&server, &way, Some(login.clone()));
        let kept = match (&way, login) {
            (Way::Bearer { .. }, Login::Password { user, .. }) => {
                let given = fetch(self.wire(), &asker, &way, true).await?;
                let token = given
                    .refresh_token
                    .filter(|token| !token.expose().is_empty());
                token.map(|token| Login::Identity {
                    user: user.clone(),
                    token,
                })
            }
            _ => None,
        };
        call.authorization = Tokens::default()
            .answer(self.wire(), &asker, &way, None)
            .await?;
        let answer = self.wire().patient(&call).await?;
        match answer.status() {
            status if status.is_success() => Ok(kept.unwrap_or_else(|| login.clone())),
            StatusCode::UNAUTHORIZED => {
                let refused = answer.refusal().await;
                Err(Error::new(Kind::Unauthorized, refused.message())
                    .advise("check the user and the password"))
            }
            _ => Err(answer.refusal().await),
        }
    }
}
