//! The whole line, as far as it can be read without a store.

use std::ffi::OsString;

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

/// Every command, by its path.
fn paths(command: &clap::Command, parent: &str, out: &mut Vec<String>) {
    for inner in command.get_subcommands() {
        let path = format!("{parent} {}", inner.get_name());
        out.push(path.trim().to_owned());
        paths(inner, path.trim(), out);
    }
}

#[test]
fn clap_finds_no_fault_in_the_commands() {
    commands().debug_assert();
}

#[test]
fn every_command_helps() {
    let mut all = Vec::new();
    paths(&commands(), "", &mut all);
    assert!(all.len() > 40, "{all:?}");
    for path in all {
        let help = parse(&words(&format!("{path} --help"))).unwrap();
        let help = help.map(|line| format!("{line:?}")).unwrap_err();
        assert!(help.contains(&format!("Usage: lade {path}")), "{help}");
        let about = help.lines().next().unwrap_or_default();
        assert!(!about.is_empty() && about.len() < 90, "{path}: {about:?}");
        for line in help.lines().filter(|line| !line.starts_with("Usage:")) {
            assert!(!line.ends_with('.'), "{path}: {line:?}");
        }
    }
}

#[test]
fn help_and_version_are_texts() {
    let text = |line: &str| match parse(&words(line)) {
        Ok(Err(text)) => text,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(
        text("-v"),
        concat!("lade version ", env!("CARGO_PKG_VERSION"), "\n")
    );
    assert_eq!(text("--version"), text("-v"));
    assert!(text("").contains("Usage: lade"));
    assert!(text("image").contains("Usage: lade image"));
    assert!(text("help images").contains("List images"));
    assert!(text("pull -h").contains("Usage: lade pull"));
}

#[test]
fn docker_s_lines_are_taken() {
    for line in [
        "image list -a",
        "image remove -f x",
        "rmi x y --no-prune",
        "pull --disable-content-trust=true -q -q x",
        "images --filter dangling=true -f label=x --digests",
        "history -H=false x",
        "run --rm -it --network none -e A=1 --env B -w / -u 0:0 --entrypoint sh x -c true --rm",
        "run -h name x -h",
        "manifest inspect list member -v",
        "manifest annotate list member --os-features=a,b --arch arm64",
        "login -u me --password-stdin host:5000",
        "save a b -o x.tar",
        "import -c CMD=x --message -y - name:tag",
        "system df -v",
        "inspect --type image -s -f {{.Id}} x",
    ] {
        let parsed = parse(&words(line));
        assert!(matches!(parsed, Ok(Ok(_))), "{line}: {parsed:?}");
    }
}

#[test]
fn early_messages_have_the_form_that_was_asked_for() {
    assert_eq!(early_format(&words("--log-format json x")), LogFormat::Json);
    assert_eq!(early_format(&words("--log-format=json x")), LogFormat::Json);
    assert_eq!(early_format(&words("--log-format text x")), LogFormat::Text);
}
