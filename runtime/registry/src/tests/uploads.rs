//! Uploads that break, and go on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use image::Digest;

use super::server::{Reply, Request, Server, reply};
use super::{client, content, repository, wait};
use crate::{Error, Kind, Result, Session, Source, Upload, Whole};

/// A blob that is made while it is sent: its digest is known at the end.
#[derive(Debug, Default)]
struct Growing {
    bytes: Vec<u8>,
    ended: Mutex<bool>,
    sessions: Mutex<Vec<Session>>,
    slow: Duration,
}

impl Source for Growing {
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            tokio::time::sleep(self.slow).await;
            let start = usize::try_from(offset).unwrap().min(self.bytes.len());
            let end = (start + most.min(30_000)).min(self.bytes.len());
            *self.ended.lock().unwrap() |= start == end;
            Ok(Bytes::copy_from_slice(&self.bytes[start..end]))
        })
    }

    fn known(&self) -> Option<(Digest, u64)> {
        let known = (Digest::of(&self.bytes), self.bytes.len() as u64);
        self.ended.lock().unwrap().then_some(known)
    }

    fn session(&self, session: &Session) {
        self.sessions.lock().unwrap().push(session.clone());
    }
}

/// A server that takes uploads, and what it has of one.
fn taking(
    spoil: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let held: Arc<Mutex<Vec<u8>>> = Arc::default();
    let has = held.clone();
    let server = Server::start(move |request| {
        let mut has = has.lock().unwrap();
        if let Some(spoilt) = spoil(request, has.len()) {
            if request.method == "PATCH" && spoilt.status != 416 {
                // Half of it arrives.
                has.extend_from_slice(&request.body[..request.body.len() / 2]);
            }
            return spoilt;
        }
        let session = "/session?state=a%2Fb".to_string();
        match request.method.as_str() {
            "POST" => {
                has.clear();
                reply(202, "").with("location", session)
            }
            "HEAD" => reply(404, ""),
            "GET" => reply(204, "")
                .with("location", session)
                .with("range", format!("0-{}", has.len().max(1) - 1)),
            "PATCH" => {
                let from: usize = request
                    .header("content-range")
                    .unwrap()
                    .split('-')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap();
                if from != has.len() {
                    return reply(416, "").with("location", session);
                }
                has.extend_from_slice(&request.body);
                reply(202, "")
                    .with("location", session)
                    .with("range", format!("0-{}", has.len() - 1))
            }
            _ => {
                has.extend_from_slice(&request.body);
                let digest = Digest::of(&has).to_string().replace(':', "%3A");
                let fine = request.path == format!("/session?state=a%2Fb&digest={digest}");
                reply(if fine { 201 } else { 400 }, "")
            }
        }
    });
    (server, held)
}

fn check(
    size: usize,
    known: bool,
    spoil: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static,
    want: &[&str],
) {
    let bytes = content(size);
    let (server, held) = taking(spoil);
    let source: Arc<dyn Source> = if known {
        Arc::new(Whole(bytes.clone().into()))
    } else {
        Arc::new(Growing {
            bytes: bytes.clone(),
            ..Growing::default()
        })
    };
    let done = wait(client().upload(&repository(&server.host), source, None)).unwrap();
    assert_eq!((done.digest, done.size), (Digest::of(&bytes), size as u64));
    assert_eq!(*held.lock().unwrap(), bytes);
    let seen = server.seen();
    let steps: Vec<String> = seen
        .iter()
        .map(|request| {
            let range = request.header("content-range").unwrap_or("");
            format!("{} {range}", request.method).trim_end().to_string()
        })
        .collect();
    assert_eq!(steps, want);
}

#[test]
fn small_blobs_go_in_one_and_large_ones_in_pieces() {
    check(0, true, |_, _| None, &["POST", "PUT"]);
    check(100_000, true, |_, _| None, &["POST", "PUT"]);
    check(
        250_000,
        true,
        |_, _| None,
        &[
            "POST",
            "PATCH 0-99999",
            "PATCH 100000-199999",
            "PATCH 200000-249999",
            "PUT",
        ],
    );
    check(
        250_000,
        false,
        |_, _| None,
        &["POST", "PATCH 0-249999", "PUT"],
    );
    check(0, false, |_, _| None, &["POST", "PUT"]);
}

#[test]
fn what_breaks_goes_on_where_the_server_is() {
    // An answer that does not say how much has arrived, which is found to be less at the next piece.
    let lost = || {
        Some(Reply {
            cut: Some(0),
            length: Some(Some(10)),
            ..reply(202, "")
        })
    };
    check(
        250_000,
        true,
        move |request, has| {
            (request.method == "PATCH" && has == 100_000)
                .then(lost)
                .flatten()
        },
        &[
            "POST",
            "PATCH 0-99999",
            "PATCH 100000-199999",
            "PATCH 200000-249999",
            "HEAD",
            "GET",
            "PATCH 150000-249999",
            "PUT",
        ],
    );
    check(
        250_000,
        true,
        |request, has| (request.method == "PATCH" && has == 100_000).then(|| reply(500, "")),
        &[
            "POST",
            "PATCH 0-99999",
            "PATCH 100000-199999",
            "HEAD",
            "GET",
            "PATCH 150000-249999",
            "PUT",
        ],
    );
    let min = |request: &Request, _: usize| {
        (request.method == "POST").then(|| {
            reply(202, "")
                .with("location", "/session?state=a%2Fb")
                .with("oci-chunk-min-length", "240000")
        })
    };
    check(
        250_000,
        true,
        min,
        &["POST", "PATCH 0-239999", "PATCH 240000-249999", "PUT"],
    );
}

