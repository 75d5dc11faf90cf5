//! Stands in for the runtime, without one of its features: `without WHAT RUNTIME [ARG]...`.
//!
//! WHAT is a line of tests/rows: the feature is taken out of what the runtime is told, or of what it answers, so that a test which shows the
//! feature has to fail (`hack/rows`). `$WITHOUT_CALLED` is the name that the runtime is told to have.
//!
//! | WHAT | the runtime |
//! |---|---|
//! | `nothing` | is as it is |
//! | `field POINTER` | does not see this part of config.json, process.json or update's resources |
//! | `set POINTER JSON` | sees this value where there is another |
//! | `option [VERB] NAME[,NAME] [VALUE]` | does not see the option, with the word behind it if VALUE is said |
//! | `unknown [VERB] NAME[,NAME]` | refuses the option as one that it does not know |
//! | `late-options` | takes what stands behind the id of an exec for options |
//! | `command VERB` | answers success and does nothing |
//! | `refuse POINTER` | refuses a config.json that has this part |
//! | `needs NAME` | refuses to run without this variable of the environment |
//! | `variable NAME` | does not see this variable of the environment |
//! | `call NAME` | gets success from a system call that does nothing |
//! | `ids` | sees a good id in the place of a bad one |
//! | `apart` | gets each limit of `update --resources=-` in a call of its own |
//! | `append OPTION` | has a line's end behind what it wrote to the file that the option names |
//! | `says TEXT => TEXT` | says something else: on its streams, and in the file of `--log` |
//! | `answer POINTER` | lacks this part of its JSON: on its stdout, and in the file of `--log` |
//! | `between` | stays between the caller and the container's process |
//! | `code NUMBER => NUMBER` | ends with another code |
//!
//! A POINTER is RFC 6901's; as a step `*` is every element, `=WORD` the elements that are WORD or begin with `WORD=`, `KEY=VALUE` those
//! with this member.

#![allow(clippy::print_stderr)]

use serde_json::Value;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Global options with a value: the verb comes behind it.
const WITH_VALUE: [&str; 7] = [
    "--root",
    "--log",
    "--log-format",
    "--log-level",
    "--cgroup-manager",
    "--criu",
    "--rootless",
];

/// System calls that may do nothing.
const CALLS: [(&str, i64); 8] = [
    ("close_range", libc::SYS_close_range),
    ("keyctl", libc::SYS_keyctl),
    ("setgroups", libc::SYS_setgroups),
    ("umask", libc::SYS_umask),
    ("setpriority", libc::SYS_setpriority),
    ("chdir", libc::SYS_chdir),
    ("fchdir", libc::SYS_fchdir),
    ("prctl", libc::SYS_prctl),
];

/// A call of the runtime.
struct Call {
    runtime: OsString,
    words: Vec<String>,
    stdin: Option<Vec<u8>>,
    code: Option<(i32, i32)>,
    said: Option<(String, String)>,
    answer: Option<String>,
    append: Option<String>,
}

