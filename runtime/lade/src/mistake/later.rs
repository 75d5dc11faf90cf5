//! Docker's other commands: what is missing for them, and what can be done meanwhile.

const BACKGROUND: &str = "containers live only as long as the command that runs them";
const FOREGROUND: &str = "`lade run` runs a container in the foreground and cleans up behind it";
const BUILD: &str = "images are not built here";
const MADE: &str = "`lade load` and `lade import` take images that other programs made";
const NETWORK: &str = "containers have the host's network or none";
const CHOOSE: &str = "`lade run --network host` or `--network none`";
const VOLUME: &str = "volumes are not kept";
const CLUSTER: &str = "lade knows one host only";

/// Group (empty for none), command, what is missing, what to do.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("", "attach", BACKGROUND, FOREGROUND),
    ("", "build", BUILD, MADE),
    ("", "builder", BUILD, MADE),
    ("", "buildx", BUILD, MADE),
    ("", "commit", BACKGROUND, MADE),
    (
        "",
        "compose",
        "several containers at a time are not run",
        FOREGROUND,
    ),
    ("", "config", CLUSTER, "options of lade itself: lade --help"),
    ("", "container", BACKGROUND, FOREGROUND),
    (
        "",
        "context",
        CLUSTER,
        "`lade --data-root DIR` uses other images",
    ),
    (
        "",
        "cp",
        BACKGROUND,
        "`lade image mount` shows an image's files",
    ),
    ("", "create", BACKGROUND, FOREGROUND),
    (
        "",
        "diff",
        BACKGROUND,
        "`lade image verify` compares an image's files with its layers",
    ),
    (
        "",
        "events",
        "nothing is recorded for it",
        "`lade --debug` says more about what a command does",
    ),
    ("", "exec", BACKGROUND, FOREGROUND),
    (
        "",
        "export",
        BACKGROUND,
        "`lade image mount` shows an image's files, for tar",
    ),
    (
        "",
        "kill",
        BACKGROUND,
        "a signal to `lade run` reaches its container",
    ),
    (
        "",
        "logs",
        BACKGROUND,
        "`lade run` writes to the terminal that it was called from",
    ),
    ("", "network", NETWORK, CHOOSE),
    ("", "node", CLUSTER, FOREGROUND),
    ("", "pause", BACKGROUND, FOREGROUND),
    ("", "plugin", "there are no plugins", "lade --help"),
    ("", "port", NETWORK, CHOOSE),
    ("", "ps", BACKGROUND, FOREGROUND),
    ("", "rename", BACKGROUND, FOREGROUND),
    ("", "restart", BACKGROUND, FOREGROUND),
    ("", "rm", BACKGROUND, "`lade rmi` removes images"),
    ("", "secret", CLUSTER, "`lade run --env-file FILE`"),
    ("", "service", CLUSTER, FOREGROUND),
    ("", "stack", CLUSTER, FOREGROUND),
    ("", "start", BACKGROUND, FOREGROUND),
    ("", "stats", BACKGROUND, "`lade system df` shows disk usage"),
    (
        "",
        "stop",
        BACKGROUND,
        "a signal to `lade run` reaches its container",
    ),
    ("", "swarm", CLUSTER, FOREGROUND),
    ("", "top", BACKGROUND, FOREGROUND),
    (
        "",
        "trust",
        "signatures are not checked, digests always are",
        "`lade pull NAME@DIGEST` takes exactly one content",
    ),
    ("", "unpause", BACKGROUND, FOREGROUND),
    ("", "update", BACKGROUND, FOREGROUND),
    ("", "volume", VOLUME, FOREGROUND),
    (
        "",
        "wait",
        BACKGROUND,
        "`lade run` ends with its container's exit code",
    ),
    ("image", "build", BUILD, MADE),
    (
        "system",
        "events",
        "nothing is recorded for it",
        "`lade --debug` says more about what a command does",
    ),
    (
        "system",
        "prune",
        "there are no stopped containers, networks or volumes",
        "`lade image prune` removes unused images",
    ),
];

/// Returns what to say of a command of docker's, and what to do instead.
pub(super) fn find(path: &[String], word: &str) -> Option<(String, &'static str)> {
    let group = path.join(" ");
    let (_, _, why, instead) = TABLE.iter().find(|row| row.0 == group && row.1 == word)?;
    let when = if *why == CLUSTER {
        "is not part of lade"
    } else {
        "is not there yet"
    };
    Some((format!("{when}: {why}"), instead))
}
