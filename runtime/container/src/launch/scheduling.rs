//! Setting how the process shares processors, disks and memory nodes with others.

use anyhow::Result;
use sys::process::Pid;
use sys::{Errno, reason, scheduler};

use super::protocol::{At, Failure, Step};
use crate::plan::Process;

/// Sets from outside what takes privileges over the host's processors and disks, which a process in a user namespace does not
/// have. The process is complete and waits: what is set here does not slow its making down, and its cgroups have their limits.
pub(super) fn set(process: &Process, pid: Pid) -> Result<()> {
    let scheduling = &process.scheduling;
    if let Some(given) = &scheduling.scheduler {
        scheduler::set_attributes(pid, &given.attributes).map_err(|errno| {
            // sched(7): kernels with real-time group scheduling give a cgroup of version 1 no such time by itself.
            let hint = match errno {
                Errno::EPERM => "; it takes CAP_SYS_NICE, and for a real-time policy perhaps linux.resources.cpu.realtimeRuntime",
                _ => "",
            };
            let policy = &given.policy;
            anyhow::anyhow!("process.scheduler: set {policy}: {}{hint}", reason(errno))
        })?;
    }
    if let Some(given) = &scheduling.io_priority {
        scheduler::set_io_priority(pid, given.number, given.level).map_err(|errno| {
            let (class, level) = (&given.class, given.level);
            anyhow::anyhow!("process.ioPriority: set {class} {level}: {}", reason(errno))
        })?;
    }
    Ok(())
}

/// Sets what only the process itself can set.
pub(super) fn set_own(process: &Process) -> Result<(), Failure> {
    if let Some(policy) = &process.scheduling.memory_policy {
        let nodes = policy.nodes.as_ref();
        scheduler::set_memory_policy(policy.number, nodes.map_or(&[], |nodes| &nodes.words))
            .at(Step::MemoryPolicy, object(&policy.mode, nodes))?;
    }
    if let Some(personality) = &process.scheduling.personality {
        scheduler::set_personality(personality.number)
            .at(Step::Personality, &personality.domain)?;
    }
    Ok(())
}

fn object(mode: &str, nodes: Option<&crate::plan::Numbers>) -> String {
    nodes.map_or_else(
        || format!("{mode} (linux.memoryPolicy)"),
        |nodes| format!("{mode} on nodes {nodes} (linux.memoryPolicy)"),
    )
}
