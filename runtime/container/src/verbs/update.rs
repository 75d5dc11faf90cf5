//! `update`: new limits for a container that exists.

use anyhow::{Context, Result, bail};
use oci_spec::runtime::LinuxResources;

use crate::plan::{self, Refusal, Schema};
use crate::resctrl::{self, Groups};
use crate::state::{Record, StateRoot, Status};
use crate::{ContainerId, resources, text};

/// Changes limits; what `change` leaves open stays as it is. Returns what this kernel made us ignore.
///
/// All of them are changed, or none; the record then says what is in force. Killed between the two, some new limits hold and the
/// record still has the old ones: the next update puts that right.
pub fn update(root: &StateRoot, id: &ContainerId, change: &Change) -> Result<Vec<String>> {
    let _lock = root.lock(id)?;
    let mut record = root.load(id)?;
    if root.status(id, &record) == Status::Stopped {
        bail!("{}: {id}", text::NOT_RUNNING);
    }
    let mut cgroup = record
        .cgroup
        .clone()
        .with_context(|| format!("container {id} has no cgroup to limit"))?;
    let before = record.resources.take().unwrap_or_default();
    let schemata = change.schemata()?;
    let change = resources::given(&change.resources)?;
    let plan = cgroup::update(&cgroup.dirs, &before, &change)?;
    record.resources = Some(resources::merged(&before, &change)?);
    // Written first: a full disk must not be found when the limits have changed.
    let classes = classes(&record, &schemata)?;
    let replacement = root.replace(id, &record)?;
    let former = classes.map(|groups| groups.change(&schemata)).transpose()?;
    if let Err(error) = cgroup.update(&plan) {
        if let (Some(groups), Some(former)) = (&record.resctrl, &former) {
            groups.set_back(former);
        }
        return Err(error.into());
    }
    replacement.commit()?;
    Ok(cgroup.warnings)
}

/// What is to change.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub resources: LinuxResources,
    /// As `linux.intelRdt.l3CacheSchema` and `memBwSchema`.
    pub l3_cache_schema: Option<String>,
    pub mem_bw_schema: Option<String>,
}

impl Change {
    fn schemata(&self) -> Result<Vec<Schema>> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let cache = given(&self.l3_cache_schema).map(|text| plan::resctrl::l3_cache(&text));
        let bandwidth = given(&self.mem_bw_schema).map(|text| plan::resctrl::mem_bw(&text));
        let schemata = cache.into_iter().chain(bandwidth).collect::<Result<_, _>>();
        schemata.map_err(|refusal: Refusal| anyhow::anyhow!("{}: {}", refusal.at, refusal.why))
    }
}

/// Returns the class of service whose lines are to change. A class of everybody is nobody's to change here.
fn classes<'a>(record: &'a Record, schemata: &[Schema]) -> Result<Option<&'a Groups>> {
    if schemata.is_empty() {
        return Ok(None);
    }
    match &record.resctrl {
        Some(groups) if groups.class != groups.root => Ok(Some(groups)),
        _ if resctrl::find()?.is_none() => bail!(
            "Intel RDT: l3 cache and memory bandwidth schemas are not enabled: no resource control is mounted; mount resctrl on /sys/fs/resctrl"
        ),
        _ => bail!(
            "container {} has no class of service of its own; create it with linux.intelRdt",
            record.id
        ),
    }
}
