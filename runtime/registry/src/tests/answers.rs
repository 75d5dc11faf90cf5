//! What servers answer that are asked for anything but blobs.

use image::{Descriptor, Digest, Manifest, media};

use super::faults::serve;
use super::server::{Reply, Server, reply};
use super::{client, content, ear, fetch, impatient, layer, repository, wait};
use crate::{Body, Client, Kind, Notice, Settings, Which};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_manifest_is_what_was_asked_for() {
    let good = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        media::OCI_INDEX
    );
    let digest = Digest::of(good.as_bytes());
    let other = Digest::of(b"other");
    let served = |headers: &[(&str, String)]| {
        headers
            .iter()
            .fold(reply(200, good.clone()), |it, (name, value)| {
                it.with(name, value.clone())
            })
    };
    let kind = |kind: &str| ("content-type", kind.to_string());
    let told = |digest: &Digest| ("docker-content-digest", digest.to_string());
    for (which, it, want) in [
        (
            Which::Tag("x".into()),
            served(&[kind(media::OCI_INDEX), told(&digest)]),
            "fine",
        ),
        (
            Which::Digest(digest),
            served(&[kind("application/json")]),
            "fine",
        ),
        (
            Which::Digest(digest),
            served(&[told(&other)]),
            "the server calls it sha256:",
        ),
        (
            Which::Tag("x".into()),
            served(&[told(&other)]),
            "the server calls it sha256:",
        ),
        (
            Which::Digest(other),
            served(&[kind(media::OCI_INDEX)]),
            "the content is sha256:",
        ),
        (
            Which::Tag("x".into()),
            served(&[kind(media::OCI_MANIFEST)]),
            "is served as \"application/vnd.oci.image.manifest.v1+json\", but says",
        ),
        (
            Which::Tag("x".into()),
            reply(200, "<html>"),
            "what came is not a JSON document",
        ),
        (
            Which::Tag("x".into()),
            Reply {
                length: Some(Some(5 << 20)),
                ..reply(200, "")
            },
            "has more than 4194304 bytes",
        ),
        (
            Which::Tag("x".into()),
            Reply {
                cut: Some(5),
                ..served(&[])
            },
            "Connect: ",
        ),
        (
            Which::Tag("x".into()),
            reply(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            "manifest team/tool:x: 404 Not Found (MANIFEST_UNKNOWN); check the name and the tag",
        ),
    ] {
        let server = Server::start(move |_| it.clone());
        let got = match wait(client().manifest(&repository(&server.host), &which)) {
            Ok(fetched) => {
                assert_eq!(
                    (fetched.bytes, fetched.digest),
                    (good.clone().into_bytes(), digest)
                );
                "fine".to_string()
            }
            Err(error) => format!("{error:?}"),
        };
        assert!(got.contains(want), "{got}");
        let accept: Vec<_> = server.seen()[0]
            .headers
            .iter()
            .filter(|(name, _)| name == "accept")
            .map(|(_, kind)| kind.clone())
            .collect();
        assert_eq!(accept, media::ACCEPT);
    }
}

#[test]
fn what_a_tag_means_is_asked_without_fetching() {
    let good = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        media::OCI_INDEX
    );
    let digest = Digest::of(good.as_bytes());
    for (head, want) in [
        (
            reply(200, good.clone())
                .with("content-type", media::OCI_INDEX)
                .with("docker-content-digest", digest.to_string()),
            1,
        ),
        (
            reply(200, good.clone()).with("content-type", media::OCI_INDEX),
            2,
        ),
        (reply(405, ""), 2),
    ] {
        let body = good.clone();
        let server = Server::start(move |request| match request.method.as_str() {
            "HEAD" => head.clone(),
            _ => reply(200, body.clone()).with("content-type", media::OCI_INDEX),
        });
        let found = wait(client().head(&repository(&server.host), &Which::Tag("x".into())))
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.digest, found.size, found.media_type.as_str()),
            (digest, good.len() as u64, media::OCI_INDEX)
        );
        assert_eq!(server.seen().len(), want);
    }
    let server = Server::start(|_| reply(404, ""));
    assert_eq!(
        wait(client().head(&repository(&server.host), &Which::Tag("x".into()))).unwrap(),
        None
    );
}

#[test]
fn redirects_are_followed_with_care() {
    let bytes = content(1000);
    let served = bytes.clone();
    let store = Server::start(move |request| serve(&served, request));
    let target = format!("http://{}/store/x?signature=hidden", store.host);
    let loops =
        Server::start(|request| reply(302, "").with("location", format!("{}x", request.path)));
    let error = wait(fetch(
        &client(),
        &repository(&loops.host),
        &layer(&bytes),
        0..1000,
    ))
    .unwrap_err();
    assert!(
        error
            .message()
            .ends_with("is redirected more than 10 times"),
        "{error}"
    );
    assert_eq!(loops.seen().len(), 11);
    for (location, want) in [
        (target.as_str(), "fine"),
        ("/there", "fine"),
        ("ftp://x/y", "is redirected to neither http nor https"),
        ("http://[", "is redirected to what is no address"),
    ] {
        let (to, bytes2) = (location.to_string(), bytes.clone());
        let server = Server::start(move |request| match request.path.as_str() {
            "/there" => serve(&bytes2, request),
            _ => reply(307, "").with("location", to.clone()),
        });
        let got = wait(fetch(
            &client(),
            &repository(&server.host),
            &layer(&bytes),
            0..1000,
        ));
        let got = got.map_or_else(|error| error.to_string(), |_| "fine".to_string());
        assert!(got.contains(want) && !got.contains("hidden"), "{got}");
    }
}

