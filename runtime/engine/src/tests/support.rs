//! An engine in a directory of its own, a registry on loopback, and a connection that breaks.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use image::Digest;

use crate::{Engine, Event, Import, Network, Patience, Progress, Settings};

/// A directory that goes away with its owner.
#[derive(Debug)]
pub(crate) struct Scratch(pub PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("engine-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// An engine without patience in a directory of its own.
pub(crate) fn engine(root: &Path) -> Engine {
    let patience = Patience {
        retries: 0,
        ..Patience::default()
    };
    let settings = Settings {
        data_root: root.join("data"),
        run_root: root.join("run"),
        network: Network {
            patience: Some(patience),
            ..Network::default()
        },
        ..Settings::default()
    };
    Engine::open(settings).unwrap()
}

/// Keeps the events of a verb.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Vec<Event>>);

impl Progress for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    /// The words that a user sees of layers, each once.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for event in self.0.lock().unwrap().iter() {
            if let Event::Layer { step, .. } = event
                && !words.contains(&step.to_string())
            {
                words.push(step.to_string());
            }
        }
        words
    }
}

/// Runs a program to its end; its output.
pub(super) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {out}{err}"
    );
    out.into_owned()
}

/// Tells whether a program is here; a test without it is skipped.
pub(super) fn has(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A tar of some files: `noise` of them are bytes that do not compress, so many each.
pub(crate) fn tar(dir: &Path, name: &str, noise: &[usize]) -> PathBuf {
    let tree = dir.join(format!("{name}-tree"));
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/name"), name).unwrap();
    std::os::unix::fs::symlink("etc/name", tree.join("link")).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ name.len() as u64;
    for (at, size) in noise.iter().enumerate() {
        let mut bytes = vec![0; *size];
        for byte in &mut bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[0];
        }
        fs::write(tree.join(format!("noise{at}")), bytes).unwrap();
    }
    let path = dir.join(format!("{name}.tar"));
    let (from, to) = (tree.to_str().unwrap(), path.to_str().unwrap());
    run("tar", &["-C", from, "--format=pax", "-cf", to, "."]);
    path
}

/// An image of such a tar.
pub(crate) fn import(engine: &Engine, tar: &Path, name: &str) -> Digest {
    let options = Import {
        name: Some(name.to_string()),
        changes: vec![
            "CMD [\"/bin/sh\"]".to_string(),
            "LABEL made=here".to_string(),
        ],
        source: "-".to_string(),
        ..Import::default()
    };
    engine
        .import(&mut fs::File::open(tar).unwrap(), &options, &crate::Quiet)
        .unwrap()
}

/// Debian's docker-registry on a port of its own.
#[derive(Debug)]
pub(super) struct Registry {
    child: Child,
    pub address: SocketAddr,
    _dir: Scratch,
}

impl Registry {
    /// Starts it; nothing where it is not installed.
    pub(super) fn start() -> Option<Self> {
        if !has("docker-registry") {
            return None;
        }
        let dir = Scratch::new();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            dir.join("registry").display()
        );
        fs::write(dir.join("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self {
            child,
            address,
            _dir: dir,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < end, "docker-registry does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Passes connections on, and cuts one off after so many bytes of answers, as often as it is told to.
#[derive(Debug)]
pub(super) struct Breaking {
    pub address: SocketAddr,
    /// Answers' bytes that went through.
    pub bytes: Arc<AtomicU64>,
    /// How many answers are cut off still.
    pub cuts: Arc<AtomicU64>,
}

impl Breaking {
    /// Answers that are longer than `after` are cut off there, the first `cuts` of them.
    pub(super) fn start(to: SocketAddr, after: u64, cuts: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let breaking = Self {
            address: listener.local_addr().unwrap(),
            bytes: Arc::default(),
            cuts: Arc::new(AtomicU64::new(cuts)),
        };
        let (bytes, cuts) = (Arc::clone(&breaking.bytes), Arc::clone(&breaking.cuts));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else {
                    return;
                };
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || copy(up, server, |_| true));
                let (bytes, cuts) = (Arc::clone(&bytes), Arc::clone(&cuts));
                thread::spawn(move || {
                    copy(down, client, |sent| {
                        bytes.fetch_add(sent.last, Ordering::Relaxed);
                        let due = sent.all > after && cuts.load(Ordering::Relaxed) > 0;
                        if due {
                            cuts.fetch_sub(1, Ordering::Relaxed);
                        }
                        !due
                    });
                });
            }
        });
        breaking
    }
}

struct SentSoFar {
    last: u64,
    all: u64,
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(&SentSoFar) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    let mut sent = SentSoFar { last: 0, all: 0 };
    while let Ok(read) = from.read(&mut buffer) {
        sent.last = read as u64;
        sent.all += sent.last;
        if read == 0 || to.write_all(&buffer[..read]).is_err() || !goes_on(&sent) {
            break;
        }
    }
    // The other end may have hung up.
    drop(to.shutdown(Shutdown::Both));
    drop(from.shutdown(Shutdown::Both));
}