fn main() {
    let mut words = std::env::args_os().skip(1);
    let (Some(what), Some(runtime)) = (words.next(), words.next()) else {
        end("usage: without WHAT RUNTIME [ARG]...");
    };
    let words = words.map(|word| {
        word.into_string()
            .unwrap_or_else(|_| end("an argument is not UTF-8"))
    });
    let mut call = Call {
        runtime,
        words: words.collect(),
        stdin: None,
        code: None,
        said: None,
        answer: None,
        append: None,
    };
    let what = what.to_string_lossy().into_owned();
    let (kind, rest) = what.split_once(' ').unwrap_or((&what, ""));
    let change = || rest.split_once(" => ").unwrap_or_else(|| end(&what));
    match kind {
        "nothing" => {}
        "field" => call.edit(rest, None),
        "set" => {
            let (pointer, value) = rest.split_once(' ').unwrap_or_else(|| end(&what));
            let value = serde_json::from_str(value).unwrap_or_else(|_| end(&what));
            call.edit(pointer, Some(&value));
        }
        "option" => call.drop_option(rest),
        "unknown" => call.refuse_option(rest),
        "late-options" => call.late_options(),
        "refuse" if call.has(rest) => refuse(rest),
        "needs" if std::env::var_os(rest).is_none() => refuse(rest),
        "refuse" | "needs" => {}
        "between" => call.said = Some(Default::default()),
        "command" if call.verb() == rest => return,
        "command" => {}
        // SAFETY: there is no other thread.
        "variable" => unsafe { std::env::remove_var(rest) },
        "call" => call.do_nothing_in(rest),
        "ids" => call.mend_id(),
        "apart" => return call.apart(),
        "append" => call.append = Some(rest.to_owned()),
        "says" => call.said = Some((change().0.to_owned(), change().1.to_owned())),
        "answer" => call.answer = Some(rest.to_owned()),
        "code" => {
            let number = |text: &str| text.parse().unwrap_or_else(|_| end(&what));
            call.code = Some((number(change().0), number(change().1)));
        }
        _ => end(&format!("{what}: not a way to take something away")),
    }
    call.run();
}

// ---- what the runtime is told ----

impl Call {
    /// Returns where the verb stands.
    fn verb_at(&self) -> usize {
        let mut at = 0;
        while let Some(word) = self.words.get(at).filter(|word| word.starts_with('-')) {
            at += if WITH_VALUE.contains(&word.as_str()) {
                2
            } else {
                1
            };
        }
        at
    }

    fn verb(&self) -> &str {
        self.words.get(self.verb_at()).map_or("", String::as_str)
    }

