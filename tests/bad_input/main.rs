//! Bad inputs: each is one line that names the JSON path or the object, the right exit code, and a host as before.

mod annotations;
mod config;
mod host;
mod kernel;
mod namespaces;
mod resources;
mod scheduling;
mod words;

use orlop_tests::{Bundle, Env, orlop};

/// One attempt to create a container, to be spoiled by a case.
struct Try<'a> {
    env: &'a Env,
    bundle: Bundle,
    id: String,
    /// What config.json holds instead of the bundle's config.
    raw: Option<String>,
    verb: &'static str,
    globals: Vec<String>,
    flags: Vec<String>,
    /// The user who calls; root if None.
    user: Option<u32>,
    undo: Vec<Box<dyn FnOnce() + 'a>>,
}

impl Try<'_> {
    /// Sets a value of config.json.
    fn set(&mut self, pointer: &str, value: serde_json::Value) {
        self.bundle.set(pointer, value);
    }

    /// Adds flags of the verb.
    fn flags(&mut self, flags: &[&str]) {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
    }
}

/// A bad input.
struct Case {
    name: &'static str,
    /// What the one line on stderr must contain; `a|b` is either.
    wants: &'static [&'static str],
    spoil: fn(&mut Try<'_>),
}

/// Shorthand for a row of a table.
const fn case(name: &'static str, wants: &'static [&'static str], spoil: fn(&mut Try<'_>)) -> Case {
    Case { name, wants, spoil }
}

/// Runs every case and fails with all that went wrong.
#[track_caller]
fn check(cases: &[Case]) {
    let env = Env::new();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| attempt(&env, case))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} bad inputs:\n\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n\n")
    );
}

/// Runs one case; returns what went wrong.
fn attempt(env: &Env, case: &Case) -> Option<String> {
    let mut bundle = env.bundle();
    bundle.args(&["true"]);
    let (id, undo) = (env.id(), Vec::new());
    let mut bad = Try {
        env,
        bundle,
        id,
        raw: None,
        verb: "create",
        globals: Vec::new(),
        flags: Vec::new(),
        user: None,
        undo,
    };
    (case.spoil)(&mut bad);
    bad.bundle.write();
    if let Some(raw) = &bad.raw {
        std::fs::write(bad.bundle.dir.join("config.json"), raw).ok()?;
    }
    let before = env.world();
    let mut command = if bad.globals.iter().any(|flag| flag == "--root") {
        env.cmd(orlop())
    } else {
        env.orlop(&[])
    };
    command = command.args(&bad.globals).arg(bad.verb);
    if !bad.flags.iter().any(|flag| flag == "--bundle") {
        command = command.arg("--bundle").arg(&bad.bundle.dir);
    }
    command = command.args(&bad.flags).arg(&bad.id);
    if let Some(user) = bad.user {
        use std::os::unix::process::CommandExt;
        command = command.with(|command| {
            command.uid(user).gid(user);
        });
    }
    let done = command.run();
    let left = env.left_since(&before);
    let mut wrong: Vec<String> = done.complaint(1, case.wants).into_iter().collect();
    if !left.is_empty() {
        wrong.push(format!(
            "the host is not as before:\n    {}",
            left.join("\n    ")
        ));
        // The next case starts clean.
        env.orlop(&["delete", "--force", &bad.id]).run();
    }
    for undo in bad.undo {
        undo();
    }
    (!wrong.is_empty()).then(|| format!("## {}: {}\n{done}", case.name, wrong.join("\n  ")))
}
