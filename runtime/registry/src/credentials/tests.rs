use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "logins-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn shown(login: Result<Option<Login>>) -> String {
    match login {
        Ok(None) => "nobody".to_string(),
        Ok(Some(Login::Password { user, password })) => format!("{user}:{}", password.expose()),
        Ok(Some(Login::Identity { user, token })) => format!("{user}!{}", token.expose()),
        Ok(Some(Login::Token(token))) => format!("={}", token.expose()),
        Err(error) => error.to_string(),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_login_is_found_under_its_longest_name() {
    let a = r#"{"auths":{"h":{"auth":"YTph"},"h/team":{"auth":"dDp0"},"h/team/tool":{"auth":"eDp4"},"h:5000":{"auth":"cDpw"}}}"#;
    for (file, host, path, want) in [
        (a, "h", "team/tool", "x:x"),
        (a, "h", "team/other/more", "t:t"),
        (a, "h", "teams", "a:a"),
        (a, "h", "", "a:a"),
        (a, "h:5000", "x", "p:p"),
        (a, "other", "x", "nobody"),
        (
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTph"}}}"#,
            "docker.io",
            "library/x",
            "a:a",
        ),
        (
            r#"{"auths":{"docker.io":{"auth":"YTph"}}}"#,
            "docker.io",
            "library/x",
            "a:a",
        ),
        (
            r#"{"auths":{"https://h/v1/":{"auth":"YTph"}}}"#,
            "h",
            "x",
            "a:a",
        ),
        (r#"{"auths":{"h":{"auth":"YTpiOmM"}}}"#, "h", "", "a:b:c"),
        (
            r#"{"auths":{"h":{"username":"u","password":"p"}}}"#,
            "h",
            "",
            "u:p",
        ),
        (
            r#"{"auths":{"h":{"auth":"YTo=","identitytoken":"id"}}}"#,
            "h",
            "",
            "a!id",
        ),
        (r#"{"auths":{"h":{"registrytoken":"rt"}}}"#, "h", "", "=rt"),
        (r#"{"auths":{"h":{}}}"#, "h", "", "nobody"),
        (r#"{"auths":[]}"#, "h", "", "nobody"),
        (
            r#"{"auths":null,"credHelpers":[],"credsStore":null}"#,
            "h",
            "",
            "nobody",
        ),
        (r#"{"auths":{"h":[]}}"#, "h", "", "nobody"),
        (r#"{"auths":{"h":{"auth":7}}}"#, "h", "", "nobody"),
        ("", "h", "", "nobody"),
        (
            r#"{"auths":{"h":{"auth":"c2VjcmV0"}}}"#,
            "h",
            "",
            "FILE: auths: h: auth is not base64 of user:password; log in again",
        ),
        (
            r#"{"auths":"secret"#,
            "h",
            "",
            "FILE: is not a JSON object (line 1 column 16); repair it or move it away, then log in again",
        ),
        (
            "[]",
            "h",
            "",
            "FILE: is not a JSON object (line 1 column 0); repair it or move it away, then log in again",
        ),
    ] {
        let scratch = Scratch::new();
        let path_of = scratch.write("config.json", file);
        let missing = scratch.0.join("none/auth.json");
        let credentials = Credentials::from_files(vec![missing, path_of.clone()]);
        let got = shown(credentials.lookup(host, path)).replace(path_of.to_str().unwrap(), "FILE");
        assert_eq!(got, want, "{file}");
    }
}

#[test]
fn the_first_file_with_the_host_wins() {
    let scratch = Scratch::new();
    let first = scratch.write("auth.json", r#"{"auths":{"h":{"auth":"YTph"}}}"#);
    let second = scratch.write(
        "config.json",
        r#"{"auths":{"h":{"auth":"dDp0"},"i":{"auth":"dDp0"}}}"#,
    );
    let credentials = Credentials::from_files(vec![first, second]);
    assert_eq!(shown(credentials.lookup("h", "x")), "a:a");
    assert_eq!(shown(credentials.lookup("i", "x")), "t:t");
    let given = Login::Password {
        user: "g".into(),
        password: Secret::new("g"),
    };
    assert_eq!(shown(credentials.with("h", given).lookup("h", "x")), "g:g");
}

#[test]
fn a_new_login_counts_and_a_forgotten_one_does_not() {
    let old = r#"{"auths":{"h":{"auth":"b2xkOm9sZA=="}}}"#;
    let new = Login::Password {
        user: "new".into(),
        password: Secret::new("new"),
    };
    // What podman's file says, what docker's says, and which of them is written to.
    for (first, last, written) in [
        (old, "{}", "auth.json"),
        (old, old, "auth.json"),
        ("{}", old, "config.json"),
        ("{}", "{}", "config.json"),
        (
            r#"{"auths":{"h/team":{"auth":"dDp0"}}}"#,
            "{}",
            "config.json",
        ),
        (r#"{"credsStore":"orlop-none"}"#, "{}", "config.json"),
    ] {
        let scratch = Scratch::new();
        let files = vec![
            scratch.0.join("none.json"),
            scratch.write("auth.json", first),
            scratch.write("config.json", last),
        ];
        let credentials = Credentials::from_files(files);
        let plain = credentials.store("h", &new).unwrap();
        assert_eq!(plain, Some(scratch.0.join(written)), "{first} {last}");
        assert_eq!(
            shown(credentials.lookup("h", "x")),
            "new:new",
            "{first} {last}"
        );
        let erased = credentials.erase("h");
        // What a program may still have is not said to be gone.
        let unknown = first.contains("credsStore");
        assert_eq!(erased.is_ok(), !unknown, "{erased:?}");
        assert_eq!(
            shown(credentials.lookup("h", "x")),
            "nobody",
            "{first} {last}"
        );
        if !unknown {
            assert!(!credentials.erase("h").unwrap());
        }
    }
}

#[test]
fn keeping_a_login_leaves_the_rest_of_the_file_alone() {
    let ann = Login::Password {
        user: "ann".into(),
        password: Secret::new("pa:ss"),
    };
    let identity = Login::Identity {
        user: "ann".into(),
        token: Secret::new("id"),
    };
    for before in [
        None,
        Some(""),
        Some(r#"{"auths":[]}"#),
        Some(r#"{"psFormat":"x","auths":{"other":{"auth":"YTph","mine":1}},"last":[1]}"#),
    ] {
        let scratch = Scratch::new();
        let path = scratch.0.join("deep/down/config.json");
        if let Some(before) = before {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, before).unwrap();
        }
        let credentials = Credentials::from_files(vec![path.clone()]);
        for login in [&identity, &ann] {
            assert_eq!(
                credentials.store("docker.io", login).unwrap(),
                Some(path.clone())
            );
            assert_eq!(
                credentials.lookup("docker.io", "x").unwrap().as_ref(),
                Some(login)
            );
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("https://index.docker.io/v1/"), "{text}");
        if before.is_some_and(|before| before.contains("psFormat")) {
            assert!(
                text.find("psFormat") < text.find("\"mine\": 1") && text.contains("last"),
                "{text}"
            );
        }
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(credentials.erase("docker.io").unwrap());
        assert!(!credentials.erase("docker.io").unwrap());
        assert_eq!(shown(credentials.lookup("docker.io", "x")), "nobody");
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}

#[test]
fn a_link_to_the_file_stays_one() {
    let scratch = Scratch::new();
    let real = scratch.write("real.json", "{}");
    let link = scratch.0.join("config.json");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    Credentials::from_files(vec![link.clone()])
        .store("h", &Login::Token(Secret::new("t")))
        .unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("registrytoken"));
}

#[test]
fn a_file_that_is_none_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.0.join("big");
    fs::File::create(&path)
        .unwrap()
        .set_len(crate::files::MOST + 1)
        .unwrap();
    for (path, want) in [
        (path, "has more than 4 MiB"),
        (PathBuf::from("/dev/zero"), "is not a regular file"),
    ] {
        let got = shown(Credentials::from_files(vec![path]).lookup("h", ""));
        assert!(got.contains(want), "{got}");
    }
}

/// A helper program, found by its name on the search path only; it is called by its file here.
fn helper(script: &str) -> (Scratch, Helper) {
    let scratch = Scratch::new();
    let path = scratch.write("helper", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let helper = Helper::at(path.to_str().unwrap(), Duration::from_secs(2));
    (scratch, helper)
}

#[test]
fn a_helper_program_is_asked_and_not_waited_for_for_ever() {
    for (script, want) in [
        (
            r#"read h; echo "{\"ServerURL\":\"$h\",\"Username\":\"ann\",\"Secret\":\"$1-$h\"}""#,
            "ann:get-key",
        ),
        (r#"echo '{"Username":"<token>","Secret":"id"}'"#, "!id"),
        (r#"echo '{}'"#, "nobody"),
        (
            "echo credentials not found in native keychain; exit 1",
            "nobody",
        ),
        ("echo no; exit 1", "HELPER: get: no"),
        ("exit 1", "HELPER: get: ended with an error and no word"),
        (
            "echo no",
            "HELPER: get: its answer is not the JSON of a login",
        ),
        ("exec sleep 60", "HELPER: no answer within 2 s"),
        (
            "exec >&-; exec sleep 60",
            "HELPER: get: ended with an error and no word",
        ),
        ("exec cat /dev/zero", "HELPER: it writes without end"),
    ] {
        let (scratch, helper) = helper(script);
        let got =
            shown(helper.get("key")).replace(scratch.0.join("helper").to_str().unwrap(), "HELPER");
        assert_eq!(got, want, "{script}");
    }
    for name in ["", "../x", "a/b", "a b", "x\n"] {
        assert!(Helper::named(name, Duration::ZERO).is_err(), "{name}");
    }
    let missing = Helper::named("orlop-none", Duration::from_secs(1)).unwrap();
    let got = shown(missing.get("key"));
    assert!(
        got.starts_with("docker-credential-orlop-none: is not installed; ")
            && got.ends_with("take it out of credsStore and credHelpers"),
        "{got}"
    );
}

#[test]
fn a_helper_program_keeps_and_forgets() {
    let (scratch, helper) = helper(
        r#"d=$(dirname "$0"); case $1 in store) cat > "$d/kept";; erase) cat > "$d/erased";; esac"#,
    );
    let ann = Login::Password {
        user: "ann".into(),
        password: Secret::new("p\"s"),
    };
    helper.store("key", &ann).unwrap();
    assert_eq!(
        fs::read_to_string(scratch.0.join("kept")).unwrap(),
        r#"{"ServerURL":"key","Username":"ann","Secret":"p\"s"}"#
    );
    assert!(helper.erase("key").unwrap());
    assert_eq!(fs::read_to_string(scratch.0.join("erased")).unwrap(), "key");
    assert!(
        helper
            .store("key", &Login::Token(Secret::new("t")))
            .is_err()
    );
}
