//! Logins: whose password goes where, which scopes are asked for, and what never leaves this host.

use orlop_tests::registry::{Auth, Debian, DebianOptions, Fault, Image, Registry, Rule, What};
use orlop_tests::{Lade, Must, Pty};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const SECRET: &str = "s3cret%of:ann";

fn login(lade: &Lade, host: &str, password: &str) -> orlop_tests::Cmd {
    lade.cmd(&["login", "-u", "ann", "--password-stdin", host])
        .stdin(format!("{password}\n"))
}

fn config(lade: &Lade) -> Value {
    let path = lade.home.join(".docker/config.json");
    let text = fs::read_to_string(&path).must(path.display());
    assert_eq!(
        fs::metadata(&path).must("mode").permissions().mode() & 0o777,
        0o600
    );
    serde_json::from_str(&text).must("JSON")
}

/// Logs in, pulls, pushes and logs out, with either kind of question.
#[test]
fn a_login_opens_and_a_logout_closes() {
    let mut closed = Auth::bearer("ann", SECRET);
    let Auth::Bearer { open, .. } = &mut closed else {
        unreachable!("bearer makes a Bearer")
    };
    *open = false;
    for auth in [Auth::basic("ann", SECRET), closed] {
        let lade = Lade::new();
        let registry = Registry::new().with(|manner| manner.auth = auth.clone());
        let image = Image::noise(1, 2, 10_000);
        let name = registry.serve("private/thing:one", &image);
        let host = registry.host();
        lade.fails(
            &["pull", &name],
            &["log in|login|authentication|unauthorized", &host],
        );
        let wrong = login(&lade, &host, "hunter2").run();
        assert!(
            wrong.rc == 1 && !wrong.stderr().contains("hunter2"),
            "{wrong}"
        );
        lade.fails(
            &["pull", &name],
            &["log in|login|authentication|unauthorized"],
        );
        let done = login(&lade, &host, SECRET).run().ok();
        let path = lade.home.join(".docker/config.json");
        let warning = format!(
            "WARNING! Your password will be stored unencrypted in {}.\nhint: name a credential helper",
            path.display()
        );
        assert!(done.stderr().starts_with(&warning), "{done}");
        assert_eq!(done.stdout(), "Login Succeeded\n");
        let kept = config(&lade);
        assert!(kept["auths"][&host].is_object(), "{kept}");
        lade.ok(&["pull", &name]);
        let copy = registry.name("private/copy:one");
        lade.ok(&["tag", &name, &copy]);
        lade.ok(&["push", &copy]);
        assert!(registry.manifest("private/copy", "one").is_some());
        lade.ok(&["logout", &host]);
        assert!(config(&lade)["auths"][&host].is_null());
        lade.fails(
            &["push", &copy],
            &["log in|login|authentication|unauthorized|denied"],
        );
        lade.whole();
    }
}

#[test]
fn a_password_is_never_said() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let host = registry.host();
    let done = login(&lade, &host, SECRET).run().ok();
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let table = [
        done,
        lade.cmd(&["--debug", "pull", &name]).run(),
        lade.cmd(&["info"]).run(),
        lade.cmd(&["--debug", "pull", &registry.name("nothing")])
            .run(),
    ];
    for done in table {
        let said = done.stdout() + &done.stderr();
        assert!(!said.contains(SECRET), "{done}");
        // base64 of `ann:` and what follows.
        assert!(!said.contains("YW5uOn"), "{done}");
    }
}

#[test]
fn the_token_server_is_asked_for_no_more_than_is_needed() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::bearer("ann", SECRET));
    let image = Image::noise(1, 3, 10_000);
    let name = registry.serve("source/thing:one", &image);
    lade.ok(&["pull", &name]);
    let scopes = || -> Vec<String> {
        let seen = registry.seen();
        let asked = seen.iter().filter(|seen| seen.what == What::Token);
        asked
            .flat_map(|seen| seen.request.all_asked("scope"))
            .collect()
    };
    assert_eq!(
        scopes(),
        ["repository:source/thing:pull"],
        "one token, to pull"
    );
    login(&lade, &registry.host(), SECRET).run().ok();
    registry.forget();
    let copy = registry.name("copy:one");
    lade.ok(&["tag", &name, &copy]);
    lade.ok(&["push", &copy]);
    let scopes = scopes();
    assert!(
        scopes
            .iter()
            .any(|scope| scope == "repository:copy:pull,push"),
        "{scopes:?}"
    );
    assert!(
        scopes
            .iter()
            .any(|scope| scope == "repository:source/thing:pull"),
        "a mount needs to pull its source: {scopes:?}"
    );
    let seen = registry.seen();
    let mounts = seen
        .iter()
        .filter(|seen| seen.what == What::Upload && seen.status == 201);
    assert_eq!(mounts.count(), 4, "every blob is mounted");
}

