//! Why a command ended badly, and the one place that says so.

use std::io::{self, Write};
use std::path::Path;

use crate::settings::LogFormat;

/// The exit code of a command that could not do what it was asked.
pub(crate) const FAILED: u8 = 1;
/// The exit code for an option that is not known or has no value, and of `run` for whatever happens before the container's own process.
pub(crate) const USAGE: u8 = 125;
/// What a shell reports for a program that wrote into a pipe that nobody reads, and died of it.
const PIPE: u8 = 128 + 13;

/// The end of a command that went wrong: what to say, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) problems: Vec<Problem>,
    pub(crate) code: u8,
}

/// One thing that went wrong, in a line, and what to do about it, in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            problems: vec![Problem {
                message: message.into(),
                hint: None,
            }],
            code: FAILED,
        }
    }

    /// The end of a command that has said already what it had to say.
    pub(crate) fn silent(code: u8) -> Self {
        Self {
            problems: Vec::new(),
            code,
        }
    }

    /// Several engine errors at once; none of them is none.
    pub(crate) fn all(errors: &[engine::Error]) -> Self {
        Self {
            problems: errors.iter().map(Problem::from).collect(),
            code: FAILED,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(problem) = self.problems.last_mut() {
            problem.hint = Some(hint.into());
        }
        self
    }

    /// Says where a file is wherever a hint has its name alone, which is all that libraries know of it.
    pub(crate) fn placing(mut self, name: &str, path: &Path) -> Self {
        let hints = self.problems.iter_mut();
        for hint in hints.flat_map(|problem| &mut problem.hint) {
            *hint = hint.replace(name, &path.to_string_lossy());
        }
        self
    }

    pub(crate) fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// What became of writing to standard output: who has gone away knows it already, and is told nothing.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silent(PIPE);
        }
        Self::new(format!("write to standard output: {error}"))
    }
}

impl From<&engine::Error> for Problem {
    fn from(error: &engine::Error) -> Self {
        Self {
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Self {
        Self::all(&[error])
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Writes each line to standard output.
pub(crate) fn print_lines(lines: impl IntoIterator<Item = impl ToString>) -> Result<(), Failure> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push('\n');
    }
    print(&text)
}

/// Says something on standard error. That nobody can read it is no reason to fail.
pub(crate) fn say(text: &str) {
    let mut err = io::stderr().lock();
    // Nobody is left to tell.
    drop(err.write_all(text.as_bytes()));
}

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
    Debug,
}

/// Says why a command ended, on standard error.
pub(crate) fn report(failure: &Failure, format: LogFormat) {
    for problem in &failure.problems {
        say(&rendered(
            Level::Error,
            problem,
            format,
            engine::time::now(),
        ));
    }
}

/// Says something beside the result, on standard error.
pub(crate) fn note(level: Level, message: &str, format: LogFormat) {
    advise(level, message, None, format);
}

/// Says something beside the result and, in another line, what to do about it.
pub(crate) fn advise(level: Level, message: &str, hint: Option<&str>, format: LogFormat) {
    let problem = Problem {
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
    };
    say(&rendered(level, &problem, format, engine::time::now()));
}

fn rendered(level: Level, problem: &Problem, format: LogFormat, now: i64) -> String {
    let Problem { message, hint } = problem;
    if format == LogFormat::Json {
        let word = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug => "debug",
        };
        let bare = message.strip_prefix("WARNING! ").unwrap_or(message);
        let mut line = serde_json::json!({"level": word, "msg": bare});
        if let Some(hint) = hint {
            line["hint"] = hint.as_str().into();
        }
        line["time"] = engine::time::rfc3339(now).into();
        return format!("{line}\n");
    }
    let start = match level {
        // Docker's own sentences begin so, and some come with it.
        Level::Error if message.starts_with("Error") => "",
        Level::Error => "Error: ",
        Level::Warning if message.starts_with("WARNING!") => "",
        Level::Warning => "WARNING: ",
        Level::Debug => "debug: ",
    };
    let mut text = format!("{start}{message}\n");
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: Level, message: &str, hint: Option<&str>, format: LogFormat, want: &str) {
        let problem = Problem {
            message: message.into(),
            hint: hint.map(str::to_owned),
        };
        assert_eq!(rendered(level, &problem, format, 0), want);
    }

    #[test]
    fn messages_are_one_line_and_hints_another() {
        use LogFormat::{Json, Text};
        check(
            Level::Error,
            "No such image: x",
            None,
            Text,
            "Error: No such image: x\n",
        );
        check(
            Level::Error,
            "Error: No such image: x",
            Some("lade images"),
            Text,
            "Error: No such image: x\nhint: lade images\n",
        );
        check(Level::Warning, "low", None, Text, "WARNING: low\n");
        check(
            Level::Warning,
            "WARNING! low",
            Some("d"),
            Text,
            "WARNING! low\nhint: d\n",
        );
        check(
            Level::Error,
            "a \"b\"\nc",
            Some("d"),
            Json,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\nc\",\"hint\":\"d\",\"time\":\"1970-01-01T00:00:00Z\"}\n",
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_told_nothing() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::silent(141));
        let failure = Failure::output(&io::Error::from_raw_os_error(28));
        assert_eq!(failure.code, 1);
        assert!(failure.problems[0].message.contains("No space left"));
    }
}