    /// Returns the value of the last option with one of these names.
    fn value(&self, names: &[&str]) -> Option<String> {
        let mut found = None;
        for (at, word) in self.words.iter().enumerate() {
            for name in names {
                if word == name {
                    found = self.words.get(at + 1).cloned();
                } else if let Some(value) = word
                    .strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix('='))
                {
                    found = Some(value.to_owned());
                }
            }
        }
        found
    }

    /// Returns the places of an option: `[VERB] NAME[,NAME]`. Options of a verb end at the id, which in tests begins with their tag.
    fn places(&self, option: &str) -> Vec<usize> {
        let (verb, names) = option.split_once(' ').unwrap_or(("", option));
        let names: Vec<&str> = names.split(',').collect();
        if !verb.is_empty() && self.verb() != verb {
            return Vec::new();
        }
        let last = self
            .words
            .iter()
            .position(|word| is_id(word))
            .filter(|_| self.verb() == "exec");
        let is_it = |word: &str| {
            names.iter().any(|name| {
                word.strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
            })
        };
        (0..last.unwrap_or(self.words.len()))
            .filter(|at| is_it(&self.words[*at]))
            .collect()
    }

    /// Returns the file of the configuration.
    fn file(&self) -> PathBuf {
        let positional = || {
            let words = self.words.iter().skip(self.verb_at() + 1);
            words
                .clone()
                .find(|word| !word.starts_with('-'))
                .filter(|_| self.verb() == "plan")
                .cloned()
        };
        let bundle = || {
            self.value(&["--bundle", "-b"])
                .or_else(positional)
                .unwrap_or_else(|| ".".to_owned())
        };
        let file = self.value(&["--config", "-f"]).map(PathBuf::from);
        file.unwrap_or_else(|| Path::new(&bundle()).join("config.json"))
    }

    fn has(&self, pointer: &str) -> bool {
        fs::read(self.file()).is_ok_and(|text| edited(&text, pointer, None).is_some())
    }

    fn drop_option(&mut self, option: &str) {
        let (option, with_value) = option
            .strip_suffix(" VALUE")
            .map_or((option, false), |option| (option, true));
        for at in self.places(option).into_iter().rev() {
            let apart = with_value && !self.words[at].contains('=') && at + 1 < self.words.len();
            self.words.drain(at..=at + usize::from(apart));
        }
    }

    fn refuse_option(&self, option: &str) {
        if !self.places(option).is_empty() {
            refuse(option);
        }
    }

    fn late_options(&mut self) {
        if let Some(id) = self
            .words
            .iter()
            .position(|word| is_id(word))
            .filter(|_| self.verb() == "exec")
        {
            let late: Vec<String> = self
                .words
                .extract_if(id.., |word| word.starts_with("--"))
                .collect();
            self.words.splice(id..id, late);
        }
    }

    fn mend_id(&mut self) {
        let bad = |id: &str| {
            matches!(id, "" | "." | "..")
                || !id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte))
        };
        // With the tag of the test, which is the name above its state root, so that it finds what it has to delete.
        let root = self
            .value(&["--root"])
            .map(PathBuf::from)
            .unwrap_or_default();
        let tag = root.parent().and_then(Path::file_name).unwrap_or_default();
        let good = format!("{}-mended", tag.display());
        if let Some(id) = self.words.last_mut().filter(|id| bad(id)) {
            *id = good;
        }
    }

    /// Takes a part of the files that the verb reads away, or replaces it.
    fn edit(&mut self, pointer: &str, value: Option<&Value>) {
        let within = |prefix: &str| pointer.strip_prefix(prefix).map(str::to_owned);
        match self.verb() {
            "create" | "run" | "restore" | "plan" | "checkpoint" => {
                edit_file(&self.file(), pointer, value);
            }
            "exec" => {
                if let (Some(file), Some(pointer)) =
                    (self.value(&["--process", "-p"]), within("/process"))
                {
                    edit_file(Path::new(&file), &pointer, value);
                }
            }
            "update" => match (
                self.value(&["--resources", "-r"]).as_deref(),
                within("/linux/resources"),
            ) {
                (Some("-"), Some(pointer)) => {
                    let mut text = Vec::new();
                    io::stdin()
                        .read_to_end(&mut text)
                        .unwrap_or_else(|why| end(&why.to_string()));
                    self.stdin = Some(edited(&text, &pointer, value).unwrap_or(text));
                }
                (Some(file), Some(pointer)) => edit_file(Path::new(file), &pointer, value),
                _ => {}
            },
            _ => {}
        }
    }

    fn do_nothing_in(&self, name: &str) {
        let call = CALLS.iter().find(|(known, _)| *known == name);
        let (_, number) =
            call.unwrap_or_else(|| end(&format!("{name}: not a call that without knows")));
        if let Err(why) = orlop_tests::sys::answer(0, &[*number], None) {
            end(&format!("the filter: {why}"));
        }
    }
}

fn edit_file(file: &Path, pointer: &str, value: Option<&Value>) {
    // What is not there, or is not JSON, is the test's own doing.
    let Some(text) = fs::read(file)
        .ok()
        .and_then(|text| edited(&text, pointer, value))
    else {
        return;
    };
    let new = file.with_added_extension(format!("without{}", std::process::id()));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, file));
    written.unwrap_or_else(|why| end(&format!("{}: {why}", file.display())));
}

fn edited(text: &[u8], pointer: &str, value: Option<&Value>) -> Option<Vec<u8>> {
    let mut json: Value = serde_json::from_slice(text).ok()?;
    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
    change(&mut json, &steps, value).then(|| json.to_string().into_bytes())
}