#[test]
fn a_server_that_warns_is_heard_once() {
    let body = format!(r#"{{"mediaType":"{}"}}"#, media::OCI_MANIFEST);
    let server =
        Server::start(move |_| reply(200, body.clone()).with("warning", "299 - \"moves soon\""));
    let (notices, heard) = ear();
    let client = Client::new(Settings {
        notices,
        ..impatient()
    })
    .unwrap();
    for _ in 0..2 {
        wait(client.manifest(&repository(&server.host), &Which::Tag("x".into()))).unwrap();
    }
    let want = Notice::Warning {
        host: server.host.clone(),
        text: "moves soon".into(),
    };
    assert_eq!(*heard.lock().unwrap(), [want]);
}

#[test]
fn tags_come_in_pages_with_an_end() {
    let server = Server::start(|request| match request.path.as_str() {
        "/v2/team/tool/tags/list?n=1000" => reply(200, r#"{"name":"x","tags":["a","b"]}"#).with(
            "link",
            "</v2/team/tool/tags/list?last=b&n=1000>; rel=\"next\"",
        ),
        _ => reply(200, r#"{"tags":null}"#),
    });
    assert_eq!(
        wait(client().tags(&repository(&server.host))).unwrap(),
        ["a", "b"]
    );
    let endless = Server::start(|request| {
        reply(200, r#"{"tags":["a"]}"#).with("link", format!("<{}1>; rel=\"next\"", request.path))
    });
    let error = wait(client().tags(&repository(&endless.host))).unwrap_err();
    assert!(
        error.message().contains("the list has no end: 1000 so far"),
        "{error}"
    );
    for (tag, pages, want) in [
        ("a".repeat(129), 1, "names a tag of 129 bytes"),
        (
            "a".repeat(128),
            60_000,
            "the list has no end: 180000 so far",
        ),
    ] {
        let page = format!(
            r#"{{"tags":[{}]}}"#,
            vec![format!("{tag:?}"); pages].join(",")
        );
        let large = Server::start(move |request| {
            let next = format!("<{}1>; rel=\"next\"", request.path);
            reply(200, page.clone()).with("link", next)
        });
        let error = wait(client().tags(&repository(&large.host))).unwrap_err();
        assert!(error.message().ends_with(want), "{error}");
    }
    let away = Server::start(|_| {
        reply(200, r#"{"tags":["a"]}"#).with("link", "<http://other.example/>; rel=\"next\"")
    });
    let error = wait(client().tags(&repository(&away.host))).unwrap_err();
    assert!(
        error
            .message()
            .contains("its next page is at another place"),
        "{error}"
    );
}

#[test]
fn an_image_in_the_place_of_a_list_is_not_replaced() {
    let manifest = |subject: &str| {
        let config = Descriptor::of(media::OCI_CONFIG, b"{}");
        let mut manifest = Manifest::new(config, Vec::new());
        manifest.subject =
            (!subject.is_empty()).then(|| Descriptor::of(media::OCI_MANIFEST, subject.as_bytes()));
        manifest.to_bytes()
    };
    let image = manifest("");
    let server = Server::start(move |request| match request.method.as_str() {
        "PUT" => reply(201, ""),
        _ => reply(200, image.clone()).with("content-type", media::OCI_MANIFEST),
    });
    let (notices, heard) = ear();
    let client = Client::new(Settings {
        notices,
        ..impatient()
    })
    .unwrap();
    let bytes = manifest("subject");
    let body = Body {
        digest: Digest::of(&bytes),
        media_type: media::OCI_MANIFEST,
        bytes: &bytes,
    };
    let to = repository(&server.host);
    wait(client.put_manifest(&to, &["one".to_string()], &body)).unwrap();
    let tag = format!("sha256-{}", Digest::of(b"subject").hex());
    let path = "/v2/team/tool/manifests";
    assert_eq!(
        server.lines(),
        [format!("PUT {path}/one"), format!("GET {path}/{tag}")]
    );
    let heard = heard.lock().unwrap();
    let [Notice::Unlisted { why, .. }] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert!(
        why.ends_with(&format!("the tag {tag} is no list of them")),
        "{why}"
    );
}

#[test]
fn a_search_shows_what_it_finds() {
    let server = Server::start(|_| {
        reply(
            200,
            r#"{"results":[{"name":"a/b","description":"x\ny","star_count":3,"is_official":true},{"name":null},{}]}"#,
        )
    });
    let found = wait(client().search(&server.host, "a b", 25)).unwrap();
    assert_eq!(server.lines(), ["GET /v1/search?q=a+b&n=25"]);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (
            found[0].name.as_str(),
            found[0].description.as_str(),
            found[0].stars
        ),
        ("a/b", "x y", 3)
    );
    let none = Server::start(|_| reply(404, ""));
    let error = wait(client().search(&none.host, "x", 1)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
}
