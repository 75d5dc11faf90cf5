//! Debian's docker-registry as a program: the registry that we have not written ourselves.

use crate::{Env, Must, soon};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `ann` with the password `secret`, as htpasswd writes it.
const HTPASSWD: &str = "ann:$2b$05$0rCPYiHyIIwZ5LVey1spT.gY9aLuDXuHRYCADPLkX7HANuZSDGsve\n";

/// How it is to be started.
#[derive(Debug, Clone, Copy, Default)]
pub struct DebianOptions {
    /// `ann` has to say `secret`.
    pub password: bool,
    /// With a certificate of its own, for 127.0.0.1 and localhost; `Debian::certificate` names it.
    pub tls: bool,
    /// With TLS: whoever comes has to show the certificate that `Debian::client` names.
    pub clients: bool,
    /// Lines of its configuration beside these; paths in it begin at its directory, where its certificate is `cert.pem`.
    pub more: &'static str,
}

/// A running docker-registry; dropping it ends it.
#[derive(Debug)]
pub struct Debian {
    child: Child,
    port: u16,
    dir: PathBuf,
}

impl Debian {
    /// Starts it on a free port, with its files in the test's directory.
    #[track_caller]
    pub fn start(env: &Env, options: DebianOptions) -> Self {
        // It is free until docker-registry takes it: another test may be faster, then we take the next.
        let begin = || {
            let probe = TcpListener::bind(("127.0.0.1", 0)).must("a port");
            let port = probe.local_addr().must("the port").port();
            drop(probe);
            Self::on(env, options, port)
        };
        soon(Duration::from_secs(10), begin).must("docker-registry answers")
    }

    fn on(env: &Env, options: DebianOptions, port: u16) -> Option<Self> {
        let dir = env.dir.join(format!("registry{port}"));
        fs::create_dir_all(&dir).must(dir.display());
        if options.tls {
            certificate(&dir, "");
        }
        if options.clients {
            certificate(&dir, "client-");
        }
        fs::write(dir.join("htpasswd"), HTPASSWD).must("htpasswd");
        fs::write(dir.join("config.yml"), config(&dir, options, port)).must("config.yml");
        let log = fs::File::create(dir.join("log")).must("the log");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.join("config.yml"))
            .current_dir(&dir)
            .env("ORLOP_TEST", &env.tag)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone().must("the log"))
            .stderr(log)
            .spawn();
        let mut registry = Self {
            child: child.must("docker-registry (hack/deps test)"),
            port,
            dir,
        };
        let answers = soon(Duration::from_secs(10), || {
            if registry.child.try_wait().must("its state").is_some() {
                return Some(false);
            }
            let there = TcpStream::connect(("127.0.0.1", port)).is_ok();
            there.then_some(true)
        });
        (answers == Some(true)).then_some(registry)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// The certificate of one with TLS, which is its own authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("cert.pem")
    }

    /// The certificate and the key of the one client that is let in.
    pub fn client(&self) -> (PathBuf, PathBuf) {
        let file = |name| self.dir.join(name);
        (file("client-cert.pem"), file("client-key.pem"))
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // It may have ended by itself; the test says so then.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

fn config(dir: &Path, options: DebianOptions, port: u16) -> String {
    let dir = dir.display();
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {dir}/data\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n"
    );
    if options.tls {
        text += &format!("  tls:\n    certificate: {dir}/cert.pem\n    key: {dir}/key.pem\n");
    }
    if options.clients {
        text += &format!("    clientcas: [{dir}/client-cert.pem]\n");
    }
    if options.password {
        text += &format!("auth:\n  htpasswd:\n    realm: here\n    path: {dir}/htpasswd\n");
    }
    text + options.more
}

/// Makes a certificate that has signed itself, and its key.
fn certificate(dir: &Path, prefix: &str) {
    let done = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", &format!("/CN={prefix}localhost")])
        .args(["-keyout", &format!("{prefix}key.pem")])
        .args(["-out", &format!("{prefix}cert.pem")])
        .args([
            "-addext",
            "subjectAltName=DNS:localhost,DNS:secure.test,IP:127.0.0.1,IP:127.0.0.2",
        ])
        .current_dir(dir)
        .output()
        .must("openssl");
    assert!(
        done.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
