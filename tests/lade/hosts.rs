//! Where a name is looked for: mirrors, hosts without TLS, own authorities, proxies.

use orlop_tests::registry::{Debian, DebianOptions, Fault, Image, Proxy, Registry, Rule, What};
use orlop_tests::{Cmd, Lade, Must};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a file of our own kind and returns its path.
pub(crate) fn native(lade: &Lade, text: &str) -> PathBuf {
    let path = lade.env.dir.join("registries.toml");
    fs::write(&path, text).must(path.display());
    path
}

fn pull(lade: &Lade, registries: &PathBuf, name: &str) -> Cmd {
    lade.cmd(&["pull", name]).env("LADE_REGISTRIES", registries)
}

/// An `/etc` of this test's own, whose mount namespace nobody shares: what is written there goes away with it.
struct OwnEtc;

impl OwnEtc {
    fn over(dir: &Path) -> Self {
        let (upper, work) = (dir.join("etc.upper"), dir.join("etc.work"));
        for dir in [&upper, &work] {
            fs::create_dir(dir).must(dir.display());
        }
        let data = format!(
            "lowerdir=/etc,upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        orlop_tests::sys::mount("etc", "/etc", "overlay", 0, &data).must("an overlay over /etc");
        Self
    }
}

impl Drop for OwnEtc {
    fn drop(&mut self) {
        orlop_tests::sys::umount("/etc").must("umount /etc");
    }
}

#[test]
fn a_mirror_is_asked_first() {
    let (lade, mirror) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 10_000);
    mirror.serve("library/thing:one", &image);
    mirror.serve("team/thing:one", &image);
    let text = format!(
        "[[registry.\"docker.io\".mirror]]\nurl = \"{0}\"\n[[registry.\"far.test\".mirror]]\nurl = \"{0}\"\n",
        mirror.url()
    );
    let file = native(&lade, &text);
    pull(&lade, &file, "thing:one").run().ok();
    pull(&lade, &file, "far.test/team/thing:one").run().ok();
    assert_eq!(lade.names(), ["far.test/team/thing:one", "thing:one"]);
    assert_eq!(lade.inspect("thing:one", "{{.Id}}"), image.id());
    lade.whole();
}

#[test]
fn a_mirror_that_does_not_answer_is_passed_over() {
    let (lade, mirror, registry) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 2, 10_000);
    let name = registry.serve("thing:one", &image);
    let text = format!(
        "[[registry.\"{host}\".mirror]]\nurl = \"http://127.0.0.1:1\"\n[[registry.\"{host}\".mirror]]\nurl = \"{mirror}\"\n",
        host = registry.host(),
        mirror = mirror.url()
    );
    let file = native(&lade, &text);
    pull(&lade, &file, &name).run().ok();
    assert!(mirror.count(What::Manifest, "thing") > 0, "it was asked");
    assert!(registry.count(What::Manifest, "thing") > 0);
    lade.whole();
}

#[test]
fn a_mirror_that_lies_is_left_out_and_the_origin_asked() {
    let image = Image::noise(1, 2, 10_000);
    let mut blobs: Vec<String> = image.layers.iter().map(|layer| layer.digest()).collect();
    blobs.push(image.id());
    // Each of the blobs alone, and then all of them.
    blobs.push(String::new());
    for blob in blobs {
        let (lade, mirror, registry) = (Lade::new(), Registry::new(), Registry::new());
        let name = registry.serve("thing:one", &image);
        mirror.serve("thing:one", &image);
        mirror.fault(Rule::always(What::Blob, Fault::Flipped).only(&blob));
        let text = format!(
            "[[registry.\"{}\".mirror]]\nurl = \"{}\"\n",
            registry.host(),
            mirror.url()
        );
        let file = native(&lade, &text);
        pull(&lade, &file, &name).run().ok();
        assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id());
        assert!(mirror.count(What::Blob, &blob) > 0, "it was asked");
        assert!(registry.count(What::Blob, &blob) > 0, "{blob}");
        lade.whole();
    }
}

