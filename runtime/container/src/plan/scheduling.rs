//! How the process shares processors, disks and memory nodes with others, and which kernel it is shown.

use oci::{IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy};
use oci::{LinuxPersonalityDomain, MemoryPolicyFlagType, MemoryPolicyModeType};
use oci_spec::runtime as oci;
use serde::Serialize;

use super::Refusal;
use super::numbers::Numbers;

/// What of all this the configuration asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Scheduling {
    pub scheduler: Option<Scheduler>,
    pub io_priority: Option<IoPriority>,
    /// For a process that is added to a container; the first one runs where its cgroup lets it.
    pub affinity: Affinity,
    pub memory_policy: Option<MemoryPolicy>,
    pub personality: Option<Personality>,
}

/// The policy of the processor's scheduler (sched(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scheduler {
    pub policy: String,
    #[serde(skip)]
    pub attributes: sys::scheduler::Attributes,
}

/// The class and level of disk accesses (ioprio_set(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IoPriority {
    pub class: String,
    #[serde(skip)]
    pub number: u8,
    pub level: u8,
}

/// Processors before and after the process joins the container's cgroups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Affinity {
    pub initial: Option<Numbers>,
    pub last: Option<Numbers>,
}

/// Where memory is taken from (set_mempolicy(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryPolicy {
    pub mode: String,
    /// The mode and its flags.
    #[serde(skip)]
    pub number: u32,
    pub nodes: Option<Numbers>,
}

/// The execution domain (personality(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Personality {
    pub domain: String,
    #[serde(skip)]
    pub number: u32,
}

/// What all processes of a container have in common.
#[derive(Debug, Clone, Copy, Default)]
pub struct Common<'a> {
    pub memory_policy: Option<&'a oci::LinuxMemoryPolicy>,
    pub personality: Option<&'a oci::LinuxPersonality>,
}

impl<'a> Common<'a> {
    /// Takes the fields from a configuration.
    #[must_use]
    pub fn of(spec: &'a oci::Spec) -> Self {
        let linux = spec.linux().as_ref();
        Self {
            memory_policy: linux.and_then(|linux| linux.memory_policy().as_ref()),
            personality: linux.and_then(|linux| linux.personality().as_ref()),
        }
    }
}

pub(super) fn plan(
    process: &oci::Process,
    common: Common<'_>,
    at: &str,
) -> Result<Scheduling, Refusal> {
    let scheduler = process.scheduler().as_ref();
    let priority = process.io_priority().as_ref();
    let list = |name: &str, list: Option<&String>| {
        let list = list.filter(|list| !list.is_empty());
        list.map(|list| Numbers::parse(list, &format!("{at}.execCPUAffinity.{name}")))
            .transpose()
    };
    let affinity = process.exec_cpu_affinity().clone().unwrap_or_default();
    Ok(Scheduling {
        scheduler: scheduler
            .map(|given| self::scheduler(given, &format!("{at}.scheduler")))
            .transpose()?,
        io_priority: priority
            .map(|given| io_priority(given, &format!("{at}.ioPriority")))
            .transpose()?,
        affinity: Affinity {
            initial: list("initial", affinity.initial().as_ref())?,
            last: list("final", affinity.cpu_affinity_final().as_ref())?,
        },
        memory_policy: common.memory_policy.map(memory_policy).transpose()?,
        personality: common.personality.map(personality).transpose()?,
    })
}

fn scheduler(given: &oci::Scheduler, at: &str) -> Result<Scheduler, Refusal> {
    use LinuxSchedulerPolicy as P;
    let refuse = |field: &str, why: String| Err(Refusal::new(format!("{at}.{field}"), why));
    let policy = *given.policy();
    let number = match policy {
        P::SchedOther => 0,
        P::SchedFifo => 1,
        P::SchedRr => 2,
        P::SchedBatch => 3,
        P::SchedIdle => 5,
        P::SchedDeadline => 6,
        P::SchedIso => {
            return refuse("policy", "SCHED_ISO is known to no Linux kernel".into());
        }
    };
    let nice = given.nice().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return refuse("nice", format!("{nice} is not within -20 to 19"));
    }
    let priority = given.priority().unwrap_or(0);
    let levels = match policy {
        P::SchedFifo | P::SchedRr => 1..=99,
        _ => 0..=0,
    };
    if !levels.contains(&priority) {
        let (low, high) = (levels.start(), levels.end());
        return refuse(
            "priority",
            format!("{priority} is not within {low} to {high} for {policy}"),
        );
    }
    let deadline = [
        ("runtime", given.runtime().unwrap_or(0)),
        ("deadline", given.deadline().unwrap_or(0)),
        ("period", given.period().unwrap_or(0)),
    ];
    if policy == P::SchedDeadline {
        times(deadline, at)?;
    } else if let Some((field, _)) = deadline.iter().find(|(_, value)| *value != 0) {
        return refuse(field, format!("only SCHED_DEADLINE has it, not {policy}"));
    }
    let flags = given.flags().iter().flatten().map(flag);
    Ok(Scheduler {
        policy: policy.to_string(),
        attributes: sys::scheduler::Attributes {
            policy: number,
            flags: flags.fold(0, |all, flag| all | flag),
            nice,
            priority: priority.unsigned_abs(),
            runtime: deadline[0].1,
            deadline: deadline[1].1,
            period: deadline[2].1,
        },
    })
}

