use super::*;
use std::ffi::OsString;

/// Parses a line that is wrong, and compares message, hint and exit code.
fn check(line: &str, message: &str, hint: Option<&str>, code: u8) {
    let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
    let failure = crate::parse(&words).map(|line| format!("{line:?}"));
    let failure = failure.expect_err(line);
    let problem = &failure.problems[0];
    assert_eq!(problem.message, message, "{line}");
    match hint {
        Some(hint) => assert_eq!(problem.hint.as_deref(), Some(hint), "{line}"),
        None => assert!(problem.hint.is_none(), "{line}: {:?}", problem.hint),
    }
    assert_eq!(failure.code, code, "{line}");
}

#[test]
fn a_command_that_is_not_one_is_answered_by_the_one_that_was_meant() {
    for (line, word, group, meant) in [
        ("image images", "images", "lade image", "image ls"),
        ("image login", "login", "lade image", "login"),
        ("image pul", "pul", "lade image", "image pull"),
        ("pul x", "pul", "lade", "pull"),
        ("ls", "ls", "lade", "image ls"),
        ("prune", "prune", "lade", "image prune"),
        ("df", "df", "lade", "system df"),
        ("image delete", "delete", "lade image", ""),
        ("imgae ls", "imgae", "lade", "image"),
        ("hsitory x", "hsitory", "lade", "history"),
        ("system dff", "dff", "lade system", "system df"),
        ("manifest ls", "ls", "lade manifest", ""),
        ("manifest pull x", "pull", "lade manifest", ""),
        (
            "manifest insepct x",
            "insepct",
            "lade manifest",
            "manifest inspect",
        ),
        ("zzzzzz", "zzzzzz", "lade", ""),
    ] {
        let message = format!("{word:?} is not a command of {group}");
        let hint = if meant.is_empty() {
            format!("see {group} --help")
        } else {
            format!("did you mean `lade {meant}`?")
        };
        check(line, &message, Some(&hint), 1);
    }
}

#[test]
fn commands_of_docker_that_are_missing_say_so() {
    check(
        "ps -a",
        "lade ps is not there yet: containers live only as long as the command that runs them",
        Some("`lade run` runs a container in the foreground and cleans up behind it"),
        1,
    );
    check(
        "image build .",
        "lade image build is not there yet: images are not built here",
        Some("`lade load` and `lade import` take images that other programs made"),
        1,
    );
    check(
        "swarm init",
        "lade swarm is not part of lade: lade knows one host only",
        Some("`lade run` runs a container in the foreground and cleans up behind it"),
        1,
    );
}

#[test]
fn an_option_that_is_not_one_is_answered_by_the_near_one() {
    let cases = [
        (
            "images --digest",
            "unknown flag: --digest",
            "did you mean --digests? see lade images --help",
        ),
        (
            "image ls --fromat x",
            "unknown flag: --fromat",
            "did you mean --format? see lade image ls --help",
        ),
        (
            "images --zzz=1",
            "unknown flag: --zzz",
            "see lade images --help",
        ),
        ("images -z", "unknown flag: -z", "see lade images --help"),
        (
            "--data-rot /x images",
            "unknown flag: --data-rot",
            "did you mean --data-root? see lade --help",
        ),
        (
            "run --ti x",
            "unknown flag: --ti",
            "did you mean -ti? see lade run --help",
        ),
        (
            "run --entrypiont x y",
            "unknown flag: --entrypiont",
            "did you mean --entrypoint? see lade run --help",
        ),
    ];
    for (line, message, hint) in cases {
        check(line, message, Some(hint), 125);
    }
}

#[test]
fn an_option_of_lade_itself_goes_before_the_command() {
    for (line, flag, meant) in [
        ("pull --debug x", "--debug", "--debug pull"),
        ("images -D", "-D", "-D images"),
        (
            "images --data-root X",
            "--data-root",
            "--data-root X images",
        ),
        (
            "--data-root Y images --data-root X",
            "--data-root",
            "--data-root X images",
        ),
        (
            "image ls --data-root=X",
            "--data-root",
            "--data-root=X image ls",
        ),
    ] {
        let message = format!("unknown flag: {flag}");
        let hint = format!("{flag} goes before the command: lade {meant}");
        check(line, &message, Some(&hint), 125);
    }
}

#[test]
fn options_of_docker_that_are_missing_say_so() {
    let network = "is not there yet: a container has the host's network or none";
    let choose = Some("--network host or --network none");
    check(
        "run -p 80:80 x",
        &format!("lade run: -p {network}"),
        choose,
        125,
    );
    check(
        "run --publish=80:80 x",
        &format!("lade run: --publish {network}"),
        choose,
        125,
    );
    check(
        "run -itP x",
        &format!("lade run: -P {network}"),
        choose,
        125,
    );
    let host = "is not part of lade: lade knows one host only";
    let root = Some("`lade --data-root DIR` uses other images");
    for (line, flag) in [
        ("-H tcp://x images", "-H"),
        ("--host=tcp://x images", "--host"),
        ("-c x ps", "-c"),
        ("--context x ps", "--context"),
        ("--tlsverify ps", "--tlsverify"),
    ] {
        check(line, &format!("lade: {flag} {host}"), root, 125);
    }
    check(
        "-l debug images",
        "lade: -l is not known: errors and warnings are always said",
        Some("`lade --debug` says more"),
        125,
    );
    check(
        "version --kubeconfig x",
        "lade version: --kubeconfig is not known: there is no Kubernetes here",
        None,
        125,
    );
}

#[test]
fn arguments_are_counted() {
    check(
        "pull",
        "lade pull needs NAME[:TAG|@DIGEST]",
        Some("usage: lade pull [OPTIONS] <NAME[:TAG|@DIGEST]>; see lade pull --help"),
        1,
    );
    check(
        "tag a",
        "lade tag needs TARGET_IMAGE[:TAG]",
        Some("usage: lade tag <SOURCE_IMAGE[:TAG]> <TARGET_IMAGE[:TAG]>; see lade tag --help"),
        1,
    );
    check(
        "images a b",
        "lade images takes no argument \"b\"",
        Some("usage: lade images [OPTIONS] [REPOSITORY[:TAG]]; see lade images --help"),
        1,
    );
    check(
        "run",
        "lade run needs IMAGE",
        Some("usage: lade run [OPTIONS] <IMAGE> [COMMAND]...; see lade run --help"),
        125,
    );
    check(
        "search --limit many x",
        "invalid argument \"many\" for --limit: not a whole number that is in range",
        Some("usage: lade search [OPTIONS] <TERM>; see lade search --help"),
        1,
    );
    check(
        "completion csh",
        "invalid argument \"csh\" for <SHELL>: bash, zsh and fish are known",
        Some("usage: lade completion <SHELL>; see lade completion --help"),
        1,
    );
    check(
        "images --format",
        "flag needs an argument: --format",
        None,
        125,
    );
}

#[test]
fn words_are_near_when_little_differs() {
    for (a, b, far) in [
        ("", "", 0),
        ("a", "", 1),
        ("pull", "push", 2),
        ("imgae", "image", 1),
        ("kitten", "sitting", 3),
        ("ü", "u", 1),
    ] {
        assert_eq!(distance(a, b), far, "{a} {b}");
    }
    assert_eq!(near("a", ["b", "c"]), None);
    assert_eq!(near("pull", ["push", "pull"]), Some("pull"));
    assert_eq!(near("--quite", ["--quiet", "--all"]), Some("--quiet"));
}