#[test]
fn a_mirror_that_gave_some_of_the_wrong_bytes_is_left_out() {
    // Of the first the reader gives up early, as its beginning makes sense to nobody, unless it is told to go on.
    let image = Image::noise(1, 1, 2 << 20);
    let layer = image.layers[0].digest();
    for (skip, faults) in [
        (0, [Fault::Status(404), Fault::Flipped]),
        (1, [Fault::Status(404), Fault::Flipped]),
        (1, [Fault::Flipped, Fault::Status(404)]),
    ] {
        let (lade, mirror, registry) = (Lade::new(), Registry::new(), Registry::new());
        let name = registry.serve("thing:one", &image);
        mirror.serve("thing:one", &image);
        // Some of the pieces are the mirror's, the others those of the host itself.
        let [first, others] = faults;
        let mut rule = Rule::once(What::Blob, first).only(&layer);
        rule.skip = skip;
        mirror.fault(rule);
        mirror.fault(Rule::always(What::Blob, others).only(&layer));
        let (host, url) = (registry.host(), mirror.url());
        let text = format!("[[registry.\"{host}\".mirror]]\nurl = \"{url}\"\n");
        let file = native(&lade, &text);
        let pull = pull(&lade, &file, &name).env("LADE_PIECE", "65536");
        pull.run().ok();
        assert!(mirror.count(What::Blob, &layer) > 1, "it was asked");
        assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id());
        lade.whole();
    }
}

#[test]
fn mirrors_that_lie_are_passed_over_one_after_the_other() {
    // The second is larger than what is read to its end for the digest's sake alone.
    for bytes in [10_000, 66 << 20] {
        let image = Image::noise(1, 1, bytes);
        let (lade, registry) = (Lade::new(), Registry::new());
        let mirrors = [Registry::new(), Registry::new()];
        let name = registry.serve("thing:one", &image);
        let layer = image.layers[0].digest();
        let mut text = String::new();
        for mirror in &mirrors {
            mirror.serve("thing:one", &image);
            mirror.fault(Rule::always(What::Blob, Fault::Flipped).only(&layer));
            let (host, url) = (registry.host(), mirror.url());
            let _ = writeln!(text, "[[registry.\"{host}\".mirror]]\nurl = \"{url}\"");
        }
        let file = native(&lade, &text);
        pull(&lade, &file, &name).run().ok();
        assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id());
        for asked in mirrors.iter().chain([&registry]) {
            assert!(asked.count(What::Blob, &layer) > 0);
        }
        lade.whole();
    }
}

#[test]
fn a_mirror_without_resolve_says_no_tags() {
    let (lade, mirror, registry) = (Lade::new(), Registry::new(), Registry::new());
    let (image, stale) = (Image::noise(1, 2, 10_000), Image::noise(2, 1, 1000));
    let name = registry.serve("thing:one", &image);
    mirror.serve("thing:two", &image);
    mirror.serve("thing:one", &stale);
    let text = format!(
        "[[registry.\"{}\".mirror]]\nurl = \"{}\"\nresolve = false\n",
        registry.host(),
        mirror.url()
    );
    let file = native(&lade, &text);
    pull(&lade, &file, &name).run().ok();
    assert_eq!(lade.inspect(&name, "{{.Id}}"), image.id());
    assert_eq!(mirror.count(What::Manifest, "manifests/one"), 0);
    assert!(mirror.count(What::Blob, "") > 0, "the rest comes from it");
}

#[test]
fn other_programs_files_are_read() {
    let (lade, mirror) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 1, 1000);
    mirror.serve("library/thing:one", &image);
    mirror.serve("team/thing:one", &image);
    let _etc = OwnEtc::over(&lade.env.dir);
    fs::create_dir_all("/etc/containers").must("/etc/containers");
    fs::create_dir_all("/etc/docker").must("/etc/docker");
    fs::create_dir_all("/etc/containerd/certs.d/one.test").must("certs.d");
    let text = format!(
        "[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
        mirror.url()
    );
    fs::write("/etc/containerd/certs.d/one.test/hosts.toml", text).must("hosts.toml");
    let text = format!(
        "[[registry]]\nprefix = \"two.test\"\nlocation = \"{}\"\ninsecure = true\n[[registry]]\nprefix = \"three.test\"\nblocked = true\n",
        mirror.host()
    );
    fs::write("/etc/containers/registries.conf", text).must("registries.conf");
    let text = format!("{{\"registry-mirrors\": [\"{}\"]}}", mirror.url());
    fs::write("/etc/docker/daemon.json", text).must("daemon.json");
    lade.ok(&["pull", "one.test/team/thing:one"]);
    lade.ok(&["pull", "two.test/team/thing:one"]);
    lade.ok(&["pull", "thing:one"]);
    lade.fails(
        &["pull", "three.test/team/thing:one"],
        &["three.test", "block"],
    );
}

