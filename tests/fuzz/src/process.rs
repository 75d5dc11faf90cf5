//! process.json -> the process that `exec` starts.

use std::sync::LazyLock;

use container::exec::{Changes, What, configured};
use container::plan::{self, Base, CapabilitySets, Common, Process};
use container::{Refusal, bundle};
use oci_spec::runtime as oci;
use sys::process::Namespaces;

use crate::is_message;
use crate::machine::host;

/// The process of the container that is entered.
static OWN: LazyLock<oci::Process> = LazyLock::new(|| {
    let text = br#"{
        "cwd": "/", "args": ["sh"], "env": ["PATH=/bin", "A=b"], "user": {"uid": 1, "gid": 2, "additionalGids": [3]},
        "capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"]},
        "apparmorProfile": "own", "selinuxLabel": "a:b:c", "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 3}
    }"#;
    bundle::parse_process(text, "own").expect("a process")
});

pub(crate) fn run(bytes: &[u8]) {
    let parse = || bundle::parse_process(bytes, "process.json");
    let (given, again) = match (parse(), parse()) {
        (Ok(given), Ok(again)) => (given, again),
        (Err(error), Err(_)) => return is_message(&error.to_string()),
        _ => panic!("the same text is a process and is none"),
    };
    let written = serde_json::to_vec(&given).expect("a process as JSON");
    let read = bundle::parse_process(&written, "printed").expect("what was printed");
    let planned = plan(&given, bytes.len());
    assert_eq!(planned, plan(&again, bytes.len()));
    assert_eq!(planned, plan(&read, bytes.len()), "printed");
    if let Ok(process) = &planned {
        check(process);
    }
    changed(&given, bytes.len());
}

fn plan(process: &oci::Process, number: usize) -> Result<Process, Refusal> {
    let what = What::Process(Box::new(process.clone()));
    let whole = configured(&what, Some(&OWN)).expect("a process needs no more");
    // An absent profile must not mean an unconfined process.
    let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    assert!(named(whole.apparmor_profile()) && named(whole.selinux_label()));
    of(&whole, number)
}

fn of(process: &oci::Process, number: usize) -> Result<Process, Refusal> {
    let (host, _) = host(number);
    let base = Base {
        at: "process",
        host: &host,
        user_namespace: host.namespaces.contains(Namespaces::TIME),
        seccomp: None,
        common: Common::default(),
        extra_env: Vec::new(),
        keep_groups: number % 7 == 3,
    };
    plan::process(process, base, &mut Vec::new())
}

/// The same wishes as options: no capability that an option names gets into the sets that survive an exec.
fn changed(given: &oci::Process, number: usize) {
    let text = |text: &Option<String>| text.clone();
    let changes = Changes {
        args: given.args().clone().unwrap_or_default(),
        cwd: Some(given.cwd().clone()),
        env: given.env().clone().unwrap_or_default(),
        tty: given.terminal().unwrap_or_default(),
        user: Some((given.user().uid(), Some(given.user().gid()))),
        additional_gids: given.user().additional_gids().clone().unwrap_or_default(),
        apparmor: text(given.apparmor_profile()),
        selinux: text(given.selinux_label()),
        no_new_privileges: given.no_new_privileges().unwrap_or_default(),
        // As good as any list of words.
        capabilities: given.args().clone().unwrap_or_default(),
    };
    let Ok(process) = configured(&What::Changed(changes), Some(&OWN)) else {
        return;
    };
    if let Ok(process) = of(&process, number) {
        check(&process);
        let own = of(&OWN, number).expect("the container's own process");
        let survive = |sets: &CapabilitySets| (sets.inheritable, sets.ambient);
        assert_eq!(survive(&process.capabilities), survive(&own.capabilities));
    }
}

/// Checks what holds for every process of a plan.
pub(crate) fn check(process: &Process) {
    assert!(process.args.first().is_some_and(|word| !word.is_empty()));
    for word in process.args.iter().chain(&process.env) {
        assert!(!word.contains('\0'), "{word:?}");
    }
    for variable in &process.env {
        assert!(
            variable
                .split_once('=')
                .is_some_and(|(name, _)| !name.is_empty())
        );
    }
    assert!(process.cwd.is_absolute());
    // The kernel takes this one for "as it is".
    assert!(process.user.uid != u32::MAX && process.user.gid != u32::MAX);
    assert!(
        !process.user.groups.contains(&u32::MAX),
        "{:?}",
        process.user
    );
    assert!(
        process
            .oom_score_adj
            .is_none_or(|score| (-1000..=1000).contains(&score))
    );
    assert!(process.rlimits.iter().all(|limit| limit.soft <= limit.hard));
    let io = process.scheduling.io_priority.as_ref();
    assert!(io.is_none_or(|io| io.level < 8));
}
