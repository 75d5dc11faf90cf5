//! Images of a Docker installation: asked of its daemon, or of `docker save`, and loaded like any archive.

mod http;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::load::{Load, Loaded};
use crate::{Engine, Error, Kind, Progress};

/// Where the images come from.
#[derive(Debug, Clone, Default)]
pub struct ImportDocker {
    /// The daemon's socket; none: where it is by default.
    pub socket: Option<PathBuf>,
    /// Which images; none: all.
    pub names: Vec<String>,
    /// The docker program, to be asked in place of the socket.
    pub program: Option<PathBuf>,
}

/// The most of a program's complaint that is shown.
const LONGEST: u64 = 4 << 10;
const SOCKET: &str = "/var/run/docker.sock";

impl Engine {
    /// Brings a Docker installation's images here; it keeps them.
    pub fn import_docker(
        &self,
        options: &ImportDocker,
        progress: &dyn Progress,
    ) -> crate::Result<Loaded> {
        if let Some(program) = &options.program {
            return Ok(self.by_program(program, &options.names, progress)?);
        }
        let socket = options.socket.as_deref().unwrap_or(Path::new(SOCKET));
        let mut names = options.names.clone();
        if names.is_empty() {
            names = listed(socket)?;
        }
        if names.is_empty() {
            return Ok(Loaded::default());
        }
        let query: Vec<String> = names
            .iter()
            .map(|name| format!("names={}", escaped(name)))
            .collect();
        let mut archive = http::get(socket, &format!("/images/get?{}", query.join("&")))?;
        self.load(&mut archive, &Load::default(), progress)
    }

    fn by_program(
        &self,
        program: &Path,
        names: &[String],
        progress: &dyn Progress,
    ) -> Result<Loaded> {
        let said = || format!("start {}", program.display());
        let mut names = names.to_vec();
        if names.is_empty() {
            let format =
                "{{if eq .Repository \"<none>\"}}{{.ID}}{{else}}{{.Repository}}:{{.Tag}}{{end}}";
            let arguments = ["images", "--no-trunc", "--format", format];
            let listed = Command::new(program)
                .args(arguments)
                .output()
                .with_context(said)?;
            if !listed.status.success() {
                bail!(refused(program, &listed.stderr));
            }
            let text = String::from_utf8_lossy(&listed.stdout).replace(":<none>", "");
            names = text.lines().map(String::from).collect();
        }
        if names.is_empty() {
            return Ok(Loaded::default());
        }
        let mut child = Command::new(program)
            .args(["save", "--"])
            .args(&names)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(said)?;
        let mut archive = child.stdout.take().context("docker save has no output")?;
        let complaint = child.stderr.take().context("docker save has no errors")?;
        // Beside the archive: whoever warns a lot waits for somebody to read it.
        let complaint = std::thread::spawn(move || read_complaint(complaint));
        let loaded = self.load(&mut archive, &Load::default(), progress);
        drop(archive);
        let status = child.wait().context("wait for docker save")?;
        let complaint = complaint.join();
        let complaint = complaint.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if !status.success() && loaded.is_err() && !complaint.is_empty() {
            bail!(refused(program, &complaint));
        }
        Ok(loaded?)
    }
}

/// Reads all that a program says, and keeps the beginning. What cannot be read is left out of the message.
fn read_complaint(mut from: impl Read) -> Vec<u8> {
    let mut complaint = Vec::new();
    from.by_ref().take(LONGEST).read_to_end(&mut complaint).ok();
    io::copy(&mut from, &mut io::sink()).ok();
    complaint
}

fn refused(program: &Path, complaint: &[u8]) -> Error {
    let complaint = String::from_utf8_lossy(complaint);
    let lines: Vec<&str> = complaint.lines().filter(|line| !line.is_empty()).collect();
    let text = format!("{}: {}", program.display(), lines.join("; "));
    Error::new(Kind::Unreachable, text)
}

/// The names of all images; the id of one without.
fn listed(socket: &Path) -> Result<Vec<String>> {
    let text = http::get(socket, "/images/json")?;
    let images: Vec<Value> = serde_json::from_reader(text).context("docker's list of images")?;
    let mut names = Vec::new();
    for image in &images {
        let tags = image.get("RepoTags").and_then(Value::as_array);
        let tags = tags.into_iter().flatten().filter_map(Value::as_str);
        let tags: Vec<&str> = tags.filter(|tag| *tag != "<none>:<none>").collect();
        if tags.is_empty() {
            names.extend(image.get("Id").and_then(Value::as_str).map(String::from));
        }
        names.extend(tags.into_iter().map(String::from));
    }
    Ok(names)
}

/// Writes a text as a part of a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte);
    let escape = |byte: u8| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(escape).collect()
}