/// Takes away what the steps lead to, or puts the value there; tells whether there was anything.
fn change(json: &mut Value, steps: &[&str], value: Option<&Value>) -> bool {
    let Some((step, rest)) = steps.split_first() else {
        return false;
    };
    let matches = |element: &Value| match step.split_once('=') {
        None => *step == "*",
        Some(("", word)) => element
            .as_str()
            .is_some_and(|text| text == word || text.starts_with(&format!("{word}="))),
        Some((key, wanted)) => {
            element[key] == *wanted
                || element[key]
                    .as_bool()
                    .is_some_and(|is| wanted == if is { "true" } else { "false" })
        }
    };
    match (json, value) {
        (Value::Array(list), None) if rest.is_empty() => {
            let before = list.len();
            list.retain(|element| !matches(element));
            list.len() != before
        }
        (Value::Array(list), Some(value)) if rest.is_empty() => {
            let places = list.iter_mut().filter(|element| matches(element));
            places.map(|place| *place = value.clone()).count() > 0
        }
        (Value::Array(list), _) => {
            let inner = list.iter_mut().filter(|element| matches(element));
            inner
                .map(|element| change(element, rest, value))
                .filter(|changed| *changed)
                .count()
                > 0
        }
        (Value::Object(object), _) if *step == "*" && !rest.is_empty() => {
            object
                .values_mut()
                .map(|element| change(element, rest, value))
                .filter(|changed| *changed)
                .count()
                > 0
        }
        (Value::Object(object), None) if rest.is_empty() => object.shift_remove(*step).is_some(),
        (Value::Object(object), Some(value)) if rest.is_empty() => object
            .get_mut(*step)
            .map(|place| *place = value.clone())
            .is_some(),
        (Value::Object(object), _) => object
            .get_mut(*step)
            .is_some_and(|inner| change(inner, rest, value)),
        _ => false,
    }
}

// ---- the runtime, and what it answers ----

impl Call {
    fn command(&self) -> Command {
        let called = std::env::var_os("WITHOUT_CALLED").unwrap_or_else(|| self.runtime.clone());
        let mut command = Command::new(&self.runtime);
        command
            .arg0(called)
            .env_remove("WITHOUT_CALLED")
            .args(&self.words);
        if let Some(text) = &self.stdin {
            command.stdin(holding(text));
        }
        command
    }

    fn run(self) -> ! {
        if self.said.is_none()
            && self.answer.is_none()
            && self.code.is_none()
            && self.append.is_none()
        {
            end(&self.command().exec().to_string());
        }
        let code = if self.said.is_none() && self.answer.is_none() {
            status(&mut self.command())
        } else if self.verb() == "events" && !self.words.iter().any(|word| word == "--stats") {
            self.line_by_line()
        } else {
            self.at_the_end()
        };
        let log = self
            .value(&["--log"])
            .filter(|_| self.said.is_some() || self.answer.is_some());
        if let Some((file, text)) =
            log.and_then(|file| fs::read(&file).ok().map(|text| (file, text)))
        {
            let lines = text
                .split_inclusive(|byte| *byte == b'\n')
                .flat_map(|line| self.changed(line));
            fs::write(&file, lines.collect::<Vec<u8>>())
                .unwrap_or_else(|why| end(&why.to_string()));
        }
        if let Some(file) = self
            .append
            .as_deref()
            .and_then(|option| self.value(&[option]))
        {
            let file = File::options().append(true).open(file);
            file.and_then(|mut file| file.write_all(b"\n"))
                .unwrap_or_default();
        }
        std::process::exit(
            self.code
                .filter(|(from, _)| *from == code)
                .map_or(code, |(_, to)| to),
        );
    }

    /// Runs it with files for its output, since a container keeps what it has inherited. What a container's program says is nobody's answer.
    fn at_the_end(&self) -> i32 {
        let starts = ["create", "run", "exec", "restore", "start"].contains(&self.verb());
        if starts && self.answer.is_some() {
            return status(&mut self.command());
        }
        let (mut out, mut err) = (holding(b""), holding(b""));
        let copy =
            |file: &File| Stdio::from(file.try_clone().unwrap_or_else(|why| end(&why.to_string())));
        let mut command = self.command();
        if !starts {
            command.stdout(copy(&out));
        }
        let code = status(command.stderr(copy(&err)));
        let (out, err) = (self.changed(&all(&mut out)), self.changed(&all(&mut err)));
        // The reader may have gone.
        io::stdout().write_all(&out).unwrap_or_default();
        io::stderr().write_all(&err).unwrap_or_default();
        code
    }