#[test]
fn tokens_that_end_under_way_are_renewed() {
    let lade = Lade::new();
    let mut auth = Auth::bearer("ann", SECRET);
    if let Auth::Bearer { uses, field, .. } = &mut auth {
        *uses = 5;
        *field = "access_token";
    }
    let registry = Registry::new().with(|manner| manner.auth = auth);
    let name = registry.serve("thing:one", &Image::noise(1, 6, 10_000));
    lade.ok(&["pull", &name]);
    lade.whole();
}

#[test]
fn an_identity_token_stands_for_a_password() {
    let lade = Lade::new();
    let mut auth = Auth::bearer("ann", SECRET);
    if let Auth::Bearer { open, refresh, .. } = &mut auth {
        *open = false;
        *refresh = Some("refresh-me".to_owned());
    }
    let registry = Registry::new().with(|manner| manner.auth = auth);
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let entry = json!({"auth": "", "identitytoken": "refresh-me"});
    write_config(&lade, &json!({"auths": {registry.host(): entry}}));
    lade.ok(&["pull", &name]);
}

fn write_config(lade: &Lade, config: &Value) {
    let dir = lade.home.join(".docker");
    fs::create_dir_all(&dir).must(dir.display());
    fs::write(dir.join("config.json"), config.to_string()).must("config.json");
}

/// base64 of `ann:` and the secret.
fn words() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("ann:{SECRET}"))
}

#[test]
fn logins_of_docker_and_podman_are_found() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let name = registry.serve("team/thing:one", &Image::noise(1, 1, 1000));
    let host = registry.host();
    write_config(&lade, &json!({"auths": {&host: {"auth": words()}}}));
    lade.ok(&["pull", &name]);
    // podman's file is looked at first, and its longest key counts.
    write_config(&lade, &json!({"auths": {&host: {"auth": "bm86bm8="}}}));
    let run = lade.env.dir.join("xdg");
    fs::create_dir_all(run.join("containers")).must("a directory");
    let keys = json!({&host: {"auth": "bm86bm8="}, format!("{host}/team"): {"auth": words()}});
    fs::write(
        run.join("containers/auth.json"),
        json!({"auths": keys}).to_string(),
    )
    .must("auth.json");
    let pull = |lade: &Lade| lade.cmd(&["pull", &name]);
    pull(&lade).run().exits(1);
    pull(&lade).env("XDG_RUNTIME_DIR", &run).run().ok();
    // A named file is the only one.
    let file = lade.env.dir.join("named.json");
    fs::write(&file, "{}").must("named.json");
    pull(&lade)
        .env("XDG_RUNTIME_DIR", &run)
        .env("REGISTRY_AUTH_FILE", &file)
        .run()
        .exits(1);
}

#[test]
fn a_new_login_counts_more_than_an_old_one_elsewhere() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let host = registry.host();
    let own = lade.home.join(".config/containers");
    let old = json!({"auths": {&host: {"auth": "bm86bm8="}}});
    fs::create_dir_all(&own).must("a directory");
    fs::write(own.join("auth.json"), old.to_string()).must("auth.json");
    write_config(&lade, &old);
    lade.fails(&["pull", &name], &["log in|login"]);
    let done = login(&lade, &host, SECRET).run().ok();
    assert!(done.stderr().contains("containers/auth.json"), "{done}");
    lade.ok(&["pull", &name]);
    // And none is left behind in any of them.
    let line = format!("Removing login credentials for {host}");
    assert_eq!(lade.says(&["logout", &host]), line);
    for file in [own.join("auth.json"), lade.home.join(".docker/config.json")] {
        let text = fs::read_to_string(&file).must(file.display());
        assert!(!text.contains(&host), "{text}");
    }
    let line = format!("Not logged in to {host}");
    assert_eq!(lade.says(&["logout", &host]), line);
}

