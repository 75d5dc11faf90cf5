//! Logins and tokens: who is told what, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::Repository;

use super::server::{Reply, Request, Server, reply};
use super::{Scratch, client_with, content, ear, fetch, impatient, layer, repository, wait};
use crate::auth::scope::Scopes;
use crate::auth::token::Way;
use crate::client::asker;
use crate::{Client, Credentials, Hosts, Kind, Login, Notice, Secret, Settings};

const BLOB: usize = 1000;

fn ann() -> Login {
    Login::Password {
        user: "ann".into(),
        password: Secret::new("pa:ss"),
    }
}

fn asks(request: &Request) -> String {
    request
        .header("authorization")
        .unwrap_or("nobody")
        .to_string()
}

/// A registry that wants the token `good-<n>`, n from the token server's count, and that server in one.
fn bearer(life: &'static str, wants_login: bool) -> (Server, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let count = given.clone();
    let server = Server::start_whole(move |request| {
        let host = request.header("host").unwrap().to_string();
        if request.path.starts_with("/token") {
            let basic = format!("Basic {}", STANDARD.encode("ann:pa:ss"));
            if wants_login && asks(request) != basic {
                return reply(401, r#"{"details":"who are you?"}"#);
            }
            let n = count.fetch_add(1, Ordering::Relaxed) + 1;
            return reply(200, format!(r#"{{"access_token":"good-{n}"{life}}}"#));
        }
        if request.path == "/v2/"
            || asks(request) == format!("Bearer good-{}", count.load(Ordering::Relaxed))
        {
            return reply(200, content(BLOB));
        }
        let challenge = format!(
            r#"Bearer realm="http://{host}/token?x=y",service="s s",scope="repository:team/tool:pull""#
        );
        reply(401, "")
            .with("www-authenticate", "Negotiate")
            .with("www-authenticate", format!("Basic realm=x, {challenge}"))
    });
    (server, given)
}

#[test]
fn a_token_is_fetched_once_for_all_who_wait() {
    let (server, given) = bearer("", true);
    let client = client_with(
        Hosts::default(),
        Credentials::default().with(&server.host, ann()),
    );
    let from = repository(&server.host);
    let what = layer(&content(BLOB));
    wait(async {
        let all = (0..20).map(|_| fetch(&client, &from, &what, 0..BLOB as u64));
        for got in futures_util::future::join_all(all).await {
            assert_eq!(got.unwrap(), content(BLOB));
        }
    });
    assert_eq!(given.load(Ordering::Relaxed), 1);
    let token = server
        .lines()
        .into_iter()
        .find(|line| line.contains("/token"))
        .unwrap();
    assert_eq!(
        token,
        "GET /token?x=y&service=s+s&scope=repository%3Ateam%2Ftool%3Apull&account=ann&client_id=lade"
    );
    // What is known is not asked again.
    let before = server.seen().len();
    wait(fetch(&client, &from, &what, 0..BLOB as u64)).unwrap();
    assert_eq!(server.seen().len(), before + 1);
}

#[test]
fn a_token_that_runs_out_is_replaced() {
    let (server, given) = bearer(r#","expires_in":0.04"#, false);
    let client = client_with(Hosts::default(), Credentials::default());
    for want in 1..4 {
        std::thread::sleep(Duration::from_millis(50));
        wait(fetch(
            &client,
            &repository(&server.host),
            &layer(&content(BLOB)),
            0..BLOB as u64,
        ))
        .unwrap();
        assert_eq!(given.load(Ordering::Relaxed), want);
    }
    // One that the server takes back before its time, too.
    let (server, given) = bearer("", false);
    wait(fetch(
        &client,
        &repository(&server.host),
        &layer(&content(BLOB)),
        0..BLOB as u64,
    ))
    .unwrap();
    given.fetch_add(5, Ordering::Relaxed);
    wait(fetch(
        &client,
        &repository(&server.host),
        &layer(&content(BLOB)),
        0..BLOB as u64,
    ))
    .unwrap();
    assert_eq!(given.load(Ordering::Relaxed), 7);
}

#[test]
fn a_token_that_runs_out_in_the_middle_of_a_blob_is_replaced() {
    let parts = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            return reply(
                200,
                format!(r#"{{"token":"t{}"}}"#, parts.load(Ordering::Relaxed)),
            );
        }
        let n = parts.load(Ordering::Relaxed);
        if asks(request) != format!("Bearer t{n}") {
            let host = request.header("host").unwrap();
            return reply(401, "").with(
                "www-authenticate",
                format!(r#"Bearer realm="http://{host}/token",error="invalid_token""#),
            );
        }
        parts.fetch_add(1, Ordering::Relaxed);
        match request.range() {
            None => Reply {
                cut: Some(500),
                ..reply(200, content(BLOB))
            },
            Some((first, last)) => reply(206, &content(BLOB)[first..=last])
                .with("content-range", format!("bytes {first}-{last}/{BLOB}")),
        }
    });
    let client = client_with(Hosts::default(), Credentials::default());
    let got = wait(fetch(
        &client,
        &repository(&server.host),
        &layer(&content(BLOB)),
        0..BLOB as u64,
    ));
    assert_eq!(got.unwrap(), content(BLOB));
}

#[test]
fn refusals_say_what_to_do_and_no_secret() {
    let wrong = Login::Password {
        user: "ann".into(),
        password: Secret::new("hunter2"),
    };
    for (login, want) in [
        (
            Some(wrong),
            "401 Unauthorized (who are you?); the login for HOST is wrong or too old: log in again",
        ),
        (None, "401 Unauthorized (who are you?); log in to HOST"),
    ] {
        let (server, _) = bearer("", true);
        let credentials = match login {
            Some(login) => Credentials::default().with(&server.host, login),
            None => Credentials::default(),
        };
        let client = client_with(Hosts::default(), credentials);
        let error = wait(fetch(
            &client,
            &repository(&server.host),
            &layer(b"x"),
            0..1,
        ))
        .unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthorized);
        let text = format!("{error:?} {client:?}").replace(&server.host, "HOST");
        assert!(text.contains(want), "{text}");
        assert!(
            !text.contains("hunter2") && !text.contains(&STANDARD.encode("ann:hunter2")),
            "{text}"
        );
    }
}

#[test]
fn an_identity_token_is_sent_in_a_form() {
    for form_known in [true, false] {
        let server = Server::start(move |request| {
            if request.path.starts_with("/token") {
                return match request.method.as_str() {
                    "POST" if form_known => reply(200, r#"{"access_token":"good","token":""}"#),
                    "GET" if !form_known => reply(200, r#"{"token":"good"}"#),
                    _ => reply(405, ""),
                };
            }
            if asks(request) == "Bearer good" {
                return reply(200, content(BLOB));
            }
            let host = request.header("host").unwrap();
            reply(401, "").with(
                "www-authenticate",
                format!(r#"Bearer realm="http://{host}/token",service=s"#),
            )
        });
        let login = Login::Identity {
            user: "ann".into(),
            token: Secret::new("refresh me"),
        };
        let client = client_with(
            Hosts::default(),
            Credentials::default().with(&server.host, login),
        );
        wait(fetch(
            &client,
            &repository(&server.host),
            &layer(&content(BLOB)),
            0..BLOB as u64,
        ))
        .unwrap();
        let seen = server.seen();
        let form = seen
            .iter()
            .find(|request| request.method == "POST")
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&form.body),
            "service=s&scope=repository%3Ateam%2Ftool%3Apull&client_id=lade&grant_type=refresh_token&refresh_token=refresh+me"
        );
    }
}

#[test]
fn a_login_in_a_form_stays_with_its_host() {
    let identity = Login::Identity {
        user: "ann".into(),
        token: Secret::new("refresh me"),
    };
    let told = |request: &Request| String::from_utf8_lossy(&request.body).contains("refresh");
    // Another port is somebody else's program, and the same machine by another name another host.
    for (name, want) in [("", true), ("127.0.0.1", false), ("localhost", false)] {
        let other = Server::start(|_| reply(200, r#"{"token":"good"}"#));
        let elsewhere = match name {
            "" => "/again".to_owned(),
            name => format!("http://{}/again", other.host.replace("127.0.0.1", name)),
        };
        let server = Server::start(move |request| match asks(request).as_str() {
            _ if request.path.starts_with("/token") => {
                reply(307, "").with("location", elsewhere.clone())
            }
            _ if request.path.starts_with("/again") => reply(200, r#"{"token":"good"}"#),
            "Bearer good" => reply(200, content(BLOB)),
            _ => {
                let host = request.header("host").unwrap();
                let realm = format!(r#"Bearer realm="http://{host}/token",service=s"#);
                reply(401, "").with("www-authenticate", realm)
            }
        });
        let credentials = Credentials::default().with(&server.host, identity.clone());
        let client = client_with(Hosts::default(), credentials);
        let what = layer(&content(BLOB));
        let got = wait(fetch(&client, &repository(&server.host), &what, 0..1000));
        assert_eq!(got.is_ok(), want, "{name}");
        assert!(!other.seen().iter().any(told), "{name}");
        if let Err(error) = got {
            assert_eq!(error.kind(), Kind::Blocked, "{error}");
            let text = error.to_string();
            assert!(text.contains("is not to see the login"), "{text}");
        }
    }
}

#[test]
fn a_server_on_this_machine_has_no_token_server_elsewhere_without_tls() {
    // One that forwards to another machine, for instance. Port 1 answers nobody.
    for (realm, declared, want) in [
        ("http://far.invalid/token", false, Kind::Blocked),
        ("http://10.0.0.1/token", false, Kind::Blocked),
        ("http://127.0.0.2:1/token", false, Kind::Connect),
        ("http://localhost:1/token", false, Kind::Connect),
        ("https://localhost:1/token", false, Kind::Connect),
        ("http://far.invalid/token", true, Kind::Connect),
    ] {
        let challenge = format!(r#"Bearer realm="{realm}",service=s"#);
        let server =
            Server::start(move |_| reply(401, "").with("www-authenticate", challenge.clone()));
        let mut hosts = Hosts::default();
        if declared {
            hosts.insecure(&server.host).unwrap();
        }
        let credentials = Credentials::default().with(&server.host, ann());
        let client = client_with(hosts, credentials);
        let what = layer(&content(BLOB));
        let error = wait(fetch(&client, &repository(&server.host), &what, 0..1000)).unwrap_err();
        assert_eq!(error.kind(), want, "{realm}: {error}");
    }
}

#[test]
fn a_token_server_elsewhere_shows_a_certificate() {
    for (realm, declared, anybody) in [
        ("https://far.invalid/token", false, false),
        ("https://0.0.0.0:5001/token", false, false),
        ("https://127.0.0.1:5001/token", false, true),
        ("https://far.invalid/token", true, true),
    ] {
        let mut hosts = Hosts::default();
        if declared {
            hosts.insecure("127.0.0.1:5000").unwrap();
        }
        let endpoint = hosts.server("127.0.0.1:5000").unwrap();
        let way = Way::Bearer {
            realm: realm.to_string(),
            service: None,
            scopes: Scopes::default(),
        };
        let found = asker(&endpoint, &way, Some(ann())).tls.anybody;
        assert_eq!(found, anybody, "{realm}");
    }
}

#[test]
fn a_helper_program_that_is_missing_is_told_once_and_asked_no_more() {
    let open = Server::start(|request| match asks(request).as_str() {
        _ if request.path.starts_with("/token") => reply(200, r#"{"token":"anybody"}"#),
        "Bearer anybody" => reply(200, content(BLOB)),
        _ => {
            let host = request.header("host").unwrap();
            let realm = format!(r#"Bearer realm="http://{host}/token""#);
            reply(401, "").with("www-authenticate", realm)
        }
    });
    let closed = Server::start(|_| reply(401, "").with("www-authenticate", "Basic realm=x"));
    let scratch = Scratch::new();
    let file = scratch.write("config.json", r#"{"credsStore":"orlop-none"}"#);
    let (notices, heard) = ear();
    let client = Client::new(Settings {
        credentials: Credentials::from_files(vec![file]),
        notices,
        ..impatient()
    })
    .unwrap();
    let what = layer(&content(BLOB));
    for path in ["team/tool", "team/other"] {
        let from = Repository {
            path: path.into(),
            ..repository(&open.host)
        };
        wait(fetch(&client, &from, &what, 0..1000)).unwrap();
    }
    let error = wait(fetch(&client, &repository(&closed.host), &what, 0..1000)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    let heard = heard.lock().unwrap();
    let [Notice::NoProgram { why, .. }] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    let want = "docker-credential-orlop-none: is not installed; install it, or take it out of";
    assert!(why.starts_with(want), "{why}");
}

#[test]
fn a_login_goes_to_its_host_and_to_no_other() {
    let store = Server::start(|_| reply(200, content(BLOB)));
    let elsewhere = format!("http://{}/x", store.host);
    let server = Server::start(move |request| match asks(request).as_str() {
        "nobody" => reply(401, "").with("www-authenticate", "Basic realm=\"x\""),
        _ => reply(307, "").with("location", elsewhere.clone()),
    });
    let client = client_with(
        Hosts::default(),
        Credentials::default().with(&server.host, ann()),
    );
    wait(fetch(
        &client,
        &repository(&server.host),
        &layer(&content(BLOB)),
        0..BLOB as u64,
    ))
    .unwrap();
    let told: Vec<String> = server.seen().iter().map(asks).collect();
    assert_eq!(
        told,
        [
            "nobody".to_string(),
            format!("Basic {}", STANDARD.encode("ann:pa:ss"))
        ]
    );
    assert_eq!(
        store.seen().iter().map(asks).collect::<Vec<_>>(),
        ["nobody"]
    );
    // A host that only the first one names may ask for a login; it gets none.
    let asking = Server::start(|_| reply(401, "").with("www-authenticate", "Basic realm=x"));
    let elsewhere = format!("http://{}/x", asking.host);
    let server = Server::start(move |_| reply(307, "").with("location", elsewhere.clone()));
    let client = client_with(
        Hosts::default(),
        Credentials::default()
            .with(&server.host, ann())
            .with(&asking.host, ann()),
    );
    let error = wait(fetch(
        &client,
        &repository(&server.host),
        &layer(&content(BLOB)),
        0..1,
    ))
    .unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert_eq!(
        asking.seen().iter().map(asks).collect::<Vec<_>>(),
        ["nobody"]
    );
}

#[test]
fn logging_in_keeps_a_token_where_there_is_one() {
    let hub = |refresh: &'static str| {
        Server::start_whole(move |request| {
            let host = request.header("host").unwrap();
            let basic = format!("Basic {}", STANDARD.encode("ann:pa:ss"));
            match (request.path.split('?').next().unwrap(), asks(request)) {
                ("/token", who) if who == basic => {
                    reply(200, format!(r#"{{"token":"t"{refresh}}}"#))
                }
                ("/token", _) => reply(401, ""),
                (_, who) if who == "Bearer t" => reply(200, "{}"),
                _ => reply(401, "").with(
                    "www-authenticate",
                    format!(r#"Bearer realm="http://{host}/token",service=s"#),
                ),
            }
        })
    };
    let identity = Login::Identity {
        user: "ann".into(),
        token: Secret::new("r"),
    };
    for (refresh, want) in [("", ann()), (r#","refresh_token":"r""#, identity)] {
        let server = hub(refresh);
        let client = client_with(Hosts::default(), Credentials::default());
        assert_eq!(wait(client.login(&server.host, &ann())).unwrap(), want);
        let wrong = Login::Password {
            user: "ann".into(),
            password: Secret::new("x"),
        };
        let error = wait(client.login(&server.host, &wrong)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    }
}
