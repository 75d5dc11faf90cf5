//! What goes wrong on the way to us ends in success or in one clear line.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image::media;

use super::server::{Reply, Request, Server, reply};
use super::{client, content, fetch, impatient, layer, repository, wait};
use crate::{Client, Kind, Settings, Verify, Which};

/// Serves a blob as it should be.
pub(super) fn serve(bytes: &[u8], request: &Request) -> Reply {
    match request.range() {
        Some((first, last)) => reply(206, &bytes[first..=last]).with(
            "content-range",
            format!("bytes {first}-{last}/{}", bytes.len()),
        ),
        None => reply(200, bytes),
    }
}

/// Fetches a blob from a server that spoils the n-th answer.
fn check_blob(
    name: &str,
    spoil: impl Fn(usize, Reply, &Request) -> Reply + Send + Sync + 'static,
    want: &str,
) {
    let bytes = content(300_000);
    let what = layer(&bytes);
    let served = bytes.clone();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        spoil(n, serve(&served, request), request)
    });
    for span in [0..300_000, 100_000..200_000] {
        let part = usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap();
        let got = match wait(fetch(
            &client(),
            &repository(&server.host),
            &what,
            span.clone(),
        )) {
            Ok(got) if got == bytes[part] => "the content".to_string(),
            Ok(_) => "something else".to_string(),
            Err(error) => error
                .to_string()
                .replace(&server.host, "HOST")
                .replace(&what.digest.to_string(), "DIGEST"),
        };
        assert!(got.contains(want), "{name} {span:?}: {got}");
        assert!(!got.contains('\n') && got.len() < 400, "{name}: {got}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_blob_comes_whole_or_not_at_all() {
    let fine = "the content";
    check_blob("as it should", |_, it, _| it, fine);
    let cut = |it: Reply, at: usize| Reply {
        cut: Some(at.min(it.body.len())),
        ..it
    };
    check_blob(
        "cut once",
        move |n, it, _| if n % 2 == 0 { cut(it, 70_000) } else { it },
        fine,
    );
    check_blob(
        "cut at the start",
        move |n, it, _| if n % 3 < 2 { cut(it, 0) } else { it },
        fine,
    );
    check_blob(
        "cut at the last byte",
        move |n, it, _| {
            let end = it.body.len() - 1;
            if n % 2 == 0 { cut(it, end) } else { it }
        },
        fine,
    );
    check_blob(
        "cut always",
        move |_, it, _| cut(it, 10),
        "HOST: blob DIGEST: ",
    );
    check_blob(
        "range ignored",
        |_, it, request| {
            if request.range().is_some() {
                reply(200, content(300_000))
            } else {
                it
            }
        },
        fine,
    );
    check_blob(
        "cut, and range ignored",
        move |n, _, _| {
            let it = reply(200, content(300_000));
            if n % 2 == 0 { cut(it, 150_000) } else { it }
        },
        fine,
    );
    for status in [429, 500, 502, 503, 504] {
        check_blob(
            "busy once",
            move |n, it, _| if n % 2 == 0 { reply(status, "") } else { it },
            fine,
        );
    }
    check_blob(
        "busy, and says until when",
        |n, it, _| {
            if n % 2 == 0 {
                reply(429, "").with("retry-after", "0")
            } else {
                it
            }
        },
        fine,
    );
    check_blob(
        "busy for long",
        |_, _, _| reply(429, "").with("retry-after", "3600"),
        "429 Too Many Requests; wait, or log in",
    );
    check_blob(
        "down",
        |_, _, _| reply(503, "<html>down\u{1b}[2J"),
        "503 Service Unavailable; it is a fault of the server",
    );
    check_blob(
        "gone",
        |_, _, _| {
            reply(
                404,
                r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown\nto us"}]}"#,
            )
        },
        "HOST: blob DIGEST: 404 Not Found (BLOB_UNKNOWN: blob unknown to us)",
    );
    check_blob(
        "forbidden",
        |_, _, _| reply(403, "{}"),
        "403 Forbidden; the login at HOST has no right to this",
    );
}

#[test]
fn a_blob_of_another_size_is_refused() {
    check_blob(
        "too short",
        |_, _, _| reply(200, content(299_999)),
        "has 299999 bytes there, and should have 300000",
    );
    check_blob(
        "too long",
        |_, _, _| reply(200, content(300_001)),
        "has 300001 bytes there, and should have 300000",
    );
    check_blob(
        "endless",
        |_, it, _| Reply {
            length: Some(None),
            endless: true,
            ..it
        },
        "",
    );
    check_blob(
        "short, without length",
        |_, _, _| Reply {
            length: Some(None),
            ..reply(200, content(1000))
        },
        "ended after ",
    );
    check_blob(
        "another total",
        |_, it, _| {
            let mut it = it;
            for (_, value) in &mut it.headers {
                *value = value.replace("/300000", "/300001");
            }
            if it.status == 200 {
                it.body.push(0);
            }
            it
        },
        "has 300001 bytes there, and should have 300000",
    );
    check_blob(
        "beyond the end",
        |_, _, _| reply(416, ""),
        "has fewer than 300000 bytes there",
    );
    check_blob(
        "no content",
        |_, _, _| reply(204, ""),
        "the server answers 204",
    );
}

#[test]
fn an_endless_body_ends() {
    let bytes = content(1000);
    let served = bytes.clone();
    let server = Server::start(move |_| Reply {
        length: Some(None),
        endless: true,
        ..reply(200, served.clone())
    });
    let from = repository(&server.host);
    let error = wait(fetch(&client(), &from, &layer(&bytes), 0..1000)).unwrap_err();
    assert!(
        error
            .message()
            .ends_with("the server sends more than the 1000 bytes that it has"),
        "{error}"
    );
    let error = wait(client().manifest(&from, &Which::Tag("x".into()))).unwrap_err();
    assert!(
        error
            .message()
            .ends_with("has more than 4194304 bytes, which is more than is taken for it"),
        "{error}"
    );
}

#[test]
fn a_part_of_something_else_is_refused() {
    let bytes = content(1000);
    for (status, range, body, want) in [
        (
            206,
            Some("bytes 0-99/1000"),
            100,
            "the server sends bytes 0..100 in the place of 100..200",
        ),
        (
            206,
            Some("bytes 100-299/1000"),
            200,
            "the server sends bytes 100..300 in the place of 100..200",
        ),
        (
            206,
            Some("bytes 100-99/1000"),
            0,
            "the server sends bytes 100..100 in the place of 100..200",
        ),
        (
            206,
            None,
            100,
            "the server does not say which part it sends",
        ),
        (
            206,
            Some("pages 1-2/3"),
            100,
            "the server does not say which part it sends",
        ),
        (
            206,
            Some("bytes 100-149/1000"),
            100,
            "the server sends more than",
        ),
    ] {
        let served = bytes.clone();
        let server = Server::start(move |_| {
            let it = reply(status, &served[..body]);
            match range {
                Some(range) => it.with("content-range", range),
                None => it,
            }
        });
        let got = wait(fetch(
            &client(),
            &repository(&server.host),
            &layer(&bytes),
            100..200,
        ));
        let error = got.unwrap_err();
        assert!(error.message().contains(want), "{error}");
        assert_eq!(error.kind(), Kind::Wrong);
    }
}

#[test]
fn a_part_that_comes_in_parts_is_put_together() {
    let bytes = content(1000);
    let served = bytes.clone();
    let server = Server::start(move |request| {
        let (first, last) = request.range().unwrap();
        let last = last.min(first + 29);
        reply(206, &served[first..=last]).with("content-range", format!("bytes {first}-{last}/*"))
    });
    let got = wait(fetch(
        &client(),
        &repository(&server.host),
        &layer(&bytes),
        100..200,
    ))
    .unwrap();
    assert_eq!(got, bytes[100..200]);
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn parts_that_have_no_end_are_given_up() {
    let bytes = content(300_000);
    // A byte each time; and parts of which some are large enough to be progress.
    for (least, fine) in [(1, false), (40_000, false), (70_000, true)] {
        let served = bytes.clone();
        let server = Server::start(move |request| {
            let (first, last) = request.range().unwrap_or((0, 299_999));
            let last = last.min(first + least - 1);
            reply(206, &served[first..=last])
                .with("content-range", format!("bytes {first}-{last}/300000"))
        });
        let from = repository(&server.host);
        let got = wait(fetch(&client(), &from, &layer(&bytes), 1..300_000));
        match got {
            Ok(got) => assert!(fine && got == bytes[1..]),
            Err(error) => {
                let want = format!("the server gives no more than {least} bytes at a time");
                assert!(!fine && error.message().ends_with(&want), "{error}");
                assert_eq!(server.seen().len(), 4);
            }
        }
    }
}

#[test]
fn a_document_has_a_time_to_be_whole() {
    // Never silent, and with these pauses not there for a minute.
    let server = Server::start(|request| Reply {
        pause: Duration::from_millis(2),
        ..reply(
            if request.path.contains("team") {
                200
            } else {
                403
            },
            content(30_000),
        )
    });
    let start = Instant::now();
    let tag = Which::Tag("x".into());
    let error = wait(client().manifest(&repository(&server.host), &tag)).unwrap_err();
    assert!(
        error.message().ends_with("has not come whole within 2 s"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Silent);
    let elsewhere = image::Repository {
        path: "other".into(),
        ..repository(&server.host)
    };
    let error = wait(client().manifest(&elsewhere, &tag)).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    let what = layer(&content(30_000));
    let error = wait(async {
        let client = client();
        let mut stream = client
            .blob(&repository(&server.host), &what, 0..30_000)
            .await?;
        stream.hurry();
        while stream.next().await?.is_some() {}
        Ok::<_, crate::Error>(())
    });
    let error = error.unwrap_err();
    assert!(
        error.message().ends_with("has not come whole within 2 s"),
        "{error}"
    );
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn whether_parts_are_given_is_told() {
    let bytes = content(1000);
    for (honest, span, want) in [
        (true, 0..500, true),
        (false, 0..500, false),
        (false, 0..1000, false),
    ] {
        let served = bytes.clone();
        let server = Server::start(move |request| {
            if honest {
                serve(&served, request)
            } else {
                reply(200, served.clone())
            }
        });
        let stream = wait(client().blob(&repository(&server.host), &layer(&bytes), span)).unwrap();
        assert_eq!(stream.ranges(), want);
        assert_eq!(stream.host(), server.host);
    }
}

#[test]
fn a_server_that_trickles_or_says_nothing_is_given_up() {
    let bytes = content(1000);
    for pause in [Duration::from_millis(30), Duration::from_secs(3600)] {
        let served = bytes.clone();
        let server = Server::start(move |_| Reply {
            pause,
            ..reply(200, served.clone())
        });
        let start = Instant::now();
        let error = wait(fetch(
            &client(),
            &repository(&server.host),
            &layer(&bytes),
            0..1000,
        ))
        .unwrap_err();
        assert_eq!(error.kind(), Kind::Silent);
        assert!(
            error
                .message()
                .contains("fewer than 64 bytes came within 0.3 s"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(4));
    }
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(5));
        reply(200, "")
    });
    let error =
        wait(client().manifest(&repository(&server.host), &Which::Tag("x".into()))).unwrap_err();
    assert!(
        error
            .message()
            .ends_with("manifest team/tool:x: no answer within 0.3 s"),
        "{error}"
    );
}

#[test]
fn what_a_blob_is_compared_with() {
    let bytes = content(1000);
    let what = layer(&bytes);
    for (fed, want) in [
        (bytes.clone(), "fine"),
        (bytes[..999].to_vec(), "has 999 bytes, and should have 1000"),
        ([&bytes[..999], b"x"].concat(), "the content is sha256:"),
    ] {
        let mut verify = Verify::new(&what, "host");
        fed.chunks(100).for_each(|chunk| verify.feed(chunk));
        let got = verify
            .finish()
            .map_or_else(|error| error.to_string(), |_| "fine".to_string());
        assert!(got.contains(want), "{got}");
    }
}

#[test]
fn a_blob_in_its_descriptor_is_not_asked_for() {
    use base64::Engine as _;
    let bytes = content(100);
    let mut what = layer(&bytes);
    what.data = Some(base64::engine::general_purpose::STANDARD.encode(&bytes));
    let nowhere = repository("localhost:1");
    assert_eq!(
        wait(fetch(&client(), &nowhere, &what, 10..20)).unwrap(),
        bytes[10..20]
    );
    // What does not fit digest and size is none.
    what.data = Some("AAAA".to_string());
    assert_eq!(
        wait(fetch(&client(), &nowhere, &what, 10..20))
            .unwrap_err()
            .kind(),
        Kind::Connect
    );
}

#[test]
fn a_foreign_layer_is_fetched_only_where_that_is_allowed() {
    let bytes = content(1000);
    let served = bytes.clone();
    let elsewhere = Server::start(move |_| reply(200, served.clone()));
    let server = Server::start(|_| reply(404, ""));
    let mut what = layer(&bytes);
    what.urls = vec![
        "file:///etc/passwd".to_string(),
        format!("http://{}/layer?x=y", elsewhere.host),
    ];
    for (kind, foreign, want) in [
        (media::DOCKER_FOREIGN_GZIP, true, true),
        (media::DOCKER_FOREIGN_GZIP, false, false),
        (media::OCI_LAYER_GZIP, true, false),
    ] {
        what.media_type = kind.to_string();
        let client = Client::new(Settings {
            foreign,
            ..impatient()
        })
        .unwrap();
        let got = wait(fetch(&client, &repository(&server.host), &what, 0..1000));
        assert_eq!(got.is_ok(), want, "{kind} {foreign}");
        if let Err(error) = got {
            assert_eq!(
                error.to_string().contains("allow foreign layers"),
                kind != media::OCI_LAYER_GZIP
            );
        }
    }
    assert_eq!(elsewhere.lines(), ["GET /layer?x=y"]);
}
