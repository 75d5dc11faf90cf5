//! What help says, and what a line that cannot be read is answered.

use orlop_tests::Env;

#[test]
fn help_is_for_every_verb() {
    let env = Env::new();
    for args in [&["--help"][..], &["-h"], &["help"]] {
        let text = env.orlop(args).run().ok().stdout();
        for verb in [
            "create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause",
            "resume", "spec", "features", "plan",
        ] {
            assert!(text.contains(verb), "{verb} is not in the help:\n{text}");
        }
    }
    for verb in [
        "create", "start", "state", "kill", "delete", "run", "exec", "list", "ps", "pause",
        "resume", "spec", "features",
    ] {
        let text = env.orlop(&[verb, "--help"]).run().ok().stdout();
        assert!(text.contains(verb), "{text}");
        // As many operands as it takes.
        assert!(!text.contains("[ID"), "{text}");
        env.orlop(&["help", verb])
            .run()
            .ok()
            .prints(text.trim_end());
    }
    let unknown = env
        .orlop(&["nosuch"])
        .run()
        .refused(1, &["\"nosuch\" is no command"]);
    let help = env.orlop(&["help", "nosuch"]).run();
    assert_eq!(help.refused(1, &[]).stderr(), unknown.stderr());
    // What old callers send is accepted, so it is told of too.
    for (verb, option) in [
        ("kill", "-a, --all "),
        ("update", "--kernel-memory <SIZE>"),
        ("update", "--kernel-memory-tcp <SIZE>"),
    ] {
        let text = env.orlop(&[verb, "--help"]).run().ok().stdout();
        assert!(text.contains(option), "{option}: {text}");
    }
    let text = env.orlop(&["--help"]).run().ok().stdout();
    for option in ["--criu PATH ", "-v, --version ", "-h, --help "] {
        assert!(text.contains(option), "{option}: {text}");
    }
}

#[test]
fn a_line_that_cannot_be_read_says_where_help_is() {
    let env = Env::new();
    for (line, wanted) in [
        (&["run", "--nope", "x"][..], "; see orlop run --help"),
        (&["exec", "-it", "x", "sh"], "; see orlop exec --help"),
        (
            &["create", "--preserve-fds", "many", "x"],
            "; see orlop create --help",
        ),
        (&["plan", "--bundle", "a", "b"], "; see orlop plan --help"),
        (&["--nope"], "'--nope' found; see orlop --help"),
        (
            &["run", "--root", "/x", "id"],
            "run: --root goes before the command: orlop --root ... run",
        ),
        (&["state", "-root=/x", "id"], "--root goes before"),
        (&["list", "--debug"], "--debug goes before"),
        (&["run", "--rot", "id"], "'--rot' found"),
        (
            &["kill", "-s", "KILL", "x"],
            "kill: \"-s\" is taken for the id; use kill ID [SIGNAL]",
        ),
        (
            &["kill", "-KILL", "x"],
            "kill: \"-KILL\" is taken for the id; use kill ID [SIGNAL]",
        ),
        (
            &["kill", "x", "-s", "KILL"],
            "kill: \"-s\" is taken for the signal; use kill ID [SIGNAL]",
        ),
        (&["kill", "x", "TERM", "y"], "\"y\" follows the signal"),
        (&["kill", "x", "99"], "\"99\": use a number from 0 to 64"),
        (&["kill", "x", "FOO"], "\"FOO\": use a number from 0 to 64"),
    ] {
        env.orlop(line).run().refused(1, &[wanted]);
    }
}
