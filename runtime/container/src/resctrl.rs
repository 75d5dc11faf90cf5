//! The resource control file system: a container's class of service, its monitoring group, and what they count.
//!
//! Groups are directories right below the mount point (Documentation/filesystems/resctrl.rst). Which of them were made for a container is
//! in its record; only those go with it. A class that was asked for by name may be others' as well, so whoever finds it there leaves it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bundle::lower;
use crate::plan::resctrl::{Resctrl, Schema, parse};

/// The groups of a container, as its record keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    pub root: PathBuf,
    pub class: PathBuf,
    pub monitor: Option<PathBuf>,
    /// Those that were made for it, the inner one first.
    pub made: Vec<PathBuf>,
}

/// Finds the mount point of the resource control file system.
pub fn find() -> Result<Option<PathBuf>> {
    let path = "/proc/self/mountinfo";
    let table = fs::read(path).with_context(|| format!("read {path}"))?;
    let table =
        sys::mountinfo::parse(&table).with_context(|| format!("{path}: a line is no mount's"))?;
    let entry = table.into_iter().find(|entry| entry.kind == "resctrl");
    Ok(entry.map(|entry| entry.point))
}

/// Makes or finds the groups of a plan, and moves the container's process, which has not been let go, into them.
///
/// On failure nothing that was made is left.
pub fn apply(plan: &Resctrl, pid: i32) -> Result<Groups> {
    let mut groups = Groups {
        root: plan.root.clone(),
        class: plan.group.clone(),
        monitor: plan.monitor.clone(),
        made: Vec::new(),
    };
    let applied = fill(plan, &mut groups, pid);
    if applied.is_err() {
        // The first error is the one to report.
        drop(groups.remove());
    }
    applied.map(|()| groups)
}

fn fill(plan: &Resctrl, groups: &mut Groups, pid: i32) -> Result<()> {
    let class = &plan.group;
    if plan.named && plan.schemata.is_empty() {
        if !class.is_dir() {
            bail!(
                "config.json: linux.intelRdt.closID: {} is not there; make it, or say in schemata what it is to be",
                class.display()
            );
        }
    } else if make(class, groups)? {
        for schema in &plan.schemata {
            write_schema(groups, schema)?;
        }
    } else if plan.named {
        plan.schemata
            .iter()
            .try_for_each(|schema| compare(class, schema))?;
    } else {
        bail!(
            "config.json: linux.intelRdt: {} is there already; remove it, or name it in closID",
            class.display()
        );
    }
    join(class, pid)?;
    if let Some(monitor) = &plan.monitor {
        // One that is there counts for another container.
        if !make(monitor, groups)? {
            bail!(
                "config.json: linux.intelRdt.enableMonitoring: {} is there already; remove it",
                monitor.display()
            );
        }
        join(monitor, pid)?;
    }
    Ok(())
}

