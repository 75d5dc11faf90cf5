//! A registry with TLS that leads to a server without: no login and no content goes that way.

use crate::hosts::native;
use orlop_tests::registry::{Debian, DebianOptions, Image, Proxy, Registry};
use orlop_tests::{Cmd, Lade, Must};
use std::fs;
use std::path::PathBuf;

/// A registry with TLS that sends what is read on to `plain.test`: `secure.test` for `lade`, where a proxy knows both, and a login.
struct Weaker {
    plain: Registry,
    _registry: Debian,
    proxy: Proxy,
    file: PathBuf,
}

impl Weaker {
    fn new(lade: &Lade, more: &'static str) -> Self {
        let options = DebianOptions {
            tls: true,
            more,
            ..DebianOptions::default()
        };
        let (plain, registry) = (Registry::new(), Debian::start(&lade.env, options));
        let places = [
            ("secure.test:443", registry.host()),
            ("plain.test:80", plain.host()),
        ];
        let proxy = Proxy::new(&places, None);
        let ca = registry.certificate();
        let text = format!("[registry.\"secure.test\"]\nca = \"{}\"\n", ca.display());
        let dir = lade.home.join(".docker");
        fs::create_dir(&dir).must(dir.display());
        let login = r#"{"auths": {"secure.test": {"auth": "YW5uOnNlY3JldA=="}}}"#;
        fs::write(dir.join("config.json"), login).must("a login");
        Self {
            file: native(lade, &text),
            plain,
            _registry: registry,
            proxy,
        }
    }

    fn cmd(&self, lade: &Lade, args: &[&str]) -> Cmd {
        lade.cmd(args)
            .env("LADE_REGISTRIES", &self.file)
            .env("https_proxy", self.proxy.url())
            .env("http_proxy", self.proxy.url())
    }

    /// What was said without TLS.
    fn told(&self) -> Vec<String> {
        let asked = self.proxy.asked();
        asked
            .into_iter()
            .filter(|one| one.contains("plain.test"))
            .collect()
    }
}

#[test]
fn a_token_server_without_tls_gets_no_login_of_a_registry_with_tls() {
    let lade = Lade::new();
    let weaker = Weaker::new(
        &lade,
        "auth:\n  token:\n    realm: http://plain.test/token\n    service: x\n    issuer: x\n    rootcertbundle: cert.pem\n",
    );
    for args in [
        &["pull", "secure.test/thing:one"][..],
        &["login", "-u", "ann", "--password-stdin", "secure.test"],
    ] {
        let done = weaker.cmd(&lade, args).stdin("secret\n").run();
        let parts = [
            "secure.test: token: ",
            "by http, which would show the login to others",
            "hint: if it is meant to be so",
        ];
        assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
        assert_eq!(weaker.told(), [""; 0], "{args:?}");
    }
    // Where that is said, it is asked.
    let declared = weaker.cmd(&lade, &["pull", "secure.test/thing:one"]);
    let done = declared
        .env("LADE_INSECURE_REGISTRIES", "secure.test")
        .run();
    let parts = ["token of plain.test"];
    assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
    let told = weaker.told();
    assert!(
        told[0].starts_with("GET http://plain.test/token?"),
        "{told:?}"
    );
    assert!(!weaker.plain.seen().is_empty());
}

#[test]
fn what_has_tls_is_not_read_without() {
    let (lade, source) = (Lade::new(), Registry::new());
    let weaker = Weaker::new(
        &lade,
        "middleware:\n  storage:\n    - name: redirect\n      options:\n        baseurl: http://plain.test/files\n",
    );
    let name = source.serve("thing:one", &Image::noise(1, 1, 10_000));
    let far = "secure.test/thing:one";
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, far]);
    weaker.cmd(&lade, &["push", far]).run().ok();
    lade.ok(&["rmi", "-f", &name, far]);
    lade.ok(&["image", "prune", "-f"]);
    assert_eq!(weaker.told(), [""; 0]);
    let done = weaker.cmd(&lade, &["pull", far]).run();
    let parts = ["secure.test", "is redirected from https to plain http"];
    assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
    assert_eq!(weaker.told(), [""; 0]);
    lade.whole();
}
