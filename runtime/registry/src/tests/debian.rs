//! Against Debian's docker-registry: another people's server, with logins, certificates, mounts and sessions.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::{Descriptor, Digest, Manifest, Repository, media};

use super::{Scratch, client, client_with, content, fetch, impatient, wait};
use crate::{
    Body, Client, Credentials, Files, Hosts, Kind, Login, Secret, Session, Settings, Source,
    Stored, Upload, Which, Whole,
};

struct Registry {
    host: String,
    server: Child,
    scratch: Scratch,
}

impl Registry {
    /// Starts a server; nothing where there is none to start. `more` is added to its configuration, in which DIR is a directory.
    fn start(more: &str, prepare: impl Fn(&Scratch)) -> Option<Self> {
        if Command::new("docker-registry")
            .arg("--version")
            .output()
            .is_err()
        {
            #[expect(clippy::print_stderr, reason = "a test that is not run says so")]
            {
                eprintln!("skipped: docker-registry is not installed");
            }
            return None;
        }
        let scratch = Scratch::new();
        prepare(&scratch);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = free.local_addr().unwrap().to_string();
        drop(free);
        let dir = scratch.path().display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {dir}/data}}\n  delete: {{enabled: true}}\nhttp:\n  addr: {host}\n{}",
            more.replace("DIR", &dir)
        );
        let config = scratch.write("config.yml", &config);
        let log = std::fs::File::create(scratch.path().join("log")).unwrap();
        let server = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(15);
        while TcpStream::connect(&host).is_err() {
            let log = scratch.path().join("log");
            assert!(
                Instant::now() < until,
                "{}",
                std::fs::read_to_string(log).unwrap()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            host,
            server,
            scratch,
        })
    }

    fn repository(&self, path: &str) -> Repository {
        Repository {
            host: self.host.clone(),
            path: path.to_string(),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Pushes an image of a config and a layer.
async fn push(
    client: &Client,
    to: &Repository,
    layer: &[u8],
    subject: Option<Descriptor>,
) -> Descriptor {
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
            .to_vec();
    for blob in [&config[..], layer] {
        let whole = Arc::new(Whole(blob.to_vec().into()));
        client.upload(to, whole, None).await.unwrap();
    }
    let mut manifest = Manifest::new(
        Descriptor::of(media::OCI_CONFIG, &config),
        vec![Descriptor::of(media::OCI_LAYER_GZIP, layer)],
    );
    manifest.subject = subject;
    let bytes = manifest.to_bytes();
    let body = Body {
        digest: Digest::of(&bytes),
        media_type: media::OCI_MANIFEST,
        bytes: &bytes,
    };
    client
        .put_manifest(to, &["one".to_string(), "two".to_string()], &body)
        .await
        .unwrap();
    Descriptor::of(media::OCI_MANIFEST, &bytes)
}

#[test]
fn an_image_goes_there_and_comes_back() {
    let Some(registry) = Registry::start("", |_| {}) else {
        return;
    };
    let client = client();
    let to = registry.repository("team/tool");
    let blob = content(1_000_000);
    let it = wait(push(&client, &to, &blob, None));
    let fetched = wait(client.manifest(&to, &Which::Tag("one".into()))).unwrap();
    assert_eq!(
        (fetched.digest, fetched.media_type.as_str()),
        (it.digest, media::OCI_MANIFEST)
    );
    let head = wait(client.head(&to, &Which::Tag("two".into())))
        .unwrap()
        .unwrap();
    assert_eq!((head.digest, head.size), (it.digest, it.size));
    assert_eq!(
        wait(client.head(&to, &Which::Tag("three".into()))).unwrap(),
        None
    );
    let layer = super::layer(&blob);
    assert_eq!(
        wait(fetch(&client, &to, &layer, 0..1_000_000)).unwrap(),
        blob
    );
    assert_eq!(
        wait(fetch(&client, &to, &layer, 999_000..999_999)).unwrap(),
        blob[999_000..999_999]
    );
    assert_eq!(wait(client.tags(&to)).unwrap(), ["one", "two"]);
    let missing = registry.repository("team/none");
    let error = wait(client.tags(&missing)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("404 Not Found (NAME_UNKNOWN: repository name not known to registry)"),
        "{error}"
    );
    // A neighbour lends the blob; what nobody has is to be sent.
    let other = registry.repository("team/other");
    assert!(matches!(
        wait(client.mount(&other, &layer.digest, &to)).unwrap(),
        Upload::Done
    ));
    assert!(wait(client.has_blob(&other, &layer.digest)).unwrap());
    let new = content(2000);
    let Upload::Session(session) = wait(client.mount(&other, &Digest::of(&new), &to)).unwrap()
    else {
        panic!("it is there")
    };
    let done =
        wait(client.upload(&other, Arc::new(Whole(new.clone().into())), Some(session))).unwrap();
    assert_eq!((done.digest, done.sent), (Digest::of(&new), 2000));
}

#[test]
fn a_wrong_digest_is_refused_by_the_server_in_one_line() {
    #[derive(Debug)]
    struct Lying(Whole);
    impl Source for Lying {
        fn read(
            &self,
            offset: u64,
            most: usize,
        ) -> futures_util::future::BoxFuture<'_, crate::Result<bytes::Bytes>> {
            self.0.read(offset, most)
        }
        fn known(&self) -> Option<(Digest, u64)> {
            Some((Digest::of(b"else"), 250_000))
        }
    }
    let Some(registry) = Registry::start("", |_| {}) else {
        return;
    };
    let lying = Arc::new(Lying(Whole(content(250_000).into())));
    let error = wait(client().upload(&registry.repository("x"), lying, None)).unwrap_err();
    assert!(
        error.to_string().contains(
            "400 Bad Request (DIGEST_INVALID: provided digest did not match uploaded content)"
        ),
        "{error}"
    );
    // The pieces that had been sent are not kept there.
    let uploads = "data/docker/registry/v2/repositories/x/_uploads";
    let uploads = std::fs::read_dir(registry.scratch.path().join(uploads)).unwrap();
    let bytes = uploads.map(|upload| upload.unwrap().path().join("data"));
    assert_eq!(bytes.filter(|file| file.exists()).count(), 0);
}

#[test]
fn an_upload_goes_on_where_another_process_left_it() {
    #[derive(Debug)]
    struct Watched(Stored, std::sync::Mutex<Vec<String>>);
    impl Source for Watched {
        fn read(
            &self,
            offset: u64,
            most: usize,
        ) -> futures_util::future::BoxFuture<'_, crate::Result<bytes::Bytes>> {
            self.0.read(offset, most)
        }
        fn known(&self) -> Option<(Digest, u64)> {
            self.0.known()
        }
        fn session(&self, session: &Session) {
            self.1
                .lock()
                .unwrap()
                .push(serde_json::to_string(session).unwrap());
        }
    }
    let Some(registry) = Registry::start("", |_| {}) else {
        return;
    };
    let to = registry.repository("x");
    let bytes = content(5_000_000);
    let file = registry.scratch.path().join("blob");
    std::fs::write(&file, &bytes).unwrap();
    let digest = Digest::of(&bytes);
    let open = || Stored::new(std::fs::File::open(&file).unwrap(), digest, 5_000_000);
    let source = Arc::new(Watched(open(), std::sync::Mutex::default()));
    wait(async {
        let client = client();
        let mut upload = std::pin::pin!(client.upload(&to, source.clone(), None));
        while source.1.lock().unwrap().len() < 20 {
            assert!(
                tokio::time::timeout(Duration::from_micros(100), &mut upload)
                    .await
                    .is_err()
            );
        }
    });
    let kept = source.1.lock().unwrap().last().unwrap().clone();
    let session: Session = serde_json::from_str(&kept).unwrap();
    let done = wait(client().upload(&to, Arc::new(open()), Some(session))).unwrap();
    assert!(wait(client().has_blob(&to, &digest)).unwrap());
    // docker-registry drops a session that was cut in the middle of a piece, and then all is sent again.
    assert!(
        done.sent == 5_000_000 || done.sent <= 3_200_000,
        "{}",
        done.sent
    );
}