#[test]
fn without_tls_only_where_it_is_allowed() {
    let lade = Lade::new();
    // Not a loopback address by its name; the proxy brings us there.
    let registry = Registry::new();
    registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let through = |cmd: Cmd| cmd.env("http_proxy", registry.url());
    let name = "plain.test/thing:one";
    let done = through(lade.cmd(&["pull", name])).run();
    assert_eq!(
        orlop_tests::complaint(&done, &[1], &["plain.test"]),
        None,
        "{done}"
    );
    assert!(registry.seen().is_empty(), "nothing goes out without TLS");
    through(lade.cmd(&["pull", name]))
        .env("LADE_INSECURE_REGISTRIES", "plain.test")
        .run()
        .ok();
    assert_eq!(lade.names(), [name]);
    // Whom no_proxy names is not looked for by a proxy.
    registry.forget();
    let done = through(lade.cmd(&["pull", name]))
        .env("LADE_INSECURE_REGISTRIES", "plain.test")
        .env("no_proxy", "plain.test")
        .run();
    assert!(done.rc == 1 && registry.seen().is_empty(), "{done}");
}

/// A registry without TLS that is `plain.test`, where only the proxy knows that.
fn far(login: Option<&str>) -> (Registry, Proxy) {
    let registry = Registry::new();
    registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let proxy = Proxy::new(&[("plain.test:80", registry.host())], login);
    (registry, proxy)
}

fn pull_far(lade: &Lade) -> Cmd {
    lade.cmd(&["pull", "plain.test/thing:one"])
        .env("LADE_INSECURE_REGISTRIES", "plain.test")
        .env("LADE_RETRIES", "0")
}

#[test]
fn a_proxy_is_asked_for_what_is_not_left_out() {
    let (registry, proxy) = far(None);
    for name in ["http_proxy", "HTTP_PROXY", "LADE_HTTP_PROXY"] {
        let lade = Lade::new();
        pull_far(&lade).env(name, proxy.url()).run().ok();
        assert_eq!(lade.names(), ["plain.test/thing:one"]);
        let asked = proxy.asked();
        let manifest = "GET http://plain.test/v2/thing/manifests/one";
        assert!(asked.iter().any(|one| one == manifest), "{asked:?}");
        lade.whole();
    }
    // Whom one of these lists names, it is not asked for; that name is not known otherwise.
    for (name, list) in [
        ("no_proxy", "plain.test"),
        ("NO_PROXY", "other.test, plain.test"),
        ("NO_PROXY", ".test"),
        ("LADE_NO_PROXY", "test"),
        ("no_proxy", "*"),
        ("no_proxy", "plain.test:80,plain.test:443"),
    ] {
        let lade = Lade::new();
        let left_out = pull_far(&lade).env("http_proxy", proxy.url());
        let done = left_out.env(name, list).run();
        let complaint = orlop_tests::complaint(&done, &[1], &["plain.test"]);
        assert_eq!(complaint, None, "{name}={list} {done}");
        assert_eq!(proxy.asked(), [""; 0], "{name}={list}");
    }
    let lade = Lade::new();
    let other = pull_far(&lade).env("no_proxy", "plain.test:81,lain.test");
    other.env("http_proxy", proxy.url()).run().ok();
    assert!(!proxy.asked().is_empty(), "another port and another name");
    // Nor for this machine.
    let lade = Lade::new();
    let near = lade.cmd(&["pull", &registry.name("thing:one")]);
    near.env("http_proxy", proxy.url()).run().ok();
    assert_eq!(proxy.asked(), [""; 0]);
}