/// Makes a group; tells whether it is new.
fn make(dir: &Path, groups: &mut Groups) -> Result<bool> {
    if dir == groups.root {
        return Ok(false);
    }
    match DirBuilder::new().create(dir) {
        Ok(()) => {
            groups.made.insert(0, dir.to_owned());
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => bail!(
            "config.json: linux.intelRdt: make {}: {}{}",
            dir.display(),
            lower(&error),
            why(&groups.root)
        ),
    }
}

fn join(dir: &Path, pid: i32) -> Result<()> {
    let file = dir.join("tasks");
    fs::write(&file, pid.to_string()).map_err(|error| {
        anyhow::anyhow!(
            "config.json: linux.intelRdt: write {pid} to {}: {}",
            file.display(),
            lower(&error)
        )
    })
}

fn write_schema(groups: &Groups, schema: &Schema) -> Result<()> {
    let file = groups.class.join("schemata");
    let text = schema.lines.join("\n") + "\n";
    fs::write(&file, &text).map_err(|error| {
        anyhow::anyhow!(
            "config.json: {}: write {:?} to {}: {}{}",
            schema.at,
            text.trim_end(),
            file.display(),
            lower(&error),
            why(&groups.root)
        )
    })
}

/// Returns the kernel's own words on the last thing that it refused.
fn why(root: &Path) -> String {
    match fs::read_to_string(root.join("info/last_cmd_status")) {
        Ok(text) if text.trim() != "ok" && !text.trim().is_empty() => format!(" ({})", text.trim()),
        _ => String::new(),
    }
}

/// Demands that a class that exists is as it was asked for.
fn compare(class: &Path, schema: &Schema) -> Result<()> {
    let file = class.join("schemata");
    let text = fs::read_to_string(&file)
        .map_err(|error| anyhow::anyhow!("read {}: {}", file.display(), lower(&error)))?;
    for line in &schema.lines {
        let Some((resource, wanted)) = parse(line) else {
            continue;
        };
        let present = text.lines().filter_map(parse);
        let have = present
            .filter(|(name, _)| *name == resource)
            .flat_map(|(_, pairs)| pairs)
            .collect::<Vec<_>>();
        if !wanted.iter().all(|pair| have.contains(pair)) {
            bail!(
                "config.json: {}: {} exists and does not have {line:?}; change one of them",
                schema.at,
                class.display()
            );
        }
    }
    Ok(())
}

impl Groups {
    /// Returns the groups of a plan, with those that are not there yet as the ones that will have been made.
    #[must_use]
    pub fn future(plan: &Resctrl) -> Self {
        let missing = plan.monitor.iter().chain([&plan.group]);
        Self {
            root: plan.root.clone(),
            class: plan.group.clone(),
            monitor: plan.monitor.clone(),
            made: missing.filter(|dir| !dir.exists()).cloned().collect(),
        }
    }

    /// Moves one more process in.
    pub fn join(&self, pid: i32) -> Result<()> {
        join(&self.class, pid)?;
        self.monitor.as_ref().map_or(Ok(()), |dir| join(dir, pid))
    }

    /// Writes new lines into the class's `schemata`; returns what was there.
    pub fn change(&self, schemata: &[Schema]) -> Result<String> {
        let file = self.class.join("schemata");
        let before =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        for schema in schemata {
            if let Err(error) = write_schema(self, schema) {
                // The error is the one to report; lines that the kernel printed it takes.
                self.set_back(&before);
                return Err(error);
            }
        }
        Ok(before)
    }

    /// Writes the former text of `schemata` back.
    pub fn set_back(&self, before: &str) {
        drop(fs::write(self.class.join("schemata"), before));
    }

    /// Removes what was made for the container; what is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        for dir in &self.made {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    bail!("remove {}: {}", dir.display(), lower(&error))
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads what the groups allow and count, in the form of runc's `events`; what this processor does not have is left out.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let info = self.root.join("info");
        let text = |path: PathBuf| {
            fs::read_to_string(path)
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let number = |path: PathBuf| text(path).and_then(|text| text.parse().ok()).unwrap_or(0);
        let (cache, bandwidth) = (info.join("L3"), info.join("MB"));
        let line = |dir: &Path, resource: &str| {
            let text = text(dir.join("schemata"))?;
            let line = |line: &&str| parse(line).is_some_and(|(name, _)| name == resource);
            text.lines().find(line).map(|line| line.trim().to_owned())
        };
        let mut stats = Stats::default();
        if cache.is_dir() {
            stats.l3_cache_info = Some(L3CacheInfo {
                cbm_mask: text(cache.join("cbm_mask")).unwrap_or_default(),
                min_cbm_bits: number(cache.join("min_cbm_bits")),
                num_closids: number(cache.join("num_closids")),
            });
            stats.l3_cache_schema_root = line(&self.root, "L3");
            stats.l3_cache_schema = line(&self.class, "L3");
        }
        if bandwidth.is_dir() {
            stats.mem_bw_info = Some(MemBwInfo {
                bandwidth_gran: number(bandwidth.join("bandwidth_gran")),
                delay_linear: number(bandwidth.join("delay_linear")),
                min_bandwidth: number(bandwidth.join("min_bandwidth")),
                num_closids: number(bandwidth.join("num_closids")),
            });
            stats.mem_bw_schema_root = line(&self.root, "MB");
            stats.mem_bw_schema = line(&self.class, "MB");
        }
        self.count(&mut stats);
        stats
    }

    /// Adds what is counted for each cache, in the order of their numbers.
    fn count(&self, stats: &mut Stats) {
        let counted = self
            .monitor
            .as_ref()
            .unwrap_or(&self.class)
            .join("mon_data");
        let mut domains: Vec<PathBuf> = fs::read_dir(counted)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.to_string_lossy().contains("mon_L3_"))
            .collect();
        domains.sort();
        let number = |dir: &Path, name: &str| -> Option<u64> {
            fs::read_to_string(dir.join(name)).ok()?.trim().parse().ok()
        };
        let (mut mbm, mut cmt) = (Vec::new(), Vec::new());
        for dir in &domains {
            let (total, local) = (
                number(dir, "mbm_total_bytes"),
                number(dir, "mbm_local_bytes"),
            );
            if total.or(local).is_some() {
                mbm.push(MbmStats {
                    mbm_total_bytes: total.unwrap_or(0),
                    mbm_local_bytes: local.unwrap_or(0),
                });
            }
            cmt.extend(
                number(dir, "llc_occupancy").map(|llc_occupancy| CmtStats { llc_occupancy }),
            );
        }
        stats.mbm_stats = Some(mbm).filter(|list| !list.is_empty());
        stats.cmt_stats = Some(cmt).filter(|list| !list.is_empty());
    }
}

/// `intel_rdt` of runc's `events`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<L3CacheInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema_root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_schema: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbm_stats: Option<Vec<MbmStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmt_stats: Option<Vec<CmtStats>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct L3CacheInfo {
    pub cbm_mask: String,
    pub min_cbm_bits: u64,
    pub num_closids: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemBwInfo {
    pub bandwidth_gran: u64,
    pub delay_linear: u64,
    pub min_bandwidth: u64,
    pub num_closids: u64,
}

/// Bytes to and from memory, for one cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MbmStats {
    pub mbm_total_bytes: u64,
    pub mbm_local_bytes: u64,
}

/// Bytes of one cache that are in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CmtStats {
    pub llc_occupancy: u64,
}