#[test]
fn a_kept_login_is_tried_before_another_is_asked_for() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let host = registry.host();
    let again = || lade.cmd(&["login", &host]);
    let interactive = "Cannot perform an interactive login from a non TTY device";
    let done = again().run().exits(1);
    assert!(done.stderr().contains(interactive), "{done}");
    assert_eq!(done.stdout(), "");
    login(&lade, &host, SECRET).run().ok();
    let config = lade.home.join(".docker/config.json");
    let inode = || fs::metadata(&config).must(config.display()).ino();
    let kept = inode();
    let done = again().run().ok();
    let tried = "Authenticating with existing credentials...\n";
    assert_eq!(done.stdout(), format!("{tried}Login Succeeded\n"));
    // Nothing is written that is there: the file may be one that nobody can write.
    assert_eq!(inode(), kept);
    // Who names himself is asked for his password.
    let done = lade.cmd(&["login", "-u", "ann", &host]).run().exits(1);
    assert!(
        done.stdout().is_empty() && done.stderr().contains(interactive),
        "{done}"
    );
    // One that counts no more is not the end where somebody can be asked.
    write_config(&lade, &json!({"auths": {&host: {"auth": "YW5uOm9sZA=="}}}));
    let done = again().run().exits(1);
    assert_eq!(done.stdout(), tried);
    let said = done.stderr();
    assert!(
        said.contains("Stored credentials invalid or expired") && said.contains(interactive),
        "{done}"
    );
    let mut terminal = Pty::open();
    let running = again().on(&terminal).spawn();
    terminal.expect("Stored credentials invalid or expired");
    terminal.expect("Username (ann): ");
    terminal.send("\n");
    terminal.expect("Password: ");
    terminal.send(&format!("{SECRET}\n"));
    terminal.expect("Login Succeeded");
    running.wait().ok();
    // A registry that is not there is told of, and nobody is asked.
    drop(registry);
    let done = again().run().exits(1);
    assert!(
        done.stderr().contains(&host) && !done.stderr().contains(interactive),
        "{done}"
    );
}

/// Writes a helper program `docker-credential-tested`, and returns a search path with it.
fn helper(lade: &Lade, script: &str) -> String {
    let bin = lade.env.dir.join("bin");
    fs::create_dir_all(&bin).must("a directory");
    let helper = bin.join("docker-credential-tested");
    fs::write(&helper, format!("#!/bin/sh\n{script}")).must("the helper");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).must("its mode");
    format!("{}:{}", bin.display(), std::env::var("PATH").must("PATH"))
}

#[test]
fn a_helper_program_that_fails_matters_where_a_login_is_wanted() {
    let lade = Lade::new();
    let path = helper(&lade, "echo 'no key ring'; exit 1\n");
    // Anybody may pull from the first, who fetches a token for it.
    let open = Registry::new().with(|manner| manner.auth = Auth::bearer("ann", SECRET));
    let closed = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let image = Image::noise(1, 1, 1000);
    let (open, closed) = (
        (open.serve("thing:one", &image), open),
        (closed.serve("thing:one", &image), closed),
    );
    let pull = |name: &str| lade.cmd(&["pull", name]).env("PATH", &path);
    let said = "docker-credential-tested: get: no key ring";
    for config in [
        json!({"credsStore": "tested"}),
        json!({"credHelpers": {open.1.host(): "tested", closed.1.host(): "tested"}}),
    ] {
        write_config(&lade, &config);
        let done = pull(&open.0).run().ok();
        assert_eq!(done.stderr(), "", "{done}");
        let done = pull(&closed.0).run();
        let parts = [said, &closed.1.host(), "a login is wanted"];
        assert_eq!(orlop_tests::complaint(&done, &[1], &parts), None, "{done}");
    }
    // One that is not installed is told of, and no more.
    write_config(&lade, &json!({"credsStore": "nosuch"}));
    let done = pull(&open.0).run().ok();
    let warning = "WARNING: docker-credential-nosuch: is not installed; install it, or";
    assert!(done.stderr().starts_with(warning), "{done}");
    assert_eq!(done.stderr().lines().count(), 1, "{done}");
    // A login in a file is found behind both.
    let auths = json!({closed.1.host(): {"auth": words()}});
    for program in ["tested", "nosuch"] {
        write_config(&lade, &json!({"credsStore": program, "auths": auths}));
        let done = pull(&closed.0).run().ok();
        assert_eq!(done.stderr(), "", "{done}");
    }
}

