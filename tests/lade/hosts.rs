//! Where a name is looked for: mirrors, hosts without TLS, own authorities, proxies.

use orlop_tests::registry::{Debian, DebianOptions, Fault, Image, Registry, Rule, What};
use orlop_tests::{Cmd, Lade, Must};
use std::fs;
use std::path::PathBuf;

/// Writes a file of our own kind and returns its path.
fn native(lade: &Lade, text: &str) -> PathBuf {
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
    fn over(dir: &std::path::Path) -> Self {
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
fn a_mirror_that_lies_is_passed_over_or_named() {
    let (lade, mirror, registry) = (Lade::new(), Registry::new(), Registry::new());
    let image = Image::noise(1, 2, 10_000);
    let name = registry.serve("thing:one", &image);
    mirror.serve("thing:one", &image);
    mirror.fault(Rule::always(What::Blob, Fault::Flipped));
    let text = format!(
        "[[registry.\"{}\".mirror]]\nurl = \"{}\"\n",
        registry.host(),
        mirror.url()
    );
    let file = native(&lade, &text);
    let done = pull(&lade, &file, &name).run();
    if done.rc != 0 {
        let complaint = orlop_tests::complaint(&done, &[1], &["sha256:"]);
        assert_eq!(complaint, None, "{done}");
        assert!(lade.ids().is_empty());
    }
    lade.whole();
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
    ];
    for (text, part) in table {
        let file = native(&lade, text);
        let done = pull(&lade, &file, "127.0.0.1:1/thing").run();
        let complaint = orlop_tests::complaint(&done, &[1, 125], &[part, "registries.toml"]);
        assert_eq!(complaint, None, "{text}\n{done}");
    }
}