    fn line_by_line(&self) -> i32 {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|why| end(&why.to_string()));
        let lines = child.stdout.take().map(BufReader::new);
        for line in lines
            .into_iter()
            .flat_map(|lines| lines.split(b'\n'))
            .map_while(Result::ok)
        {
            let mut line = self.changed(&line);
            line.push(b'\n');
            if io::stdout().write_all(&line).is_err() {
                break;
            }
        }
        child
            .wait()
            .ok()
            .and_then(|status| status.code())
            .unwrap_or(1)
    }

    fn changed(&self, text: &[u8]) -> Vec<u8> {
        if let Some(pointer) = &self.answer {
            let pretty = |json: Value| {
                if text.contains(&b'\n') {
                    serde_json::to_vec_pretty(&json).ok()
                } else {
                    None
                }
            };
            let line_end: &[u8] = if text.ends_with(b"\n") { b"\n" } else { b"" };
            let line = edited(text, pointer, None);
            let indented = text.starts_with(b"{\n") || text.starts_with(b"[\n");
            let line = line.and_then(|line| {
                if indented {
                    pretty(serde_json::from_slice(&line).ok()?)
                } else {
                    Some(line)
                }
            });
            return line.map_or_else(|| text.to_owned(), |line| [&line, line_end].concat());
        }
        match (&self.said, std::str::from_utf8(text)) {
            (Some((from, to)), Ok(text)) if !from.is_empty() => {
                text.replace(from, &to.replace("\\n", "\n")).into_bytes()
            }
            _ => text.to_owned(),
        }
    }

    /// Updates one limit after the other, and ends with the code of the last one that was refused.
    fn apart(mut self) {
        if self.verb() != "update" || self.value(&["--resources", "-r"]).as_deref() != Some("-") {
            self.run();
        }
        let mut text = Vec::new();
        io::stdin()
            .read_to_end(&mut text)
            .unwrap_or_else(|why| end(&why.to_string()));
        let all: Value = serde_json::from_slice(&text).unwrap_or_else(|why| end(&why.to_string()));
        let mut code = 0;
        for (controller, limits) in all.as_object().into_iter().flatten() {
            self.stdin = Some(
                serde_json::json!({ controller: limits })
                    .to_string()
                    .into_bytes(),
            );
            code = code.max(status(&mut self.command()));
        }
        std::process::exit(code);
    }
}

fn status(command: &mut Command) -> i32 {
    let status = command.status().unwrap_or_else(|why| end(&why.to_string()));
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Returns a file without a name that holds this.
fn holding(text: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("without{}.{:p}", std::process::id(), text));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    let mut file = file.unwrap_or_else(|why| end(&format!("{}: {why}", path.display())));
    let ready = fs::remove_file(&path)
        .and_then(|()| file.write_all(text))
        .and_then(|()| file.rewind());
    ready.unwrap_or_else(|why| end(&why.to_string()));
    file
}

fn all(file: &mut File) -> Vec<u8> {
    let mut text = Vec::new();
    let read = file
        .rewind()
        .and_then(|()| file.read_to_end(&mut text).map(drop));
    read.unwrap_or_else(|why| end(&why.to_string()));
    text
}

/// Tells whether a word is the id of a container, which in tests begins with their tag.
fn is_id(word: &str) -> bool {
    word.strip_prefix("ot")
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn refuse(what: &str) -> ! {
    eprintln!("without: not known here: {what}");
    std::process::exit(1);
}

fn end(message: &str) -> ! {
    eprintln!("without: {message}");
    std::process::exit(125);
}
