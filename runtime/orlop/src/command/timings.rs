//! `--timings FILE`, and `ORLOP_TIMINGS` for engines: where the time of a start went.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use container::timing::{Timing, table, trace};
use container::{ContainerId, Plan};

use super::create::absolute;
use crate::log;

/// The directory that gets `ID.json` and `ID.txt` of each start, for callers that cannot pass an option.
const VARIABLE: &str = "ORLOP_TIMINGS";

/// What is noted of a start, and where it goes.
#[derive(Debug)]
pub(super) struct Timings {
    pub(super) timing: Timing,
    to: To,
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

    /// Writes what was noted, also of a start that failed: then its error is the one to report.
    pub(super) fn finish<T>(&self, id: &ContainerId, result: Result<T>) -> Result<T> {
        let written = self.write(id);
        let value = result?;
        written.map(|()| value)
    }

    fn write(&self, id: &ContainerId) -> Result<()> {
        let mounts: Vec<&Path> = self.mounts.iter().map(PathBuf::as_path).collect();
        let steps = self.timing.steps(&mounts);
        let put = |file: &Path, text: &str| {
            std::fs::write(file, text)
                .with_context(|| format!("write timings to {}", file.display()))
        };
        match &self.to {
            To::Nowhere => Ok(()),
            To::File(file) => {
                log::to_stderr(table(&steps).trim_end());
                put(file, &trace(&steps)?)
            }
            To::Directory(dir) => {
                put(&dir.join(format!("{id}.txt")), &table(&steps))?;
                put(&dir.join(format!("{id}.json")), &trace(&steps)?)
            }
        }
    }
}
