//! Messages: errors, and the warnings of plans. The only place that prints them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Result, bail};

/// How messages are written into a log file, or where there is none to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => bail!("invalid log-format: {other}: use text or json"),
        }
    }
}

/// Which messages are worth a line; errors always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Warning,
    Error,
}

impl Level {
    /// Parses crun's `--log-level`.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        match name {
            "debug" => Ok(Self::Debug),
            "info" | "warning" | "warn" => Ok(Self::Warning),
            "error" => Ok(Self::Error),
            other => bail!("invalid log-level: {other}: use debug, warning or error"),
        }
    }
}

/// Above any descriptor that a caller passes on by number.
const HIGH: i32 = 512;

/// Where messages go.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    format: Format,
    level: Level,
}

impl Log {
    /// Messages for standard error only.
    pub(crate) fn stderr() -> Self {
        Self {
            file: None,
            format: Format::Text,
            level: Level::Warning,
        }
    }

    /// Messages for a file too, opened now: later the working directory may be another.
    pub(crate) fn open(path: Option<&Path>, format: Format, level: Level) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self {
                file: None,
                format,
                level,
            });
        };
        let text = path.to_string_lossy();
        if text.starts_with("journald:") || text.starts_with("syslog:") {
            bail!("--log: {text}: messages go to a file or to standard error here; name a file");
        }
        // crun's spelling of the same.
        let path = path
            .to_str()
            .and_then(|path| path.strip_prefix("file:"))
            .map_or(path, Path::new);
        match OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(path)
        {
            Ok(file) => Ok(Self {
                // Out of the way of descriptors that the payload is promised by number.
                file: Some(sys::fs::lift(file.into(), HIGH).map(File::from)?),
                format,
                level,
            }),
            Err(error) => {
                let why = container::bundle::lower(&error);
                bail!("open log file {}: {why}", path.display())
            }
        }
    }

    /// Reports the failure of a command: into the log file and, for a person or for conmon, plainly on standard error.
    pub(crate) fn error(&mut self, message: &str) {
        let message = one_line(message);
        self.record("error", &message);
        self.tell("error", "", &message);
    }

    /// Reports what was passed over by a command that succeeded.
    pub(crate) fn warn(&mut self, message: &str) {
        if self.level > Level::Warning {
            return;
        }
        let message = one_line(message);
        if self.file.is_some() {
            self.record("warning", &message);
        } else {
            self.tell("warning", "warning: ", &message);
        }
    }

    /// Tells what was done by a command that succeeded.
    pub(crate) fn debug(&mut self, message: &str) {
        if self.level > Level::Debug {
            return;
        }
        let message = one_line(message);
        if self.file.is_some() {
            self.record("debug", &message);
        } else {
            self.tell("debug", "debug: ", &message);
        }
    }

    /// Says it on standard error: plainly, or for a program that asked for JSON and named no file, as runc does.
    fn tell(&self, level: &str, heading: &str, message: &str) {
        match (&self.file, self.format) {
            (None, Format::Json) => to_stderr(&line(self.format, level, message, &now())),
            _ => to_stderr(&format!("{heading}{message}")),
        }
    }

    fn record(&mut self, level: &str, message: &str) {
        let Some(file) = &mut self.file else { return };
        let line = line(self.format, level, message, &now());
        // A log that cannot be written leaves standard error, where the message goes anyway.
        drop(file.write_all(format!("{line}\n").as_bytes()));
    }
}

/// The time as containerd wants it, which drops a line with one that is not RFC 3339.
fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Reports warnings beside an error: on standard error, because podman reads the log as one object.
pub(crate) fn to_stderr(message: &str) {
    // There is nobody left to tell if standard error is gone.
    drop(std::io::stderr().write_all(format!("{message}\n").as_bytes()));
}

/// Writes a message as a line of a log file, without its end.
#[must_use]
pub fn line(format: Format, level: &str, message: &str, time: &str) -> String {
    match format {
        Format::Json => {
            serde_json::json!({"level": level, "msg": message, "time": time}).to_string()
        }
        Format::Text => format!("time=\"{time}\" level={level} msg={message:?}"),
    }
}

/// Puts a message on one line; of what a terminal would take for an order, it shows the code.
#[must_use]
pub fn one_line(message: &str) -> String {
    let line = message
        .split(['\n', '\r'])
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    if !line.contains(char::is_control) {
        return line;
    }
    let shown = |c: char| -> String {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            c.into()
        }
    };
    line.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_message_is_one_line_of_plain_text() {
        for (message, want) in [
            ("open /x: no such file", "open /x: no such file"),
            ("a\r\n  b\n\nc", "a; b; c"),
            ("a\tb\u{1b}[31m", "a\\tb\\u{1b}[31m"),
        ] {
            assert_eq!(one_line(message), want);
        }
    }
}
