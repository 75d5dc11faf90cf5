//! A command that a test runs: its output goes to files, so that a container which outlives the runtime blocks nothing.

use crate::wait::PATIENCE;
use crate::{Must, patient, soon};
use serde_json::Value;
use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A command before it is started.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    stdin: Option<Vec<u8>>,
    limit: Duration,
    out: PathBuf,
    own_stdio: bool,
}

impl Cmd {
    /// Prepares `program`; its output files are made in `dir`.
    pub fn new(program: impl AsRef<OsStr>, dir: &Path) -> Self {
        let mut command = Command::new(program);
        command.current_dir(dir).stdin(Stdio::null());
        let out = dir.join(format!("out.{}", SERIAL.fetch_add(1, Ordering::Relaxed)));
        Self {
            command,
            stdin: None,
            limit: patient(Duration::from_secs(30)),
            out,
            own_stdio: false,
        }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Puts another program in front, which gets `args` and then this command's line.
    #[must_use]
    pub fn before(mut self, program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut outer = Command::new(program);
        outer.args(args).arg(self.command.get_program());
        outer.args(self.command.get_args()).stdin(Stdio::null());
        if let Some(dir) = self.command.get_current_dir() {
            outer.current_dir(dir);
        }
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        self.command = outer;
        self
    }

    /// Gives the command another time than half a minute; `patient` stretches it.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = patient(limit);
        self
    }

    /// Changes what only std's command or `sys` can express.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Command)) -> Self {
        edit(&mut self.command);
        self
    }

    /// Connects the command to a terminal; its output is read there.
    #[must_use]
    pub fn on(mut self, terminal: &crate::Pty) -> Self {
        self.own_stdio = true;
        terminal.attach(&mut self.command);
        self
    }

    /// Connects the command's stdout to something else than a file.
    #[must_use]
    pub fn to(mut self, stdout: impl Into<Stdio>) -> Self {
        self.own_stdio = true;
        self.command.stdout(stdout).stderr(Stdio::null());
        self
    }

    /// Starts the command.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        let (out, err) = (
            self.out.with_added_extension("stdout"),
            self.out.with_added_extension("stderr"),
        );
        for path in [&out, &err] {
            File::create(path).must(path.display());
        }
        if !self.own_stdio {
            let open = |path: &Path| File::options().append(true).open(path).must(path.display());
            self.command.stdout(open(&out)).stderr(open(&err));
        }
        let what = describe(&self.command);
        let mut child = self.command.spawn().must(&what);
        if let Some(bytes) = self.stdin {
            let mut pipe = child.stdin.take().must("the pipe to stdin");
            // A command that does not read its stdin may close it early.
            pipe.write_all(&bytes).unwrap_or_default();
        }
        Running {
            child,
            what,
            out,
            err,
            limit: self.limit,
        }
    }

    /// Runs the command to its end.
    #[track_caller]
    pub fn run(self) -> Done {
        self.spawn().wait()
    }
}

