//! Info: what this program runs on, and what is here.

use serde::Serialize;

use crate::{Engine, Result};

/// What it runs on, and what is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// How many images are here.
    pub images: u64,
    /// How images become roots of containers.
    pub driver: String,
    /// Where all is kept.
    #[serde(rename = "DockerRootDir")]
    pub data_root: String,
    /// Where things are kept that do not outlive a boot.
    pub run_root: String,
    /// The OCI runtime.
    pub default_runtime: String,
    /// Of the program.
    pub server_version: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// The distribution.
    pub operating_system: String,
    /// Its version.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// The kind of kernel.
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// The processor.
    pub architecture: String,
    /// Processors.
    #[serde(rename = "NCPU")]
    pub processors: u64,
    /// The version of control groups that containers have.
    pub cgroup_version: String,
    /// Bytes of memory.
    pub mem_total: u64,
    /// The machine's name.
    pub name: String,
    /// Hosts that may be spoken to without TLS.
    pub insecure_registries: Vec<String>,
    /// Root, or an ordinary user.
    pub rootless: bool,
}

impl Engine {
    /// Says what it runs on, and what is here.
    pub fn info(&self) -> Result<Info> {
        let settings = &self.settings;
        let images = self.store.images()?.len();
        Ok(Info {
            images: images as u64,
            driver: "overlay2".to_string(),
            data_root: settings.data_root.display().to_string(),
            run_root: settings.run_root.display().to_string(),
            default_runtime: settings.runtime.display().to_string(),
            server_version: settings.version.clone(),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            operating_system: release("PRETTY_NAME").unwrap_or_else(|| "Linux".to_string()),
            os_version: release("VERSION_ID").unwrap_or_default(),
            os_type: "linux".to_string(),
            architecture: std::env::consts::ARCH.to_string(),
            processors: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            cgroup_version: cgroup_version().to_string(),
            mem_total: memory(),
            name: read("/proc/sys/kernel/hostname"),
            insecure_registries: settings.network.insecure.clone(),
            rootless: crate::unpack::options().userxattr,
        })
    }
}

/// A line of a file of the kernel; empty where there is none.
fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_string()
}

/// What the distribution says of itself.
fn release(key: &str) -> Option<String> {
    let text = read("/etc/os-release");
    let mut values = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = values.find(|(known, _)| *known == key)?;
    Some(value.trim_matches('"').to_string())
}

fn cgroup_version() -> &'static str {
    // It is in the root of the one hierarchy, and of no older one.
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "2"
    } else {
        "1"
    }
}

fn memory() -> u64 {
    let table = read("/proc/meminfo");
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
