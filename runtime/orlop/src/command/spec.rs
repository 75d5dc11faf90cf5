//! `spec`: a `config.json` to begin with.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Parser;
use container::Host;
use serde_json::{Value, json};

use super::{Done, Failure, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Spec {
    /// Directory of the bundle
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Name of the file
    #[arg(long, short, value_name = "FILE", default_value = "config.json")]
    file: PathBuf,
    /// For a container of an ordinary user
    #[arg(long)]
    rootless: bool,
}

pub(super) fn spec(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Spec| {
        let mut config: Value =
            serde_json::from_str(include_str!("spec.json")).context("own template")?;
        if Host::probe().is_ok_and(|host| host.has_only_cgroup2())
            && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut()
        {
            // Version 2 has one tree, which a container without this would be shown whole.
            namespaces.push(json!({"type": "cgroup"}));
        }
        if args.rootless {
            rootless(&mut config);
        }
        let path = args.bundle.join(&args.file);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o666)
            .open(&path);
        let mut file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("file {} exists; remove it first", path.display())
            }
            Err(error) => bail!(
                "create {}: {}",
                path.display(),
                container::bundle::lower(&error)
            ),
        };
        let text =
            serde_json::to_string_pretty(&config).context("write the template as JSON")? + "\n";
        file.write_all(text.as_bytes())
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Done::default())
    })
}

/// Turns the template into one that an ordinary user can run: own ids mapped to root, the host's network and `/sys`, no cgroup limits.
fn rootless(config: &mut Value) {
    let (uid, gid) = (
        sys::process::geteuid().as_raw(),
        sys::process::getegid().as_raw(),
    );
    let linux = &mut config["linux"];
    if let Some(namespaces) = linux["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({"type": "user"}));
    }
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": gid, "size": 1}]);
    if let Some(linux) = linux.as_object_mut() {
        linux.shift_remove("resources");
    }
    if let Some(mounts) = config["mounts"].as_array_mut() {
        for mount in mounts {
            if mount["destination"] == "/sys" {
                *mount = json!({
                    "destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]
                });
            } else if let Some(options) = mount["options"].as_array_mut() {
                // Ids other than 0 are not mapped.
                options.retain(|option| {
                    !option.as_str().is_some_and(|option| {
                        option.starts_with("gid=") || option.starts_with("uid=")
                    })
                });
            }
        }
    }
}