/// Checks what the kernel demands of the three times, which it answers for all of them with one errno.
fn times([runtime, deadline, period]: [(&str, u64); 3], at: &str) -> Result<(), Refusal> {
    // DL_SCALE: what is shorter counts as nothing.
    const SHORTEST: u64 = 1024;
    let refuse = |field: &str, why: String| Err(Refusal::new(format!("{at}.{field}"), why));
    if runtime.1 < SHORTEST {
        let value = runtime.1;
        return refuse(
            "runtime",
            format!("{value} ns are less than the shortest, {SHORTEST}"),
        );
    }
    let ordered = [(runtime, deadline), (deadline, period)];
    for (shorter, longer) in ordered {
        // A period of zero is the deadline's.
        if shorter.1 > longer.1 && !(longer.0 == "period" && longer.1 == 0) {
            return refuse(
                longer.0,
                format!(
                    "{} ns are less than the {}, {}",
                    longer.1, shorter.0, shorter.1
                ),
            );
        }
    }
    Ok(())
}

fn flag(flag: &LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    }
}

fn io_priority(given: &oci::LinuxIOPriority, at: &str) -> Result<IoPriority, Refusal> {
    let level = u8::try_from(given.priority())
        .ok()
        .filter(|level| *level < 8);
    let Some(level) = level else {
        let why = format!("{} is not within 0 to 7", given.priority());
        return Err(Refusal::new(format!("{at}.priority"), why));
    };
    let class = given.class();
    Ok(IoPriority {
        class: class.to_string(),
        number: match class {
            IOPriorityClass::IoprioClassRt => 1,
            IOPriorityClass::IoprioClassBe => 2,
            IOPriorityClass::IoprioClassIdle => 3,
        },
        level,
    })
}

fn memory_policy(given: &oci::LinuxMemoryPolicy) -> Result<MemoryPolicy, Refusal> {
    use MemoryPolicyModeType as M;
    let at = "linux.memoryPolicy";
    let refuse = |field: &str, why: String| Err(Refusal::new(format!("{at}.{field}"), why));
    let mode = given.mode();
    let number = match mode {
        M::MpolDefault => 0,
        M::MpolPreferred => 1,
        M::MpolBind => 2,
        M::MpolInterleave => 3,
        M::MpolLocal => 4,
        M::MpolPreferredMany => 5,
        M::MpolWeightedInterleave => 6,
    };
    let text = given.nodes().as_ref().filter(|nodes| !nodes.is_empty());
    let nodes = text
        .map(|nodes| Numbers::parse(nodes, &format!("{at}.nodes")))
        .transpose()?;
    match (mode, &nodes) {
        (M::MpolDefault | M::MpolLocal, Some(nodes)) => {
            return refuse("nodes", format!("{nodes}: {mode} takes no nodes"));
        }
        // Of these an empty set means the nearest node.
        (M::MpolDefault | M::MpolLocal | M::MpolPreferred, _) | (_, Some(_)) => {}
        (_, None) => return refuse("nodes", format!("absent; {mode} needs some")),
    }
    let mut all = 0;
    for (index, flag) in given.flags().iter().flatten().enumerate() {
        let (bit, fits) = match flag {
            MemoryPolicyFlagType::MpolFStaticNodes => (1 << 15, nodes.is_some()),
            MemoryPolicyFlagType::MpolFRelativeNodes => (1 << 14, nodes.is_some()),
            MemoryPolicyFlagType::MpolFNumaBalancing => {
                (1 << 13, matches!(mode, M::MpolBind | M::MpolPreferredMany))
            }
        };
        all |= bit;
        if !fits || all & (3 << 14) == 3 << 14 {
            let why = format!("{flag} does not go with {mode}, these nodes and the other flags");
            return refuse(&format!("flags[{index}]"), why);
        }
    }
    Ok(MemoryPolicy {
        mode: mode.to_string(),
        number: number | all,
        nodes,
    })
}

fn personality(given: &oci::LinuxPersonality) -> Result<Personality, Refusal> {
    if let Some(flag) = given.flags().iter().flatten().next() {
        return Err(Refusal::new(
            "linux.personality.flags[0]",
            format!("{flag:?}: the specification knows no flags; leave them out"),
        ));
    }
    let domain = given.domain();
    Ok(Personality {
        domain: domain.to_string(),
        number: match domain {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => 8,
        },
    })
}
