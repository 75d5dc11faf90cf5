//! `memory`: limits in bytes, on both versions.

use oci_spec::runtime::LinuxMemory;

use super::Done;
use crate::error::Refusal;
use crate::plan::{Missing, Purpose, Writes};

const LIMIT: &str = "linux.resources.memory.limit";
const SWAP: &str = "linux.resources.memory.swap";
const RESERVATION: &str = "linux.resources.memory.reservation";

pub(super) fn collect(writes: &mut Writes, memory: &LinuxMemory) -> Done {
    let limit = bytes(memory.limit(), LIMIT)?;
    let swap = bytes(memory.swap(), SWAP)?;
    check_swap(writes.purpose, limit, swap)?;
    let unified = writes.find("memory").is_some_and(|dir| dir.is_unified());
    if unified {
        v2(writes, memory, limit, swap)
    } else {
        v1(writes, memory, limit, swap)
    }
}

/// Takes a limit in bytes: zero is not set, -1 is unlimited.
fn bytes(value: Option<i64>, json_path: &str) -> Result<Option<i64>, Refusal> {
    match value.filter(|value| *value != 0) {
        Some(value) if value < -1 => Err(Refusal::new(
            json_path,
            format!("{value} is not a number of bytes; use -1 for unlimited"),
        )),
        other => Ok(other),
    }
}

/// `memory.swap` counts memory and swap together.
fn check_swap(purpose: Purpose, limit: Option<i64>, swap: Option<i64>) -> Done {
    let Some(swap) = swap.filter(|swap| *swap > 0) else {
        return Ok(());
    };
    let message = match limit {
        Some(limit) if limit > swap => {
            format!("{swap} is memory plus swap and must not be below memory.limit ({limit})")
        }
        Some(-1) => "cannot be limited while memory.limit is unlimited; set that, too".to_owned(),
        None if purpose == Purpose::Create => {
            "needs memory.limit, too: it limits memory plus swap".to_owned()
        }
        _ => return Ok(()),
    };
    Err(Refusal::new(SWAP, message))
}

fn v1(writes: &mut Writes, memory: &LinuxMemory, limit: Option<i64>, swap: Option<i64>) -> Done {
    memory_and_swap(writes, limit, swap)?;
    if let Some(value) = bytes(memory.reservation(), RESERVATION)? {
        writes.put("memory", "memory.soft_limit_in_bytes", value, RESERVATION)?;
    }
    obsolete(writes, memory)?;
    if let Some(value) = swappiness(memory)? {
        let json_path = "linux.resources.memory.swappiness";
        writes.put("memory", "memory.swappiness", value, json_path)?;
    }
    if memory.disable_oom_killer() == Some(true) {
        let json_path = "linux.resources.memory.disableOOMKiller";
        writes.put("memory", "memory.oom_control", 1, json_path)?;
    }
    // checkBeforeUpdate needs nothing here: cgroup v1 itself refuses a limit below what is in use.
    Ok(())
}

/// The kernel keeps `limit <= memsw` at every moment. A fresh cgroup takes the limit first; whether an old one does depends on
/// its present values, which the kernel knows best: it says `EINVAL`.
fn memory_and_swap(writes: &mut Writes, limit: Option<i64>, swap: Option<i64>) -> Done {
    let (limit_file, swap_file) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    if let Some(limit) = limit {
        let lifts_swap = limit == -1 && swap.is_none() && writes.purpose == Purpose::Update;
        let write = writes.put("memory", limit_file, limit, LIMIT)?;
        write.retry_after = (swap.is_some() || lifts_swap).then(|| swap_file.to_owned());
        if lifts_swap {
            writes.put("memory", swap_file, limit, LIMIT)?.missing = Missing::Ignore;
        }
    }
    if let Some(swap) = swap {
        writes.put("memory", swap_file, swap, SWAP)?;
    }
    Ok(())
}

fn swappiness(memory: &LinuxMemory) -> Result<Option<u64>, Refusal> {
    // -1, as older callers spell "not set", has become the largest number on its way through JSON.
    match memory.swappiness().filter(|value| *value != u64::MAX) {
        Some(value) if value > 100 => Err(Refusal::new(
            "linux.resources.memory.swappiness",
            format!("{value} is outside of 0 to 100"),
        )),
        other => Ok(other),
    }
}

/// Fields that newer kernels have stopped to serve.
fn obsolete(writes: &mut Writes, memory: &LinuxMemory) -> Done {
    let warning = |json_path: &str| {
        Missing::Warn(format!(
            "{json_path}: this kernel has no such limit any more; ignored"
        ))
    };
    // Callers still send the kernel limit, and kernels before 5.16 still obey.
    for (value, file, json_path) in [
        (
            memory.kernel(),
            "memory.kmem.limit_in_bytes",
            "linux.resources.memory.kernel",
        ),
        (
            memory.kernel_tcp(),
            "memory.kmem.tcp.limit_in_bytes",
            "linux.resources.memory.kernelTCP",
        ),
    ] {
        if let Some(value) = bytes(value, json_path)? {
            writes.put("memory", file, value, json_path)?.missing = warning(json_path);
        }
    }
    // False is the default that callers send, and since Linux 5.11 the kernel knows only true.
    if memory.use_hierarchy() == Some(true) {
        let json_path = "linux.resources.memory.useHierarchy";
        writes
            .put("memory", "memory.use_hierarchy", 1, json_path)?
            .missing = Missing::Ignore;
    }
    Ok(())
}

/// cgroup v2 counts swap apart, and a limit below what is in use kills: `checkBeforeUpdate` is ours to keep.
fn v2(writes: &mut Writes, memory: &LinuxMemory, limit: Option<i64>, swap: Option<i64>) -> Done {
    let checked = (memory.check_before_update() == Some(true)).then(|| "memory.current".to_owned());
    let swap_alone = match (limit, swap) {
        (Some(-1), None) | (_, Some(-1)) => Some((-1, LIMIT)),
        (Some(limit), Some(swap)) => Some((swap - limit, SWAP)),
        (None, Some(_)) => {
            let message =
                "needs memory.limit, too: it is memory plus swap, and cgroup v2 limits swap alone";
            return Err(Refusal::new(SWAP, message));
        }
        (_, None) => None,
    };
    if let Some((value, json_path)) = swap_alone {
        let json_path = swap.map_or(json_path, |_| SWAP);
        let write = writes.put("memory", "memory.swap.max", max(value), json_path)?;
        // A kernel that does not count swap has none to take away, either.
        if value <= 0 {
            write.missing = Missing::Ignore;
        }
    }
    if let Some(limit) = limit {
        let write = writes.put("memory", "memory.max", max(limit), LIMIT)?;
        write.above = checked;
    }
    if let Some(value) = bytes(memory.reservation(), RESERVATION)? {
        writes.put("memory", "memory.low", max(value), RESERVATION)?;
    }
    for (asked, field) in [
        (swappiness(memory)?.is_some(), "swappiness"),
        (
            memory.disable_oom_killer() == Some(true),
            "disableOOMKiller",
        ),
        (memory.kernel().is_some_and(|value| value > 0), "kernel"),
        (
            memory.kernel_tcp().is_some_and(|value| value > 0),
            "kernelTCP",
        ),
    ] {
        if asked {
            let json_path = format!("linux.resources.memory.{field}");
            writes.warn(&json_path, "cgroup v2 has no such setting");
        }
    }
    // useHierarchy is what cgroup v2 always does.
    Ok(())
}

fn max(value: i64) -> String {
    if value == -1 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}