#[test]
fn tls_goes_through_a_proxy_unseen() {
    let (lade, source) = (Lade::new(), Registry::new());
    let options = DebianOptions {
        tls: true,
        ..DebianOptions::default()
    };
    let registry = Debian::start(&lade.env, options);
    let image = Image::noise(1, 1, 10_000);
    let name = source.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let proxy = Proxy::new(&[("secure.test:443", registry.host())], None);
    let text = format!(
        "[registry.\"secure.test\"]\nca = \"{}\"\n",
        registry.certificate().display()
    );
    let file = native(&lade, &text);
    let far = "secure.test/thing:one";
    lade.ok(&["tag", &name, far]);
    for variable in ["https_proxy", "HTTPS_PROXY", "LADE_HTTPS_PROXY"] {
        let push = lade.cmd(&["push", far]).env("LADE_REGISTRIES", &file);
        push.env(variable, proxy.url()).run().ok();
        let asked = proxy.asked();
        let connects = asked.iter().filter(|one| *one == "CONNECT secure.test:443");
        assert!(
            connects.count() == asked.len() && !asked.is_empty(),
            "{asked:?}"
        );
    }
    let other = Lade::new();
    let through = |cmd: Cmd| cmd.env("https_proxy", proxy.url());
    through(pull(&other, &file, far)).run().ok();
    assert_eq!(other.inspect(far, "{{.Id}}"), image.id());
    // The proxy does not stand for the authority.
    let done = through(other.cmd(&["pull", far])).run();
    let parts = [
        "its certificate is not trusted: it has signed itself",
        "hint: if it is the right one, put it into /etc/lade/certs.d/secure.test/ca.crt",
    ];
    assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
    // Nor is a certificate one for every name.
    let proxy = Proxy::new(&[("other.test:443", registry.host())], None);
    let text = format!(
        "[registry.\"other.test\"]\nca = \"{}\"\n",
        registry.certificate().display()
    );
    let file = native(&other, &text);
    let pull = pull(&other, &file, "other.test/thing:one");
    let done = pull.env("https_proxy", proxy.url()).run();
    let parts = [
        "its certificate is not trusted: it is for localhost, secure.test",
        "not for other.test",
        "hint: use such a name",
    ];
    assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
}

#[test]
fn the_password_of_a_proxy_is_never_said() {
    let (registry, proxy) = far(Some("ann:hunter2%of"));
    let address = |user: &str, host: &str| format!("http://{user}@{host}");
    let (right, wrong) = ("ann:hunter2%25of", "ann:hunter2wrong");
    let lade = Lade::new();
    pull_far(&lade)
        .env("http_proxy", address(right, &proxy.host()))
        .run()
        .ok();
    for seen in registry.seen() {
        assert_eq!(seen.request.header("proxy-authorization"), "", "{seen:?}");
    }
    let login = "the proxy wants a login";
    for (proxy, part) in [
        (address(wrong, &proxy.host()), login),
        (proxy.url(), login),
        (address(wrong, "127.0.0.1:1"), "127.0.0.1:1 the right proxy"),
        (address(wrong, "nowhere.test:3128"), "nowhere.test:3128 the"),
        (address(wrong, "["), "is not an address"),
        ("socks5://ann:hunter2@x".to_owned(), "proxies by http"),
        (
            "ann:hunter2@127.0.0.1:1".to_owned(),
            "right proxy|proxy for",
        ),
    ] {
        let lade = Lade::new();
        // What is asked by TLS goes the same way.
        let secure = lade.cmd(&["--debug", "pull", "secure.test/thing"]);
        let secure = secure.env("LADE_RETRIES", "0").env("https_proxy", &proxy);
        for done in [
            pull_far(&lade).env("http_proxy", &proxy).run(),
            secure.run(),
            lade.cmd(&["info"]).env("https_proxy", &proxy).run(),
        ] {
            let said = done.stdout() + &done.stderr();
            assert!(!said.contains("hunter2"), "{done}");
            let fine = done.rc == 0 || part.split('|').any(|one| said.contains(one));
            assert!(fine, "{part}: {done}");
        }
    }
}

