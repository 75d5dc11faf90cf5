use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory with some files.
    fn with(files: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "hosts-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        for (name, text) in files {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn load(&self) -> Result<Hosts> {
        let at = |name: &str| vec![self.0.join(name)];
        Hosts::load(&Files {
            native: at("registries.toml"),
            containerd: at("certs.d"),
            podman: vec![
                self.0.join("registries.conf"),
                self.0.join("registries.conf.d"),
            ],
            docker: at("daemon.json"),
            certs: at("docker-certs.d"),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn shown(endpoint: &Endpoint, dir: &str) -> String {
    let mut text = format!("{}{}", endpoint.base, endpoint.path);
    let able = endpoint.able;
    for (say, word) in [
        (!able.resolve, "digests"),
        (!able.pull, "tags"),
        (able.push, "push"),
        (endpoint.insecure, "insecure"),
        (endpoint.tls.anybody, "anybody"),
    ] {
        if say {
            text = format!("{text} {word}");
        }
    }
    for file in &endpoint.tls.authorities {
        text = format!("{text} ca={}", file.display());
    }
    for (cert, key) in &endpoint.tls.client {
        text = format!("{text} cert={} key={}", cert.display(), key.display());
    }
    if let Some(namespace) = &endpoint.namespace {
        text = format!("{text} ns={namespace}");
    }
    for (name, value) in &endpoint.headers {
        text = format!("{text} {name}={}", value.to_str().unwrap());
    }
    if let Some(connect) = endpoint.connect {
        text = format!("{text} within={connect:?}");
    }
    text.replace(dir, "DIR")
}

fn check(files: &[(&str, &str)], name: &str, want: &[&str]) {
    let scratch = Scratch::with(files);
    let dir = scratch.0.display().to_string();
    let endpoints = scratch
        .load()
        .and_then(|hosts| hosts.endpoints(&name.parse().unwrap()));
    let got = match endpoints {
        Ok(all) => all.iter().map(|one| shown(one, &dir)).collect(),
        Err(error) => vec![error.to_string().replace(&dir, "DIR")],
    };
    assert_eq!(got, want, "{name} {files:?}");
}

#[test]
fn without_files_a_name_says_where_it_is() {
    check(
        &[],
        "busybox",
        &["https://registry-1.docker.io/v2/library/busybox push"],
    );
    check(
        &[],
        "a.example:5000/x/y",
        &["https://a.example:5000/v2/x/y push"],
    );
    check(
        &[],
        "localhost:5000/x",
        &["https://localhost:5000/v2/x push insecure anybody"],
    );
    check(
        &[],
        "127.3.2.1/x",
        &["https://127.3.2.1/v2/x push insecure anybody"],
    );
    check(
        &[],
        "[::1]:5000/x",
        &["https://[::1]:5000/v2/x push insecure anybody"],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn our_own_file() {
    let file = r#"
search = ["a.example", "docker.io"]
[aliases]
tools = "a.example/team/tools"
[registry."a.example"]
ca = "own.pem"
client = { cert = "/c.pem", key = "k.pem" }
headers = { "X-Team" = "a" }
[registry."a.example/sub"]
insecure = true
location = "b.example/base"
[[registry."docker.io".mirror]]
url = "https://m.example/hub"
resolve = false
[[registry."docker.io".mirror]]
url = "http://n.example:80/v2"
namespace = true
[[registry."docker.io".mirror]]
url = "o.example/any/place/"
override-path = true
[registry."*.bad.example"]
blocked = true
[registry."10.0.0.0/8"]
insecure = true
"#;
    let files = &[("registries.toml", file)];
    check(
        files,
        "a.example/x",
        &["https://a.example/v2/x push ca=DIR/own.pem cert=/c.pem key=DIR/k.pem x-team=a"],
    );
    check(
        files,
        "a.example/sub/x",
        &["https://b.example/v2/base/x push insecure anybody"],
    );
    check(
        files,
        "a.example/subs/x",
        &["https://a.example/v2/subs/x push ca=DIR/own.pem cert=/c.pem key=DIR/k.pem x-team=a"],
    );
    check(
        files,
        "10.1.2.3:5000/x",
        &["https://10.1.2.3:5000/v2/x push insecure anybody"],
    );
    check(
        files,
        "a.bad.example/x",
        &["a.bad.example/x: the configuration of registries blocks *.bad.example"],
    );
    check(
        files,
        "busybox",
        &[
            "https://m.example/v2/hub/library/busybox digests",
            "http://n.example/v2/library/busybox ns=docker.io",
            "https://o.example/any/place/library/busybox",
            "https://registry-1.docker.io/v2/library/busybox push",
        ],
    );
    let hosts = Scratch::with(files).load().unwrap();
    for (name, want) in [
        ("tools:1", vec!["a.example/team/tools:1"]),
        ("busybox", vec!["a.example/busybox", "docker.io/busybox"]),
        ("b.example/x", vec![]),
        ("localhost/x", vec![]),
        (
            "team/x@sha256:00",
            vec!["a.example/team/x@sha256:00", "docker.io/team/x@sha256:00"],
        ),
    ] {
        assert_eq!(hosts.candidates(name), want, "{name}");
    }
}

#[test]
fn a_mistake_in_our_own_file_is_named() {
    for (text, want) in [
        (
            "[registry.\"a\"]\ninsecur = true",
            "DIR/registries.toml: registry.\"a\": unknown field `insecur`, expected one of",
        ),
        ("x = 1\n", "DIR/registries.toml: line 1: unknown field `x`"),
        ("[registry.\"a\"]\n\nca = ", "DIR/registries.toml: line 3: "),
        (
            "[registry.\"a b\"]",
            "DIR/registries.toml: registry.\"a b\": is neither a host nor a part of one",
        ),
    ] {
        let scratch = Scratch::with(&[("registries.toml", text)]);
        let error = scratch.load().unwrap_err();
        let got = error
            .to_string()
            .replace(&scratch.0.display().to_string(), "DIR");
        assert!(got.starts_with(want) && !got.contains('\n'), "{got}");
    }
    for (url, want) in [
        (
            "https://u:p@m.example",
            "DIR/registries.toml: registry.\"docker.io\": mirror m.example: its address holds a login; log in to that host in its place",
        ),
        (
            "ftp://m.example",
            "DIR/registries.toml: registry.\"docker.io\": mirror \"ftp://m.example\": is not an http or https address",
        ),
        (
            "https://m.example/?x",
            "DIR/registries.toml: registry.\"docker.io\": mirror \"https://m.example/?x\": has a query or a fragment",
        ),
    ] {
        let text = format!("[[registry.\"docker.io\".mirror]]\nurl = \"{url}\"");
        check(&[("registries.toml", &text)], "x", &[want]);
    }
}

#[test]
fn a_file_with_a_mistake_keeps_its_secrets() {
    for (name, text) in [
        ("registries.toml", "[registry.x]\nheaders = \"X-Key: k3y\""),
        (
            "registries.toml",
            "[registry.x]\nheaders = { X-Key = [\"k3y\"] }",
        ),
        ("registries.toml", "[registry.x]\nclient = \"k3y\""),
        (
            "registries.toml",
            "[registry.x]\ninsecure = \"k3y, expected a map\"",
        ),
        ("registries.toml", "search = \"k3y\""),
        ("registries.toml", "[registry.x]\nheaders = { X-Key = k3y }"),
        (
            "registries.toml",
            "[registry.x]\nmirror = [{ url = \"ftp://u:k3y@m.example\" }]",
        ),
        (
            "registries.toml",
            "[registry.x]\nmirror = [{ url = \"https://u:k3y/@m.example\" }]",
        ),
        ("registries.conf", "unqualified-search-registries = \"k3y\""),
        (
            "daemon.json",
            r#"{"registry-mirrors": "https://u:k3y@m.example"}"#,
        ),
        (
            "daemon.json",
            r#"{"registry-mirrors": ["x://u:k3y@m.example"]}"#,
        ),
        (
            "certs.d/a.example/hosts.toml",
            "[host.\"https://m.example\"]\nheader = \"X-Key: k3y\"",
        ),
    ] {
        let scratch = Scratch::with(&[(name, text)]);
        let of = "a.example/x".parse().unwrap();
        let endpoints = scratch.load().and_then(|hosts| hosts.endpoints(&of));
        let error = endpoints.unwrap_err().to_string();
        assert!(!error.contains("k3y") && error.contains(name), "{error}");
    }
}

#[test]
fn files_of_containerd() {
    let hub = r#"
server = "https://docker.io"
unknown = 1
[host."https://m.example"]
  capabilities = ["pull"]
  ca = ["a.pem", "/b.pem"]
  client = [["c.pem", "k.pem"], ["both.pem", ""]]
  dial_timeout = "1.5s"
  [host."https://m.example".header]
    x-a = ["1", "2"]
    x-b = "3"
[host."http://a.example:5000/any"]
  capabilities = ["pull", "resolve"]
  override_path = true
  skip_verify = true
"#;
    check(
        &[("certs.d/docker.io/hosts.toml", hub)],
        "busybox",
        &[
            "https://m.example/v2/library/busybox digests ca=DIR/certs.d/docker.io/a.pem ca=/b.pem cert=DIR/certs.d/docker.io/c.pem key=DIR/certs.d/docker.io/k.pem cert=DIR/certs.d/docker.io/both.pem key=DIR/certs.d/docker.io/both.pem ns=docker.io x-a=1 x-b=3 within=1.5s",
            "http://a.example:5000/any/library/busybox anybody ns=docker.io",
            "https://registry-1.docker.io/v2/library/busybox push",
        ],
    );
    let plain = "server = \"http://b.example:81\"";
    check(
        &[("certs.d/b.example_5000_/hosts.toml", plain)],
        "b.example:5000/x",
        &["http://b.example:81/v2/x push"],
    );
    let all = "[host.\"https://m.example\"]";
    check(
        &[("certs.d/_default/hosts.toml", all)],
        "c.example/x",
        &[
            "https://m.example/v2/x push ns=c.example",
            "https://c.example/v2/x push",
        ],
    );
    check(
        &[("certs.d/c.example/hosts.toml", "[host.x]\ncapabilities = 3")],
        "c.example/x",
        &[
            "DIR/certs.d/c.example/hosts.toml: host.\"x\": invalid type: integer, expected a sequence",
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn files_of_podman() {
    let file = r#"
unqualified-search-registries = ["a.example"]
short-name-mode = "enforcing"
[[registry]]
prefix = "a.example/team"
location = "b.example/base"
[[registry.mirror]]
location = "m.example/copy"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "n.example:5000"
insecure = true
pull-from-mirror = "tag-only"
[[registry]]
location = "c.example"
blocked = true
[[registry]]
prefix = "*.d.example"
insecure = true
[[registry]]
location = "e.example"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example/e"
"#;
    let files = &[
        ("registries.conf", file),
        (
            "registries.conf.d/10-more.conf",
            "unqualified-search-registries = [\"z.example\"]\n[aliases]\ntool = \"a.example/team/tool\"",
        ),
        ("registries.conf.d/README", "not TOML"),
    ];
    check(
        files,
        "a.example/team/x",
        &[
            "https://m.example/v2/copy/x digests",
            "https://n.example:5000/v2/x tags insecure anybody",
            "https://b.example/v2/base/x push",
        ],
    );
    check(
        files,
        "a.example/other",
        &["https://a.example/v2/other push"],
    );
    check(
        files,
        "c.example/x",
        &["c.example/x: the configuration of registries blocks c.example"],
    );
    check(
        files,
        "x.d.example/x",
        &["https://x.d.example/v2/x push insecure anybody"],
    );
    check(
        files,
        "e.example/x/y",
        &[
            "https://m.example/v2/e/x/y digests",
            "https://e.example/v2/x/y push",
        ],
    );
    let hosts = Scratch::with(files).load().unwrap();
    assert_eq!(hosts.candidates("tool:2"), ["a.example/team/tool:2"]);
    assert_eq!(hosts.candidates("busybox"), ["z.example/busybox"]);
    check(
        &[("registries.conf", "[registries.search]\nregistries = []")],
        "x",
        &[
            "DIR/registries.conf: is of version 1 ([registries.search] and the like); write it as version 2: [[registry]], unqualified-search-registries",
        ],
    );
}

#[test]
fn files_of_docker() {
    let daemon = r#"{"registry-mirrors":["https://m.example/"],"insecure-registries":["10.0.0.0/8","a.example:5000"],"debug":true}"#;
    let files = &[
        ("daemon.json", daemon),
        ("docker-certs.d/b.example/own.crt", ""),
        ("docker-certs.d/b.example/me.cert", ""),
        ("docker-certs.d/b.example/me.key", ""),
    ];
    check(
        files,
        "busybox",
        &[
            "https://m.example/v2/library/busybox",
            "https://registry-1.docker.io/v2/library/busybox push",
        ],
    );
    check(
        files,
        "10.9.8.7/x",
        &["https://10.9.8.7/v2/x push insecure anybody"],
    );
    check(
        files,
        "a.example:5000/x",
        &["https://a.example:5000/v2/x push insecure anybody"],
    );
    check(files, "a.example/x", &["https://a.example/v2/x push"]);
    check(
        files,
        "b.example/x",
        &[
            "https://b.example/v2/x push ca=DIR/docker-certs.d/b.example/own.crt cert=DIR/docker-certs.d/b.example/me.cert key=DIR/docker-certs.d/b.example/me.key",
        ],
    );
    check(
        &[("daemon.json", r#"{"insecure-registries":["10.0.0.0/99"]}"#)],
        "x",
        &[
            "DIR/daemon.json: insecure-registries: \"10.0.0.0/99\": is neither a host nor a range of addresses such as 10.0.0.0/8",
        ],
    );
    check(
        &[("daemon.json", "")],
        "x",
        &["https://registry-1.docker.io/v2/library/x push"],
    );
}