#[test]
fn a_password_is_not_shown_and_the_terminal_shows_what_comes_after() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let host = registry.host();
    let stty = |terminal: &Pty| {
        let slave = terminal.slave.as_ref().must("the slave");
        let slave = slave.try_clone().must("clone the slave");
        let done = Command::new("stty").arg("-a").stdin(slave).output();
        let text = done.must("stty").stdout;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split_whitespace().any(|word| word == "echo")
    };
    // What is typed, and the exit code, or minus the signal.
    for (typed, code) in [
        (format!("{SECRET}\n"), 0),
        ("hunter2\n".to_owned(), 1),
        ("half\x03".to_owned(), -2),
        ("half\x1c".to_owned(), -3),
    ] {
        let mut terminal = Pty::open();
        let running = lade.cmd(&["login", &host]).on(&terminal).spawn();
        terminal.expect("Username: ");
        terminal.send("ann\n");
        terminal.expect("Password: ");
        assert!(!stty(&terminal));
        terminal.send(&typed);
        let done = running.wait();
        assert_eq!(done.rc, code, "{typed:?} {done}");
        assert!(stty(&terminal), "{typed:?}");
        let path = lade.home.join(".docker/config.json");
        assert_eq!(Path::new(&path).exists(), code == 0, "{typed:?}");
        if code == 0 {
            terminal.expect("Login Succeeded");
            lade.ok(&["logout", &host]);
            fs::remove_file(&path).must(path.display());
        }
        assert!(!terminal.seen.contains("half") && !terminal.seen.contains(SECRET));
    }
}

#[test]
fn a_helper_program_is_asked() {
    let lade = Lade::new();
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let name = registry.serve("thing:one", &Image::noise(1, 1, 1000));
    let host = registry.host();
    let asked = lade.env.dir.join("asked");
    let script = format!(
        "read -r host; echo \"$1 $host\" >>{}\necho '{{\"ServerURL\":\"'\"$host\"'\",\"Username\":\"ann\",\"Secret\":\"{SECRET}\"}}'\n",
        asked.display()
    );
    let path = helper(&lade, &script);
    write_config(&lade, &json!({"credHelpers": {&host: "tested"}}));
    lade.cmd(&["pull", &name]).env("PATH", &path).run().ok();
    let asked = fs::read_to_string(&asked).must("what was asked");
    assert!(
        asked.lines().all(|line| line == format!("get {host}")),
        "{asked}"
    );
    // A helper that is not there is named.
    write_config(&lade, &json!({"credHelpers": {&host: "nosuch"}}));
    lade.fails(&["pull", &name], &["docker-credential-nosuch"]);
}

#[test]
fn a_redirect_to_another_host_gets_no_password() {
    for auth in [Auth::basic("ann", SECRET), Auth::bearer("ann", SECRET)] {
        let (lade, other) = (Lade::new(), Registry::at("127.0.0.2"));
        let registry = Registry::new().with(|manner| manner.auth = auth);
        let image = Image::noise(1, 2, 10_000);
        let name = registry.serve("thing:one", &image);
        other.serve("thing:one", &image);
        registry.fault(Rule::always(What::Blob, Fault::Redirect(other.url())));
        login(&lade, &registry.host(), SECRET).run().ok();
        lade.ok(&["pull", &name]);
        let seen = other.seen();
        assert!(!seen.is_empty());
        for seen in seen {
            assert_eq!(seen.request.header("authorization"), "", "{seen:?}");
        }
        lade.whole();
    }
}

#[test]
fn a_foreign_layer_is_fetched_without_passwords_or_not_at_all() {
    let lade = Lade::new();
    let other = Registry::at("127.0.0.2").with(|manner| manner.auth = Auth::basic("eve", "eve"));
    let registry = Registry::new().with(|manner| manner.auth = Auth::basic("ann", SECRET));
    let image = Image::noise(1, 1, 1000).edited(|manifest| {
        let layer = &mut manifest["layers"][0];
        layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into();
        layer["urls"] = json!([format!("{}/v2/stolen", other.url())]);
    });
    let name = registry.serve("thing:one", &image);
    login(&lade, &registry.host(), SECRET).run().ok();
    // The registry has the blob: then nobody else is asked.
    lade.ok(&["pull", &name]);
    for seen in other.seen() {
        assert_eq!(seen.request.header("authorization"), "", "{seen:?}");
    }
}

#[test]
fn debians_registry_wants_a_password() {
    let lade = Lade::new();
    let registry = Debian::start(
        &lade.env,
        DebianOptions {
            password: true,
            ..DebianOptions::default()
        },
    );
    let source = Registry::new();
    let image = Image::noise(1, 2, 10_000);
    let name = source.serve("thing:one", &image);
    let target = registry.name("thing:one");
    lade.ok(&["pull", &name]);
    lade.ok(&["tag", &name, &target]);
    lade.fails(
        &["push", &target],
        &["log in|login|authentication|unauthorized"],
    );
    login(&lade, &registry.host(), "secret").run().ok();
    lade.ok(&["push", &target]);
    lade.ok(&["rmi", "-f", &image.id()]);
    lade.ok(&["pull", &target]);
    assert_eq!(lade.inspect(&target, "{{.Id}}"), image.id());
    lade.whole();
}
