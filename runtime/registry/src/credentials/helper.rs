//! Programs that keep logins: `docker-credential-NAME get|store|erase`, the host or a JSON document on stdin, the answer on stdout.

use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::credentials::Login;
use crate::error::{Error, Kind, Result, clean};
use crate::secret::Secret;

const MOST: u64 = 1 << 20;
/// In the place of a user: the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// A helper program.
#[derive(Debug)]
pub(crate) struct Helper {
    program: String,
    patience: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// Takes the name that a file gives; it must not be a path.
    pub(crate) fn named(name: &str, patience: Duration) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Err(Error::new(
                Kind::Settings,
                format!("credential helper {name:?}: is not the name of a program"),
            ));
        }
        Ok(Self {
            program: format!("docker-credential-{name}"),
            patience,
        })
    }

    #[cfg(test)]
    pub(crate) fn at(path: &str, patience: Duration) -> Self {
        Self {
            program: path.to_string(),
            patience,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Login>> {
        let (fine, out) = self.run("get", key.as_bytes())?;
        if !fine {
            return self.refused("get", &out).map(|()| None);
        }
        let entry: Entry = serde_json::from_slice(&out)
            .map_err(|_| self.fault("get: its answer is not the JSON of a login".into()))?;
        let secret = Secret::new(entry.secret);
        Ok(match entry.username.as_str() {
            TOKEN_USER => Some(Login::Identity {
                user: String::new(),
                token: secret,
            }),
            "" => None,
            user => Some(Login::Password {
                user: user.to_string(),
                password: secret,
            }),
        })
    }

    pub(crate) fn store(&self, key: &str, login: &Login) -> Result<()> {
        let (user, secret) = match login {
            Login::Password { user, password } => (user.as_str(), password),
            Login::Identity { token, .. } => (TOKEN_USER, token),
            Login::Token(_) => {
                return Err(self.fault("store: it cannot keep a bearer token".into()));
            }
        };
        let entry = Entry {
            server_url: key.to_string(),
            username: user.to_string(),
            secret: secret.expose().to_string(),
        };
        let document = serde_json::to_vec(&entry)
            .map_err(|_| self.fault("store: the login cannot be written as JSON".into()))?;
        match self.run("store", &document)? {
            (true, _) => Ok(()),
            (false, out) => Err(self.fault(format!("store: {}", said(&out)))),
        }
    }

    /// Tells whether there was a login.
    pub(crate) fn erase(&self, key: &str) -> Result<bool> {
        match self.run("erase", key.as_bytes())? {
            (true, _) => Ok(true),
            (false, out) => self.refused("erase", &out).map(|()| false),
        }
    }

    /// "Not found" is an answer; all else is an error.
    fn refused(&self, verb: &str, out: &[u8]) -> Result<()> {
        let said = said(out);
        if said.contains("credentials not found") {
            return Ok(());
        }
        Err(self.fault(format!("{verb}: {said}")))
    }

    fn fault(&self, what: String) -> Error {
        Error::new(Kind::Settings, format!("{}: {what}", self.program))
    }

    /// Runs the program to its end; what it writes to stderr is not for us.
    fn run(&self, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>)> {
        let mut child = Command::new(&self.program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                let what = match error.kind() {
                    ErrorKind::NotFound => "is not installed".to_string(),
                    _ => error.to_string(),
                };
                let what = format!("{}: {what}", self.program);
                Error::new(Kind::NoProgram, what)
                    .advise("install it, or take it out of credsStore and credHelpers")
            })?;
        let talked = self.talk(&mut child, input);
        if talked.is_err() || !ended(&mut child, self.patience) {
            // It has ended already, or it does now.
            drop(child.kill());
        }
        let status = child.wait();
        let out = talked?;
        let status = status.map_err(|error| self.fault(format!("{verb}: {error}")))?;
        Ok((status.success(), out))
    }

    /// Gives the program its input and takes its output in a thread of its own: a program that hangs takes no more than our patience.
    fn talk(&self, child: &mut Child, input: &[u8]) -> Result<Vec<u8>> {
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let input = input.to_vec();
        let (give, take) = mpsc::channel();
        thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                // A program may end without reading; what it says then counts.
                drop(stdin.write_all(&input));
            }
            let mut out = Vec::new();
            let read = stdout.map(|stdout| stdout.take(MOST + 1).read_to_end(&mut out));
            // Nobody listens any more when it took too long.
            drop(give.send(read.transpose().map(|_| out)));
        });
        match take.recv_timeout(self.patience) {
            Ok(Ok(out)) if out.len() as u64 <= MOST => Ok(out),
            Ok(Ok(_)) => Err(self.fault("it writes without end".into())),
            Ok(Err(error)) => Err(self.fault(error.to_string())),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(self.fault(
                format!("no answer within {} s", self.patience.as_secs_f32()),
            )),
        }
    }
}

/// Waits for the end of a program that has closed its output, which takes it no time.
fn ended(child: &mut Child, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

fn said(out: &[u8]) -> String {
    let said = clean(&String::from_utf8_lossy(out), 200);
    if said.is_empty() {
        return "ended with an error and no word".to_string();
    }
    said
}
