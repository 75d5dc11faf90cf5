//! A server that takes no connections: waited for if it was there a moment ago, and left at once if it never was.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use image::Repository;

use super::server::{Reply, Request, reply, serve};
use super::{Scratch, content, ear, fetch, impatient, layer, repository, wait};
use crate::{Client, Files, Hosts, Kind, Notice, Patience, Settings, Whole};

/// Answers on one connection until one of the replies cuts it, and takes no other; then, if it comes back, it is away for a moment.
fn start(
    comes_back: bool,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Repository {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        let log = Mutex::default();
        let (stream, _) = listener.accept().unwrap();
        // Before anything is answered: who comes a second time is refused.
        drop(listener);
        serve(&stream, &log, answer.as_ref());
        drop(stream);
        if !comes_back {
            return;
        }
        thread::sleep(Duration::from_millis(300));
        let listener = TcpListener::bind(address).unwrap();
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(&stream, &Mutex::default(), answer.as_ref()));
        }
    });
    repository(&address.to_string())
}

/// Waits long enough for a server that is away for a moment, also where both are slow.
fn patient() -> (Client, Arc<Mutex<Vec<Notice>>>) {
    let (settings, heard) = patient_settings();
    (Client::new(settings).unwrap(), heard)
}

fn patient_settings() -> (Settings, Arc<Mutex<Vec<Notice>>>) {
    let (notices, heard) = ear();
    let patience = Patience {
        retries: 6,
        backoff: Duration::from_millis(50),
        ..impatient().patience
    };
    let settings = Settings {
        patience,
        notices,
        ..impatient()
    };
    (settings, heard)
}

fn retries(heard: &Mutex<Vec<Notice>>) -> usize {
    let heard = heard.lock().unwrap();
    let refused =
        |notice: &&Notice| matches!(notice, Notice::Retry { why, .. } if why.contains("refused"));
    heard.iter().filter(refused).count()
}

/// Serves a blob, the first time no more of it than its beginning.
fn cut_once(bytes: Vec<u8>) -> impl Fn(&Request) -> Reply + Send + Sync {
    let asked = AtomicUsize::new(0);
    move |request: &Request| {
        if request.path == "/v2/" {
            return reply(200, "{}");
        }
        let whole = super::faults::serve(&bytes, request);
        match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Reply {
                cut: Some(1000),
                ..whole
            },
            _ => whole,
        }
    }
}

#[test]
fn a_server_that_starts_anew_is_waited_for() {
    let bytes = content(200_000);
    let what = layer(&bytes);
    let from = start(true, cut_once(bytes.clone()));
    let (client, heard) = patient();
    let got = wait(fetch(&client, &from, &what, 0..200_000));
    assert_eq!(got.unwrap(), bytes);
    assert!(retries(&heard) > 0, "{:?}", heard.lock().unwrap());
}

#[test]
fn a_mirror_that_starts_anew_is_waited_for() {
    let bytes = content(200_000);
    let what = layer(&bytes);
    let mirror = start(true, cut_once(bytes.clone()));
    // Nobody answers there.
    let origin = repository("127.0.0.1:1");
    let text = format!(
        "[[registry.\"{}\".mirror]]\nurl = \"http://{}\"\n",
        origin.host, mirror.host
    );
    let scratch = Scratch::new();
    let native = vec![scratch.write("registries.toml", &text)];
    let hosts = Hosts::load(&Files {
        native,
        ..Files::default()
    });
    let (settings, heard) = patient_settings();
    let settings = Settings {
        hosts: hosts.unwrap(),
        ..settings
    };
    let client = Client::new(settings).unwrap();
    let got = wait(fetch(&client, &origin, &what, 0..200_000));
    assert_eq!(got.ok(), Some(bytes), "{:?}", heard.lock().unwrap());
}

#[test]
fn a_server_that_does_not_come_back_is_given_up() {
    let bytes = content(200_000);
    let what = layer(&bytes);
    let from = start(false, cut_once(bytes));
    let (client, heard) = patient();
    let error = wait(fetch(&client, &from, &what, 0..200_000)).unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    let hint = format!("nothing listens on {}: is the registry running?", from.host);
    assert_eq!(error.hint(), Some(hint.as_str()));
    // One of them for the connection that was cut.
    assert_eq!(retries(&heard), 5);
}

#[test]
fn an_upload_waits_as_often_and_no_more() {
    let from = start(false, |request| match request.path.as_str() {
        "/v2/" => reply(200, "{}"),
        _ if request.method == "POST" => {
            reply(202, "").with("location", "/v2/team/tool/blobs/uploads/1")
        }
        // Of the first piece nobody hears again.
        _ => Reply {
            cut: Some(0),
            ..reply(202, "x")
        },
    });
    let (client, heard) = patient();
    let source = Arc::new(Whole(content(300_000).into()));
    let error = wait(client.upload(&from, source, None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    // Six for the question that was asked in vain, and one for the piece before it.
    let retries = retries(&heard);
    assert!((6..=7).contains(&retries), "{:?}", heard.lock().unwrap());
}

#[test]
fn a_server_that_never_answered_is_left_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let from = repository(&port.local_addr().unwrap().to_string());
    drop(port);
    let (client, heard) = patient();
    let error = wait(fetch(&client, &from, &layer(b"x"), 0..1)).unwrap_err();
    let (message, host) = (error.message(), &from.host);
    assert!(message.ends_with(": connection refused"), "{message}");
    let hint = format!("nothing listens on {host}: is the registry running?");
    assert_eq!(error.hint(), Some(hint.as_str()));
    assert_eq!(retries(&heard), 0);
}
