//! `--timings FILE`, and `ORLOP_TIMINGS` for engines: where the time of a start went.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use container::bundle::lower;
use container::timing::{Timing, table, trace};
use container::{ContainerId, Plan};
use sys::fs::{self, Mode, OFlag};

use super::Done;
use super::create::absolute;
use crate::log;

/// The directory that gets `ID.json` and `ID.txt` of each start, for callers that cannot pass an option.
const VARIABLE: &str = "ORLOP_TIMINGS";

/// What is noted of a start, and where it goes.
#[derive(Debug)]
pub(super) struct Timings {
    pub(super) timing: Timing,
    to: To,
    /// For the trace, and for the table.
    files: Vec<Out>,
    /// Targets of the plan's mounts, by which steps are named.
    mounts: Vec<PathBuf>,
}

#[derive(Debug)]
enum To {
    Nowhere,
    /// The trace into the file, the table to standard error.
    File(PathBuf),
    /// Both into files named after the container.
    Directory(PathBuf),
}

/// A file that is open.
#[derive(Debug)]
struct Out(PathBuf, File);

impl Out {
    /// Opens what the caller names, as a shell would.
    fn named(path: &Path) -> Result<Self> {
        let file = File::create(path);
        let file = file.map_err(|error| anyhow::anyhow!("{}: {}", told(path), lower(&error)))?;
        Ok(Self(path.to_path_buf(), file))
    }

    /// Makes a file in a directory. Links that somebody has put there are not followed: the ids of an engine can be known before.
    fn within(dir: &OwnedFd, path: PathBuf) -> Result<Self> {
        let name = path.file_name().unwrap_or_default();
        let file = fs::replace(dir, name, Mode::from_bits_truncate(0o644))
            .map_err(|errno| anyhow::anyhow!("{}: {}", told(&path), sys::reason(errno)))?;
        Ok(Self(path, File::from(file)))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        let written = self.1.write_all(text.as_bytes());
        written.map_err(|error| anyhow::anyhow!("{}: {}", told(&self.0), lower(&error)))
    }
}

fn told(path: &Path) -> String {
    format!("write timings to {}", path.display())
}

impl Timings {
    pub(super) fn wanted(option: Option<&Path>) -> Result<Self> {
        let variable = std::env::var_os(VARIABLE).filter(|dir| !dir.is_empty());
        let to = match (option, variable.map(PathBuf::from)) {
            (Some(file), _) => To::File(absolute(file)?),
            (None, Some(dir)) if !dir.is_dir() => {
                bail!("{VARIABLE}={}: not a directory; make it", dir.display())
            }
            (None, Some(dir)) => To::Directory(absolute(&dir)?),
            (None, None) => To::Nowhere,
        };
        let timing = match to {
            To::Nowhere => Timing::off(),
            _ => Timing::on().context("map memory for timings")?,
        };
        Ok(Self {
            timing,
            to,
            files: Vec::new(),
            mounts: Vec::new(),
        })
    }

    /// Remembers what the steps of a plan are called.
    pub(super) fn name_steps(&mut self, plan: &Plan) {
        if !matches!(self.to, To::Nowhere) {
            self.mounts = plan
                .mounts
                .iter()
                .map(|mount| mount.target.clone())
                .collect();
        }
    }

    /// Opens the files, before anything is made: what was asked for and cannot be had is no reason to end a container later.
    pub(super) fn open(&mut self, id: &ContainerId) -> Result<()> {
        self.files = match &self.to {
            To::Nowhere => Vec::new(),
            To::File(file) => vec![Out::named(file)?],
            To::Directory(dir) => {
                let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                let fd = fs::open(dir, flags, Mode::empty()).with_context(|| told(dir))?;
                let file = |kind: &str| Out::within(&fd, dir.join(format!("{id}.{kind}")));
                vec![file("json")?, file("txt")?]
            }
        };
        Ok(())
    }

    /// Writes what was noted, also of a start that failed: then its error is the one to report, and otherwise a warning tells what could
    /// not be written.
    pub(super) fn finish(mut self, result: Result<Done>) -> Result<Done> {
        let written = self.write();
        let mut done = result?;
        let warning = written.err().map(|error| format!("{error:#}"));
        done.warnings.extend(warning);
        Ok(done)
    }

    fn write(&mut self) -> Result<()> {
        let mounts: Vec<&Path> = self.mounts.iter().map(PathBuf::as_path).collect();
        let steps = self.timing.steps(&mounts);
        let mut files = self.files.iter_mut();
        if let Some(file) = files.next() {
            file.write(&trace(&steps)?)?;
            match files.next() {
                Some(file) => file.write(&table(&steps))?,
                None => log::to_stderr(table(&steps).trim_end()),
            }
        }
        Ok(())
    }
}
