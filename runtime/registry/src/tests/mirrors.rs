//! Mirrors: who is asked for what, and what happens when one fails.

use std::time::Duration;

use image::{Digest, media};

use super::server::{Reply, Request, Server, reply};
use super::{Scratch, client_with, content, fetch, impatient, layer, repository, wait};
use crate::{Client, Credentials, Files, Hosts, Kind, Which};

fn mirrored(origin: &Server, mirror: &Server, more: &str) -> Client {
    let scratch = Scratch::new();
    let text = format!(
        "[[registry.\"{}\".mirror]]\nurl = \"http://{}\"\n{more}",
        origin.host, mirror.host
    );
    let native = vec![scratch.write("registries.toml", &text)];
    let hosts = Hosts::load(&Files {
        native,
        ..Files::default()
    })
    .unwrap();
    client_with(hosts, Credentials::default())
}

fn manifest(n: u8) -> String {
    format!(
        r#"{{"mediaType":"{}","annotations":{{"n":"{n}"}}}}"#,
        media::OCI_MANIFEST
    )
}

#[test]
fn a_mirror_that_may_not_resolve_serves_by_digest_only() {
    for (more, tag_from, digest_from) in [
        ("", "mirror", "mirror"),
        ("resolve = false", "origin", "mirror"),
    ] {
        let origin = Server::start(|_| reply(200, manifest(1)));
        let mirror = Server::start(|_| reply(200, manifest(1)));
        let client = mirrored(&origin, &mirror, more);
        let from = repository(&origin.host);
        let name = |host: &str| {
            if host == mirror.host {
                "mirror"
            } else {
                "origin"
            }
        };
        let fetched = wait(client.manifest(&from, &Which::Tag("x".into()))).unwrap();
        assert_eq!(name(&fetched.host), tag_from, "{more}");
        let fetched =
            wait(client.manifest(&from, &Which::Digest(Digest::of(manifest(1).as_bytes()))))
                .unwrap();
        assert_eq!(name(&fetched.host), digest_from, "{more}");
    }
}

#[test]
fn a_mirror_that_fails_or_lies_is_passed_over() {
    let digest = Digest::of(manifest(1).as_bytes());
    for it in [
        reply(404, ""),
        reply(500, ""),
        reply(200, manifest(2)),
        reply(401, ""),
        Reply {
            cut: Some(3),
            ..reply(200, manifest(1))
        },
    ] {
        let origin = Server::start(|_| reply(200, manifest(1)));
        let mirror = Server::start(move |_| it.clone());
        let client = mirrored(&origin, &mirror, "");
        let fetched =
            wait(client.manifest(&repository(&origin.host), &Which::Digest(digest))).unwrap();
        assert_eq!(fetched.host, origin.host);
        assert!(!mirror.seen().is_empty());
    }
    let origin = Server::start(|_| reply(404, ""));
    let gone = Server::start(|_| reply(500, ""));
    let error = wait(
        mirrored(&origin, &gone, "").manifest(&repository(&origin.host), &Which::Digest(digest)),
    )
    .unwrap_err();
    assert!(
        error.message().starts_with(&origin.host) && error.kind() == Kind::NotFound,
        "{error}"
    );
}

#[test]
fn a_blob_goes_on_from_the_next_server() {
    let bytes = content(100_000);
    let serve = |bytes: &[u8], request: &Request| match request.range() {
        Some((first, last)) => reply(206, &bytes[first..=last]).with(
            "content-range",
            format!("bytes {first}-{last}/{}", bytes.len()),
        ),
        None => reply(200, bytes),
    };
    let (good, cut) = (bytes.clone(), bytes.clone());
    let origin = Server::start(move |request| serve(&good, request));
    let mirror = Server::start(move |request| match request.range() {
        None => Reply {
            cut: Some(40_000),
            ..reply(200, cut.clone())
        },
        Some(_) => reply(500, ""),
    });
    let client = mirrored(&origin, &mirror, "");
    let from = repository(&origin.host);
    assert_eq!(
        wait(fetch(&client, &from, &layer(&bytes), 0..100_000)).unwrap(),
        bytes
    );
    assert_eq!(origin.seen()[0].range(), Some((40_000, 99_999)));
    // What gave wrong bytes is asked for no more of them.
    client.distrust(&mirror.host);
    let before = mirror.seen().len();
    assert_eq!(
        wait(fetch(&client, &from, &layer(&bytes), 0..100_000)).unwrap(),
        bytes
    );
    assert_eq!(mirror.seen().len(), before);
}

#[test]
fn a_host_that_says_nothing_keeps_no_other_waiting() {
    // The first answers when the second has been asked for something.
    let (tell, told) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let silent = Server::start_whole(move |_| {
        let heard = told.lock().unwrap();
        match heard.recv_timeout(Duration::from_secs(5)) {
            Ok(()) => reply(404, ""),
            Err(_) => reply(500, ""),
        }
    });
    let good = Server::start(move |_| {
        for _ in 0..10 {
            // The other has heard enough, and is gone.
            tell.send(()).unwrap_or_default();
        }
        reply(200, manifest(1))
    });
    let mut settings = impatient();
    settings.patience.silence = Duration::from_secs(10);
    let client = Client::new(settings).unwrap();
    let (silent, good) = (repository(&silent.host), repository(&good.host));
    let which = Which::Tag("x".into());
    let (refused, given) = wait(async {
        let slow = client.manifest(&silent, &which);
        let fast = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.manifest(&good, &which).await
        };
        futures_util::future::join(slow, fast).await
    });
    given.unwrap();
    assert_eq!(refused.unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_mirror_hears_for_whom_it_serves_and_sees_no_foreign_login() {
    let origin = Server::start(|_| reply(404, ""));
    let mirror = Server::start(|request| match request.header("authorization") {
        None => reply(401, "").with("www-authenticate", "Basic realm=x"),
        Some(_) => reply(200, manifest(1)),
    });
    let scratch = Scratch::new();
    let text = format!(
        "[[registry.\"{}\".mirror]]\nurl = \"http://{}/proxy\"\nnamespace = true\nheaders = {{ \"X-Key\" = \"k\" }}",
        origin.host, mirror.host
    );
    let native = vec![scratch.write("registries.toml", &text)];
    let hosts = Hosts::load(&Files {
        native,
        ..Files::default()
    })
    .unwrap();
    let login = crate::Login::Password {
        user: "u".into(),
        password: crate::Secret::new("p"),
    };
    let client = client_with(hosts, Credentials::default().with(&origin.host, login));
    let error =
        wait(client.manifest(&repository(&origin.host), &Which::Tag("x".into()))).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    let seen = mirror.seen();
    assert_eq!(
        mirror.lines(),
        [format!(
            "GET /v2/proxy/team/tool/manifests/x?ns={}",
            origin.host.replace(':', "%3A")
        )]
    );
    assert_eq!(
        (seen[0].header("authorization"), seen[0].header("x-key")),
        (None, Some("k"))
    );
    assert_eq!(origin.seen()[0].header("x-key"), None);
}
