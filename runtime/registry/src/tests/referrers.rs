//! What refers to a manifest: by the server's own list, over its pages; else under a tag.

use image::{Descriptor, Digest, Document, Index, Manifest, media};

use super::server::{Reply, Server, reply};
use super::{client, repository, wait};
use crate::{Body, Client, Kind, Which};

const SIGNATURE: &str = "application/vnd.example.signature";
const PARTS: &str = "application/vnd.example.parts";

fn subject() -> Digest {
    Digest::of(b"subject")
}

/// A manifest that refers to the subject.
fn referrer(kind: &str) -> Manifest {
    let config = Descriptor::of("application/vnd.oci.empty.v1+json", b"{}");
    let mut manifest = Manifest::new(config, Vec::new());
    manifest.artifact_type = Some(kind.to_string());
    manifest.subject = Some(Descriptor::new(media::OCI_MANIFEST, subject(), 7));
    manifest
}

fn entry(kind: &str) -> Descriptor {
    let mut entry = Descriptor::of(media::OCI_MANIFEST, &referrer(kind).to_bytes());
    entry.artifact_type = Some(kind.to_string());
    entry
}

fn list(kinds: &[&str]) -> Reply {
    let index = Index::new(kinds.iter().map(|kind| entry(kind)).collect());
    reply(200, index.to_bytes()).with("content-type", media::OCI_INDEX)
}

fn ask(client: &Client, server: &Server, kind: Option<&str>) -> Result<Vec<String>, crate::Error> {
    let from = repository(&server.host);
    let found = wait(client.referrers(&from, &subject(), kind))?;
    let kinds = found.into_iter().map(|one| one.artifact_type);
    Ok(kinds.map(Option::unwrap_or_default).collect())
}

fn path() -> String {
    format!("/v2/team/tool/referrers/{}", subject())
}

fn tag() -> String {
    format!("/v2/team/tool/manifests/sha256-{}", subject().hex())
}

#[test]
fn the_servers_list_is_read_over_all_its_pages() {
    let server = Server::start(|request| match request.path.as_str() {
        last if last.ends_with("last=1") => list(&[PARTS]),
        first if first.starts_with(&path()) => {
            let next = format!("<{}?last=1>; rel=\"next\"", path());
            list(&[SIGNATURE, PARTS]).with("link", next)
        }
        _ => reply(404, ""),
    });
    let found = ask(&client(), &server, None).unwrap();
    assert_eq!(found, [SIGNATURE, PARTS, PARTS]);
    let first = format!("GET {}", path());
    assert_eq!(server.lines(), [first.clone(), format!("{first}?last=1")]);
    assert_eq!(server.seen()[0].header("accept"), Some(media::OCI_INDEX));
    // Of one kind: asked for, and not every server looks at it.
    assert_eq!(
        ask(&client(), &server, Some(PARTS)).unwrap(),
        [PARTS, PARTS]
    );
    let asked = server.lines()[2].clone();
    assert!(
        asked.ends_with("?artifactType=application%2Fvnd.example.parts"),
        "{asked}"
    );
}

#[test]
fn a_server_without_the_list_is_asked_for_the_tag() {
    for refusal in [
        reply(404, ""),
        reply(400, ""),
        reply(405, ""),
        reply(200, "<html>hello"),
    ] {
        let server = Server::start(move |request| match request.path == tag() {
            true => list(&[SIGNATURE]),
            false => refusal.clone(),
        });
        assert_eq!(ask(&client(), &server, None).unwrap(), [SIGNATURE]);
        let lines = [format!("GET {}", path()), format!("GET {}", tag())];
        assert_eq!(server.lines(), lines);
        assert!(ask(&client(), &server, Some(PARTS)).unwrap().is_empty());
    }
    let none = Server::start(|_| reply(404, ""));
    assert!(ask(&client(), &none, None).unwrap().is_empty());
    // Not a server from before: a refusal.
    let closed = Server::start(|_| reply(403, ""));
    let error = ask(&client(), &closed, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

#[test]
fn pages_that_have_no_end_are_not_followed_for_ever() {
    let server = Server::start(|request| {
        let next = format!("<{}1>; rel=\"next\"", request.path);
        list(&[SIGNATURE]).with("link", next)
    });
    let found = ask(&client(), &server, None).unwrap();
    assert_eq!((found.len(), server.seen().len()), (100, 100));
    let away =
        Server::start(|_| list(&[SIGNATURE]).with("link", "<http://other.example/>; rel=\"next\""));
    let error = ask(&client(), &away, None).unwrap_err();
    assert!(
        error
            .message()
            .contains("its next page is at another place"),
        "{error}"
    );
}

fn put(server: &Server) {
    let bytes = referrer(SIGNATURE).to_bytes();
    let body = Body {
        digest: Digest::of(&bytes),
        media_type: media::OCI_MANIFEST,
        bytes: &bytes,
    };
    let to = repository(&server.host);
    wait(client().put_manifest(&to, &["one".to_string()], &body)).unwrap();
}

#[test]
fn a_server_that_keeps_the_list_is_sent_no_other() {
    let server = Server::start(|_| reply(201, "").with("oci-subject", subject().to_string()));
    put(&server);
    assert_eq!(server.lines(), ["PUT /v2/team/tool/manifests/one"]);
}

#[test]
fn a_list_under_a_tag_gets_one_more_and_loses_none() {
    // Somebody else writes it between our look and our word, once.
    let held: std::sync::Arc<std::sync::Mutex<(Vec<u8>, bool)>> = std::sync::Arc::new(
        std::sync::Mutex::new((Index::new(vec![entry("other/first")]).to_bytes(), true)),
    );
    let state = held.clone();
    let server = Server::start(move |request| {
        let mut held = state.lock().unwrap();
        let etag = Digest::of(&held.0).short();
        match (request.method.as_str(), request.path == tag()) {
            ("GET", true) => reply(200, held.0.clone())
                .with("content-type", media::OCI_INDEX)
                .with("etag", etag),
            ("PUT", true) => {
                if std::mem::take(&mut held.1) {
                    let both = vec![entry("other/first"), entry("other/second")];
                    held.0 = Index::new(both).to_bytes();
                }
                if request.header("if-match") != Some(&Digest::of(&held.0).short()) {
                    return reply(412, "");
                }
                held.0.clone_from(&request.body);
                reply(201, "")
            }
            ("PUT", false) => reply(201, ""),
            _ => reply(404, ""),
        }
    });
    put(&server);
    let kept = held.lock().unwrap().0.clone();
    let Document::Index(index) = Document::parse(&kept, Some(media::OCI_INDEX)).unwrap() else {
        panic!("no index")
    };
    let kinds = index.manifests.into_iter();
    let kinds: Vec<String> = kinds.filter_map(|one| one.artifact_type).collect();
    assert_eq!(kinds, ["other/first", "other/second", SIGNATURE]);
    // Pushed again, it is in the list already.
    let before = server.seen().len();
    put(&server);
    let lines = server.lines();
    let lines = lines[before..].to_vec();
    let again = format!("GET {}", tag());
    assert_eq!(lines, ["PUT /v2/team/tool/manifests/one", again.as_str()]);
    // And whoever asks finds them all.
    assert_eq!(ask(&client(), &server, None).unwrap().len(), 3);
    let which = Which::Tag(tag().rsplit('/').next().unwrap().to_string());
    wait(client().manifest(&repository(&server.host), &which)).unwrap();
}
