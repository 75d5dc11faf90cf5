//! `linux.intelRdt`: shares of the last cache and of the memory's bandwidth.

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};

use super::{Lack, Refusal};
use crate::host::Host;

/// A group of the resource control file system, to be used or made (Documentation/filesystems/resctrl.rst).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resctrl {
    /// The mount point; nothing above it is ever touched.
    pub root: PathBuf,
    /// The directory of the class of service.
    pub group: PathBuf,
    /// Whether several containers may share it: it was asked for by name.
    pub named: bool,
    /// Lines for its `schemata`, in the order of writing.
    pub schemata: Vec<Schema>,
    /// A group below it that counts for this container alone.
    pub monitor: Option<PathBuf>,
}

/// What one field wants to be in `schemata`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub lines: Vec<String>,
    pub at: String,
}

const AT: &str = "linux.intelRdt";

/// The directories that the kernel itself keeps in the root of the file system.
const KERNELS: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Plans the group of a container.
pub(super) fn plan(
    id: &str,
    rdt: Option<&LinuxIntelRdt>,
    host: &Host,
    lacks: &mut Vec<Lack>,
) -> Result<Option<Resctrl>, Refusal> {
    let Some(rdt) = rdt.filter(|rdt| **rdt != LinuxIntelRdt::default()) else {
        return Ok(None);
    };
    let schemata = schemata(rdt)?;
    let class = rdt.clos_id().as_deref().filter(|name| !name.is_empty());
    let name = class.unwrap_or(id);
    // One plain directory, or the root of the file system itself: the class of everybody.
    if name != "/" && (name.contains(['/', '\n', '\0']) || [".", ".."].contains(&name)) {
        let why = format!("{name:?} is not the name of a class; use one without a slash");
        return Err(Refusal::new(format!("{AT}.closID"), why));
    }
    if KERNELS.contains(&name) {
        let why = format!("{name:?} is a directory of the kernel's; choose another name");
        return Err(Refusal::new(format!("{AT}.closID"), why));
    }
    let Some(root) = &host.resctrl else {
        let why = "this host has no resource control mounted; mount resctrl on /sys/fs/resctrl, or remove the field";
        lacks.push(Lack {
            at: AT.to_owned(),
            why: why.to_owned(),
        });
        return Ok(None);
    };
    let group = group(root, name);
    let monitor = rdt.enable_monitoring() == &Some(true);
    Ok(Some(Resctrl {
        root: root.clone(),
        monitor: monitor.then(|| group.join("mon_groups").join(id)),
        group,
        named: class.is_some(),
        schemata,
    }))
}

/// Returns the directory of a class.
pub(crate) fn group(root: &Path, name: &str) -> PathBuf {
    if name == "/" {
        root.to_owned()
    } else {
        root.join(name)
    }
}

/// Returns what each field wants written, `schemata` last, as the specification has it.
fn schemata(rdt: &LinuxIntelRdt) -> Result<Vec<Schema>, Refusal> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (cache, bandwidth) = (given(rdt.l3_cache_schema()), given(rdt.mem_bw_schema()));
    let mut schemata = Vec::new();
    if let Some(cache) = cache {
        schemata.push(l3_cache(&cache)?);
    }
    if let Some(bandwidth) = bandwidth {
        schemata.push(mem_bw(&bandwidth)?);
    }
    for (index, line) in rdt.schemata().iter().flatten().enumerate() {
        let at = format!("{AT}.schemata[{index}]");
        let lines = lines(line, &at)?;
        schemata.push(Schema { lines, at });
    }
    Ok(schemata)
}

/// Parses `l3CacheSchema`; a line of it for the bandwidth does not count, `memBwSchema` is the place for that.
pub(crate) fn l3_cache(text: &str) -> Result<Schema, Refusal> {
    let at = format!("{AT}.l3CacheSchema");
    let mut lines = lines(text, &at)?;
    lines.retain(|line| !line.starts_with("MB:"));
    Ok(Schema { lines, at })
}

/// Parses `memBwSchema`.
pub(crate) fn mem_bw(text: &str) -> Result<Schema, Refusal> {
    let at = format!("{AT}.memBwSchema");
    let lines = lines(text, &at)?;
    if lines.len() != 1 || !text.starts_with("MB:") {
        let why = format!("{text:?} must be one line that starts with \"MB:\"");
        return Err(Refusal::new(at, why));
    }
    Ok(Schema { lines, at })
}

fn lines(text: &str, at: &str) -> Result<Vec<String>, Refusal> {
    let lines: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    // What each kind of line may say depends on the processor, and the kernel tells.
    match lines.iter().find(|line| parse(line).is_none()) {
        Some(line) => Err(Refusal::new(
            at,
            format!(
                "{line:?} is not of the form RESOURCE:ID=VALUE;ID=VALUE, such as L3:0=7f0;1=1f"
            ),
        )),
        None => Ok(lines),
    }
}

/// Splits a line into its resource and its values by domain, without leading zeros, as the kernel may print them.
pub(crate) fn parse(line: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (resource, values) = line.trim().split_once(':')?;
    let pairs = values
        .split(';')
        .map(|pair| {
            let (domain, value) = pair.split_once('=')?;
            Some((significant(domain), significant(value)))
        })
        .collect::<Option<Vec<_>>>()?;
    (!resource.trim().is_empty()).then_some((resource.trim(), pairs))
}

fn significant(number: &str) -> &str {
    let number = number.trim();
    let bare = number.trim_start_matches('0');
    if bare.is_empty() { "0" } else { bare }
}
