//! The program that a container is for: finding its file, and its arguments and environment in the shape of execve(2).

use std::io::Read;
use std::path::{Path, PathBuf};

use sys::Errno;
use sys::fs::{self, AT_FDCWD, Mode, OFlag};
use sys::process::{self, CStrings};

use super::protocol::{At, Failure, Step};
use crate::plan::Process;

type Result<T> = std::result::Result<T, Failure>;

/// The program with its arguments, in the shape that execve(2) takes.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) name: String,
    args: CStrings,
    env: CStrings,
    path: String,
}

impl Payload {
    /// Completes the environment and copies everything that the last call needs.
    pub(super) fn prepare(process: &Process) -> Result<Self> {
        let mut env = last_of_each(&process.env);
        if !env.iter().any(|variable| variable.starts_with("HOME=")) {
            let passwd = passwd().unwrap_or_default();
            env.push(format!("HOME={}", home(&passwd, process.user.uid)));
        }
        let path = env
            .iter()
            .find_map(|variable| variable.strip_prefix("PATH="))
            .unwrap_or_default()
            .to_string();
        Ok(Self {
            name: process.args[0].clone(),
            args: CStrings::new(&process.args).at(Step::Exec, "arguments")?,
            env: CStrings::new(&env).at(Step::Exec, "environment")?,
            path,
        })
    }

    /// Finds the file to execute, as the payload's user.
    pub(super) fn find(&self) -> Result<PathBuf> {
        let name = Path::new(&self.name);
        if self.name.contains('/') {
            return executable(name)
                .map(|()| name.to_path_buf())
                .at(Step::Exec, format!("{:?}", self.name));
        }
        let mut denied = None;
        for dir in self.path.split(':') {
            let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
            match executable(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(Errno::EACCES) => denied = Some(Errno::EACCES),
                Err(_) => {}
            }
        }
        match denied {
            Some(errno) => Err(errno).at(Step::Exec, format!("{:?}", self.name)),
            None => Err(Failure::new(
                Step::Exec,
                format!("{:?}: {}", self.name, crate::text::EXECUTABLE_NOT_FOUND),
            )),
        }
    }

    pub(super) fn execute(&self, program: &Path) -> sys::Result<std::convert::Infallible> {
        process::execve(program, &self.args, &self.env)
    }
}

fn executable(path: &Path) -> sys::Result<()> {
    let stat = fs::fstatat(AT_FDCWD, path, fs::AtFlags::empty())?;
    match fs::SFlag::from_bits_truncate(stat.st_mode) & fs::SFlag::S_IFMT {
        fs::SFlag::S_IFDIR => Err(Errno::EISDIR),
        fs::SFlag::S_IFREG => fs::may_execute(AT_FDCWD, path),
        _ => Err(Errno::EACCES),
    }
}

/// Returns the variables without those that a later one of the same name replaces; getenv(3) would find the first.
fn last_of_each(env: &[String]) -> Vec<String> {
    let name = |variable: &String| variable.split('=').next().unwrap_or_default().to_string();
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<_> = env
        .iter()
        .rev()
        .filter(|variable| seen.insert(name(variable)))
        .cloned()
        .collect();
    kept.reverse();
    kept
}

/// Returns the home directory of a user by the text of an `/etc/passwd`, or `/`.
#[must_use]
pub fn home(passwd: &[u8], uid: u32) -> String {
    let line = passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let id = fields.nth(2)?;
        (id == uid.to_string().as_bytes())
            .then(|| fields.nth(2))
            .flatten()
    });
    // With a NUL it could be no variable's value.
    line.filter(|home| !home.is_empty() && !home.contains(&0))
        .map_or_else(
            || "/".to_string(),
            |home| String::from_utf8_lossy(home).into_owned(),
        )
}

/// Reads the container's `/etc/passwd`, which may be anything: a fifo must not make us wait, nor a device feed us for ever.
fn passwd() -> Option<Vec<u8>> {
    const LARGEST: u64 = 1 << 20;
    let path = "/etc/passwd";
    let regular = |stat: &fs::FileStat| {
        fs::SFlag::from_bits_truncate(stat.st_mode) & fs::SFlag::S_IFMT == fs::SFlag::S_IFREG
    };
    // Looked at before it is opened: with some devices the opening alone acts.
    if !regular(&fs::fstat(fs::open_path(path).ok()?).ok()?) {
        return None;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = fs::open(path, flags, Mode::empty()).ok()?;
    if !regular(&fs::fstat(&file).ok()?) {
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::from(file)
        .take(LARGEST)
        .read_to_end(&mut text)
        .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::home;

    #[test]
    fn a_home_is_the_first_of_its_user_and_can_be_a_variable() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nno\nx:x:7:7::/\xff:\ny:x:7:7::/second:\nz:x:8:8::/a\0b:\nempty:x:9:9:::";
        for (uid, want) in [
            (0, "/root"),
            (7, "/\u{fffd}"),
            (8, "/"),
            (9, "/"),
            (70, "/"),
        ] {
            assert_eq!(home(passwd, uid), want);
        }
    }
}