fn describe(command: &Command) -> String {
    let mut text = String::new();
    if let Some(dir) = command.get_current_dir() {
        text += &format!("cd {}; ", dir.display());
    }
    for (name, value) in command.get_envs() {
        text += &format!(
            "{}={} ",
            name.display(),
            value.unwrap_or_default().display()
        );
    }
    text += &command.get_program().display().to_string();
    for arg in command.get_args() {
        let arg = arg.display().to_string();
        let plain = !arg.is_empty()
            && !arg.contains([' ', '"', '\'', '\n', '$', ';', '<', '>', '&', '|', '*']);
        text += &if plain {
            format!(" {arg}")
        } else {
            format!(" '{}'", arg.replace('\'', r"'\''"))
        };
    }
    text
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    pub child: Child,
    what: String,
    out: PathBuf,
    err: PathBuf,
    limit: Duration,
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).must("a pid")
    }

    /// What the command has written to stdout so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).must(self.out.display())).into_owned()
    }

    /// Waits until stdout contains `text`.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let seen = soon(PATIENCE, || self.stdout().contains(text).then_some(()));
        let (out, err) = (
            self.stdout(),
            fs::read_to_string(&self.err).unwrap_or_default(),
        );
        assert!(
            seen.is_some(),
            "{text:?} did not appear\ncommand: {}\nstdout:\n{out}\nstderr:\n{err}",
            self.what
        );
    }

    /// Waits for the end; a command that does not end is killed and fails the test.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        let end = Instant::now() + self.limit;
        let mut pause = Duration::from_micros(200);
        let status = loop {
            if let Some(status) = self.child.try_wait().must(&self.what) {
                break status;
            }
            if Instant::now() > end {
                let threads = threads(self.pid());
                self.child.kill().must("kill what hangs");
                let status = self.child.wait().must(&self.what);
                let limit = self.limit;
                let done = self.done(status);
                panic!("did not end within {limit:?}\n{threads}{done}");
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(5));
        };
        self.done(status)
    }

    fn done(self, status: std::process::ExitStatus) -> Done {
        let rc = status
            .code()
            .unwrap_or_else(|| -status.signal().unwrap_or(0));
        Done {
            what: self.what,
            rc,
            out: self.out,
            err: self.err,
        }
    }
}

/// What each thread of a process waits for, a line each.
fn threads(pid: i32) -> String {
    let dir = format!("/proc/{pid}/task");
    let names = fs::read_dir(&dir).into_iter().flatten().flatten();
    let told = names.map(|name| {
        let said = |file| fs::read_to_string(name.path().join(file)).unwrap_or_default();
        let files = ["comm", "wchan", "syscall"].map(said);
        format!(
            "thread {}\n",
            files.each_ref().map(|text| text.trim()).join(" ")
        )
    });
    told.collect()
}

/// A command that has ended.
#[derive(Debug)]
pub struct Done {
    what: String,
    /// The exit code, or minus the signal.
    pub rc: i32,
    out: PathBuf,
    err: PathBuf,
}

impl Done {
    /// What stdout holds by now: a container that lives on may still add to it.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).must(self.out.display())).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).must(self.err.display())).into_owned()
    }

    /// Demands success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Demands an exit code.
    #[track_caller]
    pub fn exits(self, rc: i32) -> Self {
        assert!(self.rc == rc, "wanted rc {rc}\n{self}");
        self
    }

    /// Demands exactly this on stdout (blanks around it do not count).
    #[track_caller]
    pub fn prints(self, wanted: &str) -> Self {
        assert!(
            self.stdout().trim() == wanted.trim(),
            "wanted stdout {wanted:?}\n{self}"
        );
        self
    }

    /// Demands failure with `rc` and one line on stderr that contains every one of `parts`; `a|b` is either of the two.
    #[track_caller]
    pub fn refused(self, rc: i32, parts: &[&str]) -> Self {
        if let Some(complaint) = self.complaint(rc, parts) {
            panic!("{complaint}\n{self}");
        }
        self
    }

    /// Returns what is wrong with a refusal, if anything is.
    pub fn complaint(&self, rc: i32, parts: &[&str]) -> Option<String> {
        if self.rc != rc {
            return Some(format!("wanted rc {rc}"));
        }
        let text = self.stderr();
        if !text.ends_with('\n') || text.lines().count() != 1 {
            return Some("wanted one line on stderr".to_owned());
        }
        // In a text log on stderr the message is quoted.
        let text = text.replace("\\\"", "\"");
        let missing = parts
            .iter()
            .find(|part| !part.split('|').any(|one| text.contains(one)));
        missing.map(|part| format!("wanted {part:?} on stderr"))
    }

    /// Returns stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).must(format!("JSON on stdout\n{self}"))
    }
}

impl Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command: {}\nrc: {}", self.what, self.rc)?;
        writeln!(
            f,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout().trim_end(),
            self.stderr().trim_end()
        )?;
        write!(
            f,
            "directory: {}",
            self.out.parent().unwrap_or(&self.out).display()
        )
    }
}