#[test]
fn a_certificate_of_ours_is_shown_where_it_is_wanted() {
    let (lade, source) = (Lade::new(), Registry::new());
    let options = DebianOptions {
        tls: true,
        clients: true,
        ..DebianOptions::default()
    };
    let registry = Debian::start(&lade.env, options);
    let image = Image::noise(1, 1, 10_000);
    let name = source.serve("thing:one", &image);
    let (host, target) = (registry.host(), registry.name("thing:one"));
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, &target]);
    let (cert, key) = registry.client();
    let foreign = (registry.certificate(), cert.with_file_name("key.pem"));
    let file = |cert: &Path, key: &Path| {
        let (cert, key) = (cert.display(), key.display());
        let client = format!("client = {{ cert = \"{cert}\", key = \"{key}\" }}");
        native(&lade, &format!("[registry.\"{host}\"]\n{client}\n"))
    };
    let push = |file: &Path| lade.cmd(&["push", &target]).env("LADE_REGISTRIES", file);
    let hint = "hint: name the certificate and the key";
    lade.fails(
        &["push", &target],
        &["certificate of ours|our certificate", &host, hint],
    );
    let done = push(&file(&foreign.0, &foreign.1)).run();
    let parts = ["our certificate", host.as_str(), hint];
    assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
    let done = push(&file(&cert, &foreign.1)).run();
    assert_eq!(
        orlop_tests::complaint(&done, &[1], &["cert"]),
        None,
        "{done}"
    );
    push(&file(&cert, &key)).run().ok();
    // docker's place for both; the authority of the server beside them.
    let other = Lade::new();
    let dir = PathBuf::from(format!("/etc/docker/certs.d/{host}"));
    let _etc = OwnEtc::over(&lade.env.dir);
    fs::create_dir_all(&dir).must(dir.display());
    fs::copy(&cert, dir.join("client.cert")).must("the certificate");
    other.fails(&["pull", &target], &["client.key: no such file"]);
    fs::copy(&key, dir.join("client.key")).must("the key");
    other.ok(&["pull", &target]);
    fs::copy(registry.certificate(), dir.join("ca.crt")).must("the authority");
    lade.ok(&["push", &target]);
    assert_eq!(other.inspect(&target, "{{.Id}}"), image.id());
}

#[test]
fn an_own_authority_is_trusted_where_it_is_named() {
    let (lade, source) = (Lade::new(), Registry::new());
    let options = DebianOptions {
        tls: true,
        ..DebianOptions::default()
    };
    let registry = Debian::start(&lade.env, options);
    let image = Image::noise(1, 1, 10_000);
    let name = source.serve("thing:one", &image);
    lade.ok(&["pull", &name]);
    let host = registry.host();
    let target = registry.name("thing:one");
    lade.ok(&["tag", &name, &target]);
    let text = format!(
        "[registry.\"{host}\"]\nca = \"{}\"\n",
        registry.certificate().display()
    );
    let file = native(&lade, &text);
    let push = |lade: &Lade| lade.cmd(&["push", &target]);
    push(&lade).env("LADE_REGISTRIES", &file).run().ok();
    let other = Lade::new();
    pull(&other, &file, &target).run().ok();
    assert_eq!(other.inspect(&target, "{{.Id}}"), image.id());
    // docker's place for it.
    let dir = format!("/etc/docker/certs.d/{host}");
    let _etc = OwnEtc::over(&lade.env.dir);
    fs::create_dir_all(&dir).must(&dir);
    fs::copy(registry.certificate(), format!("{dir}/ca.crt")).must("the certificate");
    push(&lade).run().ok();
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let lade = Lade::new();
    let table = [
        ("[registry.\"x\"]\ninsecur = true\n", "insecur"),
        ("[registry\n", "registries.toml"),
        (
            "[[registry.\"x\".mirror]]\nurl = \"gopher://x\"\n",
            "gopher",
        ),
        (
            "[registry.\"127.0.0.1:1\"]\nca = \"/no/such.pem\"\n",
            "registry.\"127.0.0.1:1\": ca: /no/such.pem",
        ),
    ];
    for (text, part) in table {
        let file = native(&lade, text);
        let done = pull(&lade, &file, "127.0.0.1:1/thing").run();
        let complaint = orlop_tests::complaint(&done, &[1, 125], &[part, "registries.toml"]);
        assert_eq!(complaint, None, "{text}\n{done}");
    }
}