#[test]
fn referrers_are_kept_under_a_tag_where_the_server_does_not() {
    let Some(registry) = Registry::start("", |_| {}) else {
        return;
    };
    let client = client();
    let to = registry.repository("x");
    let subject = wait(push(&client, &to, b"layer", None));
    assert_eq!(
        wait(client.referrers(&to, &subject.digest, None)).unwrap(),
        []
    );
    let mut want = Vec::new();
    for n in 0..3_u8 {
        let it = wait(push(&client, &to, &[n], Some(subject.clone())));
        want.push(it.digest);
        let found = wait(client.referrers(&to, &subject.digest, Some(media::OCI_CONFIG))).unwrap();
        assert_eq!(found.iter().map(|one| one.digest).collect::<Vec<_>>(), want);
    }
    assert_eq!(
        wait(client.referrers(&to, &subject.digest, Some("other"))).unwrap(),
        []
    );
}

#[test]
fn a_login_is_wanted_and_shown() {
    // "secret", as htpasswd -B writes it.
    let line = "ann:$2b$05$uxYukEYEs3BcZzPgFTjQbehhiPc5CHgiZ/GtQYp36WJiR31/HR3FK\n";
    let Some(registry) = Registry::start(
        "auth:\n  htpasswd: {realm: x, path: DIR/users}\n",
        |scratch| {
            scratch.write("users", line);
        },
    ) else {
        return;
    };
    let to = registry.repository("x");
    let error = wait(client().tags(&to)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthorized);
    assert!(
        error
            .to_string()
            .contains("(UNAUTHORIZED: authentication required); log in to"),
        "{error}"
    );
    let login = |password: &str| Login::Password {
        user: "ann".into(),
        password: Secret::new(password),
    };
    assert_eq!(
        wait(client().login(&registry.host, &login("wrong")))
            .unwrap_err()
            .kind(),
        Kind::Unauthorized
    );
    let kept = wait(client().login(&registry.host, &login("secret"))).unwrap();
    let file = registry.scratch.path().join("config.json");
    let credentials = Credentials::from_files(vec![file]);
    credentials.store(&registry.host, &kept).unwrap();
    let client = client_with(Hosts::default(), credentials);
    wait(push(&client, &to, &content(1000), None));
    assert_eq!(wait(client.tags(&to)).unwrap(), ["one", "two"]);
}

