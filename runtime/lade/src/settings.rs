//! What holds for every command: where things are kept, how registries are reached, how messages look.
//!
//! Each setting has one name: `LADE_DATA_ROOT` in the environment is `"data-root"` in the configuration file and, for some, the option
//! `--data-root`. The first that has a value counts: the option, the environment, the file, a default. The file is JSON:
//!
//! ```json
//! {"data-root": "/srv/lade", "insecure-registries": ["registry.lan:5000"], "connections": 12}
//! ```

mod file;
mod network;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Failure, USAGE};
use crate::mistake::near;
use file::File;

/// Options before the command. Each has its environment variable, `LADE_` and the name in capitals, and its key in the configuration file.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Options {
    /// Configuration file [default: /etc/lade/config.json, if there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory for images [default: /var/lib/lade]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_root: Option<PathBuf>,
    /// Directory for what does not outlive a boot [default: /run/lade]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_root: Option<PathBuf>,
    /// OCI runtime that runs containers [default: orlop, beside this program or by PATH]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) runtime: Option<PathBuf>,
    /// Form of messages: text or json
    #[arg(long, value_name = "FORM")]
    pub(crate) log_format: Option<String>,
    /// Say more about what is done
    #[arg(long, short = 'D')]
    pub(crate) debug: bool,
}

/// How messages on standard error look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// What all that comes to.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data_root: PathBuf,
    pub(crate) run_root: PathBuf,
    pub(crate) runtime: PathBuf,
    pub(crate) debug: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) network: engine::Network,
    pub(crate) connections: usize,
    pub(crate) piece: u64,
}

/// The names that are settings, and nothing else is.
pub(crate) const KEYS: &[&str] = &[
    "data-root",
    "run-root",
    "runtime",
    "log-format",
    "debug",
    "registries",
    "insecure-registries",
    "http-proxy",
    "https-proxy",
    "no-proxy",
    "connections",
    "piece",
    "retries",
];

/// What the process was started with, besides its line.
pub(crate) struct Surroundings<'a> {
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    pub(crate) root: bool,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Surroundings<'_> {
    /// Returns a variable that has a value.
    fn get(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Returns a directory of the user's own, by its variable or else below the home directory.
    fn own(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let home = || Some(self.path("HOME")?.join(below_home));
        self.path(variable).or_else(home)
    }
}

/// Where a value comes from, by the name that a message gives it.
#[derive(Debug)]
struct Value {
    text: OsString,
    source: String,
}

impl Value {
    fn refuse(&self, why: &str) -> Failure {
        let text = self.text.to_string_lossy();
        Failure::new(format!("{}: {text:?} {why}", self.source)).code(USAGE)
    }

    fn number(&self) -> Result<u32, Failure> {
        let number = self.text.to_str().and_then(|text| text.parse().ok());
        number.ok_or_else(|| self.refuse("is not a whole number"))
    }

    /// How much at a time: nothing would go on forever, and no registry takes thousands.
    fn connections(&self) -> Result<usize, Failure> {
        let count = self.number()?;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| (1..=100).contains(count));
        count.ok_or_else(|| self.refuse("is not a number from 1 to 100"))
    }

    fn truth(&self) -> Result<bool, Failure> {
        match self.text.to_str() {
            Some("true" | "1" | "yes") => Ok(true),
            Some("false" | "0" | "no") => Ok(false),
            _ => Err(self.refuse("is neither true nor false")),
        }
    }

    fn log_format(&self) -> Result<LogFormat, Failure> {
        match self.text.to_str() {
            Some("text") => Ok(LogFormat::Text),
            Some("json") => Ok(LogFormat::Json),
            _ => Err(self.refuse("is not known; use text or json")),
        }
    }
}

/// Options, environment and file, in this order.
#[derive(Debug)]
struct Sources<'a> {
    options: &'a Options,
    around: &'a Surroundings<'a>,
    file: File,
}

