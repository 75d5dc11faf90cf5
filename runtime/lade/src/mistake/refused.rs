//! Docker's options that are refused, each with the reason.

/// One option, of one command.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The command, by its shortest name.
    pub(crate) command: &'static str,
    pub(crate) flag: &'static str,
    pub(crate) letter: Option<char>,
    /// What to say after the option's name.
    pub(crate) why: &'static str,
    /// What to do instead.
    pub(crate) instead: Option<&'static str>,
}

const fn row(
    command: &'static str,
    flag: &'static str,
    why: &'static str,
    instead: Option<&'static str>,
) -> Refused {
    Refused {
        command,
        flag,
        letter: None,
        why,
        instead,
    }
}

const fn short(letter: char, row: Refused) -> Refused {
    Refused {
        letter: Some(letter),
        ..row
    }
}

const fn run(flag: &'static str, why: &'static str) -> Refused {
    row("run", flag, why, None)
}

const BACKGROUND: &str = "is not there yet: a container lives as long as the command that runs it";
const SHELL: Option<&str> = Some("a shell does it: lade run ... &");
const HEALTH: &str = "is not there yet: nobody asks a container in the foreground how it is";
const LIMITS: &str = "is not there yet: a container has no limits of its own";
const NETWORK: &str = "is not there yet: a container has the host's network or none";
const CHOOSE: Option<&str> = Some("--network host or --network none");
const FILES: &str =
    "is not there yet: a container sees its image's files and nothing of the host's";
const RIGHTS: &str = "is not there yet: every container has the same rights";
const DEVICES: &str = "is not there yet: a container has the usual devices only";
const LOGS: &str = "is not there yet: output goes to where `lade run` was called";
const OTHERS: &str = "is not there yet: there are no other containers to name";
const NAMESPACES: &str = "is not there yet: a container has namespaces of its own";

/// All of them. What is here is no option of ours, and the other way round: a test compares both with docker's own list.
pub(crate) const TABLE: &[Refused] = &[
    row(
        "version",
        "--kubeconfig",
        "is not known: there is no Kubernetes here",
        None,
    ),
    row("run", "--add-host", NETWORK, CHOOSE),
    short(
        'a',
        run(
            "--attach",
            "is not there yet: standard output and errors are always attached, input with -i",
        ),
    ),
    run("--blkio-weight", LIMITS),
    run("--blkio-weight-device", LIMITS),
    run("--cap-add", RIGHTS),
    run("--cap-drop", RIGHTS),
    run("--cgroup-parent", LIMITS),
    run("--cgroupns", NAMESPACES),
    run("--cidfile", BACKGROUND),
    run("--cpu-period", LIMITS),
    run("--cpu-quota", LIMITS),
    run("--cpu-rt-period", LIMITS),
    run("--cpu-rt-runtime", LIMITS),
    short('c', run("--cpu-shares", LIMITS)),
    run("--cpus", LIMITS),
    run("--cpuset-cpus", LIMITS),
    run("--cpuset-mems", LIMITS),
    short('d', row("run", "--detach", BACKGROUND, SHELL)),
    run("--detach-keys", BACKGROUND),
    run("--device", DEVICES),
    run("--device-cgroup-rule", DEVICES),
    run("--device-read-bps", LIMITS),
    run("--device-read-iops", LIMITS),
    run("--device-write-bps", LIMITS),
    run("--device-write-iops", LIMITS),
    row("run", "--dns", NETWORK, CHOOSE),
    row("run", "--dns-option", NETWORK, CHOOSE),
    row("run", "--dns-search", NETWORK, CHOOSE),
    run("--domainname", NAMESPACES),
    row("run", "--expose", NETWORK, CHOOSE),
    run("--gpus", DEVICES),
    run("--group-add", RIGHTS),
    run("--health-cmd", HEALTH),
    run("--health-interval", HEALTH),
    run("--health-retries", HEALTH),
    run("--health-start-period", HEALTH),
    run("--health-timeout", HEALTH),
    run(
        "--init",
        "is not there yet: the first process is the image's own",
    ),
    row("run", "--ip", NETWORK, CHOOSE),
    row("run", "--ip6", NETWORK, CHOOSE),
    run("--ipc", NAMESPACES),
    run("--isolation", "is for Windows"),
    run(
        "--kernel-memory",
        "is obsolete: kernels no longer know this limit",
    ),
    short('l', run("--label", BACKGROUND)),
    run("--label-file", BACKGROUND),
    run("--link", OTHERS),
    row("run", "--link-local-ip", NETWORK, CHOOSE),
    run("--log-driver", LOGS),
    run("--log-opt", LOGS),
    row("run", "--mac-address", NETWORK, CHOOSE),
    short('m', run("--memory", LIMITS)),
    run("--memory-reservation", LIMITS),
    run("--memory-swap", LIMITS),
    run("--memory-swappiness", LIMITS),
    run("--mount", FILES),
    run("--name", BACKGROUND),
    row("run", "--network-alias", NETWORK, CHOOSE),
    run("--no-healthcheck", HEALTH),
    run("--oom-kill-disable", LIMITS),
    run("--oom-score-adj", LIMITS),
    run("--pid", NAMESPACES),
    run("--pids-limit", LIMITS),
    run("--privileged", RIGHTS),
    short('p', row("run", "--publish", NETWORK, CHOOSE)),
    short('P', row("run", "--publish-all", NETWORK, CHOOSE)),
    run(
        "--read-only",
        "is not there yet: a container writes into a layer of its own, which goes away with it",
    ),
    run("--restart", BACKGROUND),
    run("--security-opt", RIGHTS),
    run("--shm-size", LIMITS),
    run("--stop-signal", BACKGROUND),
    run("--stop-timeout", BACKGROUND),
    run("--storage-opt", LIMITS),
    run("--sysctl", NAMESPACES),
    run("--tmpfs", FILES),
    run("--ulimit", LIMITS),
    run("--userns", NAMESPACES),
    run("--uts", NAMESPACES),
    short('v', run("--volume", FILES)),
    run("--volume-driver", FILES),
    run("--volumes-from", OTHERS),
];

const ONE_HOST: &str = "is not part of lade: lade knows one host only";
const OTHER_ROOT: Option<&str> = Some("`lade --data-root DIR` uses other images");

/// Docker's options before the command. Its own list, by which the table above is measured, has those of commands only.
const BEFORE: &[Refused] = &[
    short('c', row("", "--context", ONE_HOST, OTHER_ROOT)),
    short('H', row("", "--host", ONE_HOST, OTHER_ROOT)),
    short(
        'l',
        row(
            "",
            "--log-level",
            "is not known: errors and warnings are always said",
            Some("`lade --debug` says more"),
        ),
    ),
    row("", "--tls", ONE_HOST, OTHER_ROOT),
    row("", "--tlscacert", ONE_HOST, OTHER_ROOT),
    row("", "--tlscert", ONE_HOST, OTHER_ROOT),
    row("", "--tlskey", ONE_HOST, OTHER_ROOT),
    row("", "--tlsverify", ONE_HOST, OTHER_ROOT),
];

/// Returns why an option of a command is refused, if it is one of these.
pub(super) fn find(path: &[String], flag: &str) -> Option<&'static Refused> {
    let command = path.last().map(String::as_str).unwrap_or_default();
    TABLE.iter().chain(BEFORE).find(|row| {
        let letter = || {
            let mut letters = flag.strip_prefix('-')?.chars();
            Some(letters.next() == row.letter && row.letter.is_some())
        };
        row.command == command
            && (row.flag == flag || (!flag.starts_with("--") && letter() == Some(true)))
    })
}