#[test]
fn certificates_are_checked_against_our_own_authority() {
    // The second is what `openssl req -x509` makes by itself: an authority that is the server, too.
    for authority in ["CA:FALSE", "CA:TRUE"] {
        trust(authority);
    }
}

#[expect(clippy::too_many_lines, reason = "a flat list of steps")]
fn trust(authority: &str) {
    let constraint = format!("basicConstraints=critical,{authority}");
    let certified = |scratch: &Scratch| {
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=x",
            ])
            .args([
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-addext",
                &constraint,
            ])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(scratch.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    };
    let Some(registry) = Registry::start(
        "  tls: {certificate: DIR/cert.pem, key: DIR/key.pem}\n",
        certified,
    ) else {
        return;
    };
    let to = registry.repository("x");
    // Loopback: anybody will do, and TLS is found.
    wait(push(&client(), &to, &content(1000), None));
    let with = |ca: &str| {
        let text = format!("[registry.\"{}\"]\nca = {ca:?}\n", registry.host);
        let native = vec![registry.scratch.write("registries.toml", &text)];
        let hosts = Hosts::load(&Files {
            native,
            ..Files::default()
        })
        .unwrap();
        Client::new(Settings {
            hosts,
            ..impatient()
        })
        .unwrap()
    };
    assert_eq!(wait(with("cert.pem").tags(&to)).unwrap(), ["one", "two"]);
    let other = Scratch::new();
    certified(&other);
    let other = other.path().join("cert.pem");
    let error = wait(with(other.to_str().unwrap()).tags(&to)).unwrap_err();
    assert_eq!(error.kind(), Kind::Tls, "{error}");
    let text = error.to_string();
    assert!(text.contains("its certificate is not trusted: "), "{text}");
    assert!(text.contains("into /etc/lade/certs.d/"), "{text}");
    let missing = wait(with("none.pem").tags(&to)).unwrap_err();
    assert!(
        missing.to_string().ends_with("none.pem: no such file"),
        "{missing}"
    );
}