impl Sources<'_> {
    fn value(&self, key: &str) -> Option<Value> {
        if let Some(text) = self.option(key) {
            let source = format!("--{key}");
            return Some(Value { text, source });
        }
        let name = variable(key);
        if let Some(text) = self.around.get(&name) {
            return Some(Value { text, source: name });
        }
        let text = self.file.text(key)?.into();
        let source = format!("{}: {key}", self.file.path.display());
        Some(Value { text, source })
    }

    fn option(&self, key: &str) -> Option<OsString> {
        let options = self.options;
        let path = match key {
            "data-root" => &options.data_root,
            "run-root" => &options.run_root,
            "runtime" => &options.runtime,
            "log-format" => return options.log_format.as_ref().map(OsString::from),
            "debug" => return options.debug.then(|| OsString::from("true")),
            _ => &None,
        };
        path.as_ref().map(|path| path.as_os_str().to_owned())
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.value(key).map(|value| value.text.into())
    }

    fn string(&self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        Some(value.text.to_string_lossy().into_owned())
    }

    /// Returns a list: words with commas between them in the environment, an array in the file.
    fn list(&self, key: &str) -> Vec<String> {
        let text = self.string(key).unwrap_or_default();
        let words = text.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }
}

/// Returns the environment variable of a setting.
pub(crate) fn variable(key: &str) -> String {
    format!("LADE_{}", key.to_uppercase().replace('-', "_"))
}

/// Returns the variables that are named as if they were settings, and are none, with what was meant by each.
pub(crate) fn unknown_variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(String, Option<String>)> {
    let mut known: Vec<String> = KEYS.iter().map(|key| variable(key)).collect();
    known.push("LADE_CONFIG".to_owned());
    let names = all.map(|(name, _)| name.to_string_lossy().into_owned());
    let unknown = names.filter(|name| name.starts_with("LADE_") && !known.contains(name));
    let unknown = unknown.map(|name| {
        let near = near(&name, known.iter().map(String::as_str));
        let hint = near.map(|near| format!("did you mean {near}?"));
        (name, hint)
    });
    unknown.collect()
}

impl Settings {
    /// Finds the value of every setting.
    pub(crate) fn resolve(options: &Options, around: &Surroundings<'_>) -> Result<Self, Failure> {
        let file = File::find(options, around)?;
        let sources = Sources {
            options,
            around,
            file,
        };
        let format = sources.value("log-format");
        let debug = sources.value("debug");
        let number = |key| sources.value(key).map_or(Ok(0), |value| value.number());
        let connections = sources.value("connections");
        let connections = connections.map_or(Ok(0), |value| value.connections())?;
        let piece = number("piece")?;
        let root = |key| sources.path(key).map(absolute).transpose();
        Ok(Self {
            data_root: root("data-root")?.map_or_else(|| default_data_root(around), Ok)?,
            run_root: root("run-root")?.unwrap_or_else(|| default_run_root(around)),
            runtime: sources.path("runtime").unwrap_or_else(beside),
            debug: debug.map_or(Ok(false), |value| value.truth())?,
            log_format: format.map_or(Ok(LogFormat::Text), |value| value.log_format())?,
            network: network::resolve(&sources)?,
            connections,
            piece: piece.into(),
        })
    }

    /// Returns the options that make another `lade` use the same roots.
    pub(crate) fn roots(&self) -> [(&'static OsStr, &Path); 2] {
        [
            (OsStr::new("--data-root"), &self.data_root),
            (OsStr::new("--run-root"), &self.run_root),
        ]
    }
}

/// Makes a path hold for a process that starts elsewhere.
fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn default_data_root(around: &Surroundings<'_>) -> Result<PathBuf, Failure> {
    if around.root {
        return Ok("/var/lib/lade".into());
    }
    let own = around.own("XDG_DATA_HOME", ".local/share");
    let own = own.map(|dir| dir.join("lade"));
    own.ok_or_else(|| {
        Failure::new("neither XDG_DATA_HOME nor HOME says where an ordinary user's images are kept")
            .hint("name a directory with --data-root or LADE_DATA_ROOT")
    })
}

/// Returns the runtime that was installed together with this program, or else the name by which `PATH` has one.
fn beside() -> PathBuf {
    let own = std::env::current_exe().ok();
    let beside = own.map(|own| own.with_file_name("orlop"));
    let beside = beside.filter(|path| path.is_file());
    beside.unwrap_or_else(|| "orlop".into())
}

fn default_run_root(around: &Surroundings<'_>) -> PathBuf {
    let own = around.path("XDG_RUNTIME_DIR");
    match own.filter(|_| !around.root) {
        Some(dir) => dir.join("lade"),
        None => "/run/lade".into(),
    }
}

#[cfg(test)]
mod tests;
