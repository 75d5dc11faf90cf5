//! How a run ended.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use serde::Deserialize;
use sys::process::Exit;

use super::Ground;
use super::attend::not_started;
use super::bundle::Bundle;
use crate::{Error, Kind};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ended {
    /// The program's own exit code, or 128 and the signal that ended it; 127: there is no such program, 126: it cannot be executed,
    /// 125: the container could not be made.
    pub code: u8,
    /// Why the runtime did not run the program. It has said so on standard error.
    pub refused: Option<String>,
    /// What was left over and could not be removed.
    pub warnings: Vec<String>,
}

/// Takes away what the runtime has left, and says how it ended.
pub(super) fn settle(ground: Ground<'_>, id: &str, bundle: &Bundle, exit: Exit) -> Result<Ended> {
    let mut warnings = Vec::new();
    // It is there only when the runtime was killed.
    if ground.state.join(id).exists() {
        warnings.extend(delete(ground, id).err().map(|error| format!("{error:#}")));
    }
    let log = fs::read_to_string(&bundle.log).unwrap_or_default();
    let refused = refusal(&log);
    // A runtime that is ended before it has begun says by which signal, as a shell does.
    let by_itself = matches!(exit, Exit::Code(code) if code < 128);
    if by_itself && refused.is_none() && !bundle.pid.exists() {
        let runtime = ground.runtime.display();
        let text = format!("runtime {runtime} ended without having started a container");
        bail!(Error::new(Kind::Other, text).with_hint("is it an OCI runtime?"));
    }
    let code = match (&refused, exit) {
        (Some(why), Exit::Code(_)) => code_of(why),
        (_, exit) => u8::try_from(exit.code()).unwrap_or(u8::MAX),
    };
    Ok(Ended {
        code,
        refused,
        warnings,
    })
}

/// Kills a container, if it is alive, and forgets it.
pub(super) fn delete(ground: Ground<'_>, id: &str) -> Result<()> {
    tell(ground, &["delete", "--force", id])
}

/// Kills a container's program.
pub(super) fn kill(ground: Ground<'_>, id: &str) -> Result<()> {
    tell(ground, &["kill", id, "KILL"])
}

fn tell(ground: Ground<'_>, words: &[&str]) -> Result<()> {
    let mut command = Command::new(ground.runtime);
    command.arg("--root").arg(ground.state);
    command.args(words).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let (words, said) = (words.join(" "), said.trim().replace('\n', " "));
            bail!("{words}: {said}")
        }
        Err(error) => bail!("{}", not_started(ground, &error)),
    }
}

#[derive(Deserialize)]
struct Line {
    level: String,
    msg: String,
}

/// Returns the last error in the runtime's log.
fn refusal(log: &str) -> Option<String> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut errors = lines.filter(|line: &Line| line.level == "error");
    errors.next_back().map(|line| line.msg)
}

/// Docker's codes, by the same words.
fn code_of(why: &str) -> u8 {
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["executable file not found", "no such file or directory"]) {
        127
    } else if has(&["permission denied", "is a directory", "exec format error"]) {
        126
    } else {
        125
    }
}

#[cfg(test)]
mod tests {
    use super::{code_of, refusal};

    #[test]
    fn the_code_is_dockers() {
        for (why, want) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("exec: \"/x\": no such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec /x: exec format error", 126),
            ("mount overlay: invalid argument", 125),
        ] {
            assert_eq!(code_of(why), want, "{why}");
        }
    }

    #[test]
    fn only_errors_count() {
        let warning = r#"{"level":"warning","msg":"w","time":"t"}"#;
        let error = r#"{"level":"error","msg":"e","time":"t"}"#;
        for (log, want) in [
            (String::new(), None),
            (warning.to_owned(), None),
            (format!("{warning}\n{error}\nno JSON\n"), Some("e")),
        ] {
            assert_eq!(refusal(&log).as_deref(), want);
        }
    }
}