#[test]
fn a_session_outlives_the_process() {
    let bytes = content(9 << 20);
    let (server, held) = taking(|_, _| None);
    let to = repository(&server.host);
    let source = Arc::new(Growing {
        bytes: bytes.clone(),
        ..Growing::default()
    });
    // A client that is gone after the first piece.
    wait(async {
        let client = client();
        let upload = client.upload(&to, source.clone(), None);
        let mut upload = std::pin::pin!(upload);
        while source.sessions.lock().unwrap().len() < 2 {
            assert!(
                tokio::time::timeout(Duration::from_millis(1), &mut upload)
                    .await
                    .is_err()
            );
        }
    });
    let kept = serde_json::to_string(source.sessions.lock().unwrap().last().unwrap()).unwrap();
    let session: Session = serde_json::from_str(&kept).unwrap();
    let whole = Arc::new(Whole(bytes.clone().into()));
    let done = wait(client().upload(&to, whole.clone(), Some(session.clone()))).unwrap();
    assert_eq!(*held.lock().unwrap(), bytes);
    assert!(done.sent <= 1 << 20, "{}", done.sent);
    // Of another repository, it is not used.
    let other = crate::tests::repository("localhost:1");
    assert_eq!(
        wait(client().upload(&other, whole, Some(session)))
            .unwrap_err()
            .kind(),
        Kind::Connect
    );
}

#[test]
fn a_source_may_be_slow_and_a_server_may_not() {
    let (server, _) = taking(|_, _| None);
    let slow = Arc::new(Growing {
        bytes: content(50_000),
        slow: Duration::from_millis(500),
        ended: Mutex::new(true),
        ..Growing::default()
    });
    wait(client().upload(&repository(&server.host), slow, None)).unwrap();
}

#[test]
fn a_source_that_fails_says_so_itself() {
    #[derive(Debug)]
    struct Broken;
    impl Source for Broken {
        fn read(&self, _: u64, _: usize) -> BoxFuture<'_, Result<Bytes>> {
            Box::pin(std::future::ready(Err(Error::local(
                "layer x: no space left",
            ))))
        }
        fn known(&self) -> Option<(Digest, u64)> {
            Some((Digest::of(b""), 10))
        }
    }
    let (server, _) = taking(|_, _| None);
    let error =
        wait(client().upload(&repository(&server.host), Arc::new(Broken), None)).unwrap_err();
    assert_eq!(error.to_string(), "layer x: no space left");
}

#[test]
fn an_upload_that_cannot_succeed_ends() {
    // What may go on another time is left with the server.
    for (status, want, cancelled) in [
        (403, Kind::Denied, true),
        (413, Kind::Denied, true),
        (400, Kind::Server, true),
        (500, Kind::Server, false),
        (404, Kind::NotFound, false),
    ] {
        let (server, _) =
            taking(move |request, _| (request.method == "PATCH").then(|| reply(status, "")));
        let whole = Arc::new(Whole(content(250_000).into()));
        let error = wait(client().upload(&repository(&server.host), whole, None)).unwrap_err();
        assert_eq!(error.kind(), want, "{error}");
        let lines = server.lines();
        let deleted: Vec<_> = lines.iter().filter(|one| one.starts_with("DEL")).collect();
        let want: &[&str] = if cancelled {
            &["DELETE /session?state=a%2Fb"]
        } else {
            &[]
        };
        assert_eq!(deleted, want, "{status}");
    }
    let (server, _) = taking(|request, _| {
        (request.method == "PATCH").then(|| reply(202, "").with("range", "0-999999"))
    });
    let whole = Arc::new(Whole(content(250_000).into()));
    let error = wait(client().upload(&repository(&server.host), whole, None)).unwrap_err();
    assert!(
        error
            .message()
            .ends_with("the server has 1000000 bytes, of which 100000 were sent"),
        "{error}"
    );
}

#[test]
fn a_mount_is_done_or_becomes_an_upload() {
    let digest = Digest::of(b"x");
    for (it, want) in [
        (reply(201, ""), true),
        (reply(202, "").with("location", "/s"), false),
    ] {
        let server = Server::start(move |_| it.clone());
        let to = repository(&server.host);
        let from = image::Repository {
            path: "base/os".into(),
            ..to.clone()
        };
        let got = wait(client().mount(&to, &digest, &from)).unwrap();
        assert_eq!(matches!(got, Upload::Done), want);
        let name = digest.to_string().replace(':', "%3A");
        assert_eq!(
            server.lines(),
            [format!(
                "POST /v2/team/tool/blobs/uploads/?mount={name}&from=base%2Fos"
            )]
        );
    }
    let server = Server::start(|request| match request.path.contains("mount") {
        true => reply(403, ""),
        false => reply(202, "").with("location", "/s"),
    });
    let to = repository(&server.host);
    assert!(matches!(
        wait(client().mount(&to, &digest, &to)).unwrap(),
        Upload::Session(_)
    ));
    assert_eq!(
        wait(client().mount(&to, &digest, &repository("other:1")))
            .unwrap_err()
            .kind(),
        Kind::Local
    );
}

#[test]
fn a_busy_server_is_not_taken_for_one_without_the_blob() {
    for (status, want) in [
        (200, Some(true)),
        (404, Some(false)),
        (500, None),
        (403, None),
    ] {
        let server = Server::start(move |_| reply(status, ""));
        let got = wait(client().has_blob(&repository(&server.host), &Digest::of(b"x")));
        assert_eq!(got.ok(), want, "{status}");
    }
}
