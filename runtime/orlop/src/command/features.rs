//! `features`: what this runtime can do, as the specification's `features` document.

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;

use super::{Done, Failure, SPEC_VERSION, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Features {}

pub(super) fn features(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |_: Features| {
        let features = json!({
            "ociVersionMin": "1.0.0",
            "ociVersionMax": SPEC_VERSION,
            "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
            "mountOptions": container::plan::mount_options(),
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
                "capabilities": container::plan::capability_names(),
                "cgroup": {"v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
                "seccomp": {
                    "enabled": true,
                    "actions": seccomp::actions(),
                    "operators": seccomp::operators(),
                    "archs": seccomp::arches(),
                    "knownFlags": flags(|_| true),
                    "supportedFlags": flags(container::knows_filter_flags),
                },
                "apparmor": {"enabled": true},
                "selinux": {"enabled": true},
                "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
                "mountExtensions": {"idmap": {"enabled": true}},
                "netDevices": {"enabled": true},
            },
            "annotations": {"io.github.orlop.version": env!("CARGO_PKG_VERSION")},
            "potentiallyUnsafeConfigAnnotations": ["bundle", "org.systemd.property.", "org.criu.config", "run.oci."],
        });
        Ok(Done::output(
            serde_json::to_string_pretty(&features).context("write the features as JSON")? + "\n",
        ))
    })
}

/// Returns the names of the filter flags of which this is true.
fn flags(wanted: impl Fn(u32) -> bool) -> Vec<&'static str> {
    let known = seccomp::flags().iter();
    known
        .filter(|(_, bits)| wanted(bits.bits()))
        .map(|(name, _)| *name)
        .collect()
}
