//! `orlop`: the OCI runtime's command line, as runc's callers know it.
//!
//! It is a library so that what reads lines and writes messages can be tested without a process; the program is [`main`].
#![forbid(unsafe_code)]

pub mod argv;
pub mod command;
mod global;
pub mod log;

use std::ffi::OsString;
use std::path::Path;

pub use global::Invocation;
use log::Log;

/// Runs the program by its own arguments, and returns its exit code.
pub fn main() -> u8 {
    let line: Vec<OsString> = std::env::args_os().collect();
    let name = called_as(&line);
    let invocation = match Invocation::parse(name, &line) {
        Ok(Ok(invocation)) => invocation,
        // Help and version.
        Ok(Err(text)) => return print(&text),
        Err(message) => return fail(&mut Log::stderr(), &message, 1),
    };
    let log = invocation.global.log.as_deref();
    let mut log = match Log::open(log, invocation.log_format, invocation.log_level) {
        Ok(log) => log,
        Err(error) => return fail(&mut Log::stderr(), &format!("{error:#}"), 1),
    };
    match command::run(&invocation, &line) {
        Ok(done) => {
            for line in &done.steps {
                log.debug(line);
            }
            for warning in invocation.warnings.iter().chain(&done.warnings) {
                log.warn(warning);
            }
            match done.output {
                Some(text) => print(&text).max(done.code),
                None => done.code,
            }
        }
        Err(failure) => {
            for warning in &invocation.warnings {
                log::to_stderr(&format!("warning: {warning}"));
            }
            fail(&mut log, &failure.message, failure.code)
        }
    }
}

/// Returns the name that messages and paths use: `runc` for a program that was installed as runc.
fn called_as(line: &[OsString]) -> &'static str {
    let name = line.first().map(Path::new).and_then(Path::file_name);
    if name.is_some_and(|name| name == "runc") {
        "runc"
    } else {
        "orlop"
    }
}

fn print(text: &str) -> u8 {
    use std::io::Write;
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    u8::from(written.is_err())
}

fn fail(log: &mut Log, message: &str, code: u8) -> u8 {
    log.error(message);
    code
}
