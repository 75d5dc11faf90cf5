//! Somebody who listens to system call filters and answers, as a seccomp agent of an engine does.

use crate::{Must, sys};
use serde_json::Value;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens at a socket until the test ends; each connection is one container process.
#[derive(Debug)]
pub struct Agent {
    pub path: PathBuf,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// One container process, as it was introduced, and how often it asked.
#[derive(Debug, Clone)]
pub struct Heard {
    pub state: Value,
    pub calls: Vec<i32>,
}

impl Agent {
    /// Listens at `path`; every call gets the error number that `answer` gives for it, or is carried out where that is 0.
    pub fn listen(path: PathBuf, answer: impl Fn(i32) -> i32 + Send + Clone + 'static) -> Self {
        let listener = UnixListener::bind(&path).must(path.display());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, descriptor) = introduction(&stream);
                let answer = answer.clone();
                let index = {
                    let mut heard = shared.lock().must("the list");
                    heard.push(Heard {
                        state,
                        calls: Vec::new(),
                    });
                    heard.len() - 1
                };
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    while let Ok(Some(call)) = sys::next_call(descriptor.as_fd()) {
                        shared.lock().must("the list")[index]
                            .calls
                            .push(call.number);
                        // Whoever asked may have been killed meanwhile.
                        sys::answer_call(descriptor.as_fd(), &call, answer(call.number))
                            .unwrap_or_default();
                    }
                });
            }
        });
        Self { path, heard }
    }

    /// Returns who was introduced so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().must("the list").clone()
    }
}

/// Reads the one message of a connection, with its one descriptor, and its end.
fn introduction(stream: &UnixStream) -> (Value, OwnedFd) {
    let (text, mut fds) = sys::receive_fds(stream).must("the introduction");
    assert_eq!(fds.len(), 1, "exactly one descriptor is sent");
    let state = serde_json::from_slice(&text).must("the state as JSON");
    let (more, late) = sys::receive_fds(stream).must("the end of the connection");
    assert!(
        more.is_empty() && late.is_empty(),
        "one message only: {more:?}, {late:?}"
    );
    (state, fds.remove(0))
}
