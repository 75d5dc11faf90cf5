//! The values of `linux.resources`, as writes to the files of their controllers.
//!
//! Callers send zero and empty values for what they do not want to set; where zero is not a limit that anybody could mean, it
//! counts as not set. A limit whose controller is not mounted is refused, because a container that runs unlimited looks well.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxNetwork, LinuxPids,
    LinuxResources, LinuxThrottleDevice,
};

use crate::error::Refusal;
use crate::plan::{Missing, Purpose, Writes};

type Done = Result<(), Refusal>;

/// Adds every limit but the device rules.
pub(crate) fn collect(writes: &mut Writes, resources: &LinuxResources) -> Done {
    if let Some(value) = resources.memory() {
        memory(writes, value)?;
    }
    if let Some(value) = resources.cpu() {
        cpu(writes, value)?;
        realtime(writes, value)?;
        cpuset(writes, value)?;
    }
    if let Some(value) = resources.pids() {
        pids(writes, value)?;
    }
    if let Some(value) = resources.block_io() {
        block_io(writes, value)?;
    }
    for (index, value) in resources.hugepage_limits().iter().flatten().enumerate() {
        hugepages(
            writes,
            value,
            &format!("linux.resources.hugepageLimits[{index}]"),
        )?;
    }
    if let Some(value) = resources.network() {
        network(writes, value)?;
    }
    if resources.rdma().as_ref().is_some_and(|map| !map.is_empty()) {
        return Err(Refusal::new(
            "linux.resources.rdma",
            "is not supported yet; remove the field",
        ));
    }
    let mut keys: Vec<(&String, &String)> = resources.unified().iter().flatten().collect();
    keys.sort();
    for (key, value) in keys {
        unified(writes, key, value)?;
    }
    Ok(())
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

fn memory(writes: &mut Writes, memory: &LinuxMemory) -> Done {
    let limit = bytes(memory.limit(), "linux.resources.memory.limit")?;
    let swap = bytes(memory.swap(), "linux.resources.memory.swap")?;
    memory_and_swap(writes, limit, swap)?;
    if let Some(value) = bytes(memory.reservation(), "linux.resources.memory.reservation")? {
        writes.v1(
            "memory",
            "memory.soft_limit_in_bytes",
            value,
            "linux.resources.memory.reservation",
        )?;
    }
    obsolete_memory(writes, memory)?;
    // -1, as older callers spell "not set", has become the largest number on its way through JSON.
    if let Some(value) = memory.swappiness().filter(|value| *value != u64::MAX) {
        let json_path = "linux.resources.memory.swappiness";
        if value > 100 {
            return Err(Refusal::new(
                json_path,
                format!("{value} is outside of 0 to 100"),
            ));
        }
        writes.v1("memory", "memory.swappiness", value, json_path)?;
    }
    if memory.disable_oom_killer() == Some(true) {
        writes.v1(
            "memory",
            "memory.oom_control",
            1,
            "linux.resources.memory.disableOOMKiller",
        )?;
    }
    // checkBeforeUpdate needs nothing here: cgroup v1 itself refuses a limit below what is in use.
    Ok(())
}

/// The kernel keeps `limit <= memsw` at every moment. A fresh cgroup takes the limit first; whether an old one does depends on
/// its present values, which the kernel knows best: it says `EINVAL`.
fn memory_and_swap(writes: &mut Writes, limit: Option<i64>, swap: Option<i64>) -> Done {
    let (limit_path, swap_path) = (
        "linux.resources.memory.limit",
        "linux.resources.memory.swap",
    );
    let (limit_file, swap_file) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
    if let Some(swap) = swap.filter(|swap| *swap > 0) {
        // It counts memory and swap together.
        let message = match limit {
            Some(limit) if limit > swap => {
                format!("{swap} is memory plus swap and must not be below memory.limit ({limit})")
            }
            Some(-1) => {
                "cannot be limited while memory.limit is unlimited; set that, too".to_owned()
            }
            None if writes.purpose == Purpose::Create => {
                "needs memory.limit, too: it limits memory plus swap".to_owned()
            }
            _ => String::new(),
        };
        if !message.is_empty() {
            return Err(Refusal::new(swap_path, message));
        }
    }
    if let Some(limit) = limit {
        let lifts_swap = limit == -1 && swap.is_none() && writes.purpose == Purpose::Update;
        let write = writes.v1("memory", limit_file, limit, limit_path)?;
        write.retry_after = (swap.is_some() || lifts_swap).then(|| swap_file.to_owned());
        if lifts_swap {
            writes.v1("memory", swap_file, limit, limit_path)?.missing = Missing::Ignore;
        }
    }
    if let Some(swap) = swap {
        writes.v1("memory", swap_file, swap, swap_path)?;
    }
    Ok(())
}

/// Fields that newer kernels have stopped to serve.
fn obsolete_memory(writes: &mut Writes, memory: &LinuxMemory) -> Done {
    // Callers still send the kernel limit, and kernels before 5.16 still obey.
    let kernel = bytes(memory.kernel(), "linux.resources.memory.kernel")?;
    let warning = |field: &str| {
        Missing::Warn(format!(
            "linux.resources.memory.{field}: this kernel has no such limit any more; ignored"
        ))
    };
    if let Some(value) = kernel {
        let write = writes.v1(
            "memory",
            "memory.kmem.limit_in_bytes",
            value,
            "linux.resources.memory.kernel",
        )?;
        write.missing = warning("kernel");
    }
    if let Some(value) = bytes(memory.kernel_tcp(), "linux.resources.memory.kernelTCP")? {
        let write = writes.v1(
            "memory",
            "memory.kmem.tcp.limit_in_bytes",
            value,
            "linux.resources.memory.kernelTCP",
        )?;
        write.missing = warning("kernelTCP");
    }
    // False is the default that callers send, and since Linux 5.11 the kernel knows only true.
    if memory.use_hierarchy() == Some(true) {
        let write = writes.v1(
            "memory",
            "memory.use_hierarchy",
            1,
            "linux.resources.memory.useHierarchy",
        )?;
        write.missing = Missing::Ignore;
    }
    Ok(())
}

fn cpu(writes: &mut Writes, cpu: &LinuxCpu) -> Done {
    if let Some(value) = cpu.shares().filter(|value| *value != 0) {
        let json_path = "linux.resources.cpu.shares";
        // The kernel would quietly use the nearest value.
        if !(2..=262_144).contains(&value) {
            let (word, bound) = if value < 2 {
                ("minimum", 2)
            } else {
                ("maximum", 262_144)
            };
            return Err(Refusal::new(
                json_path,
                format!("{value}: the {word} allowed cpu-shares is {bound}"),
            ));
        }
        // An idle cgroup takes no shares.
        writes
            .v1("cpu", "cpu.shares", value, json_path)?
            .retry_after = cpu.idle().map(|_| "cpu.idle".to_owned());
    }
    bandwidth(writes, cpu)?;
    let idle = cpu.idle();
    if let Some(value) = idle.filter(|value| *value != 0 || writes.find("cpu").is_some()) {
        let write = writes.v1("cpu", "cpu.idle", value, "linux.resources.cpu.idle")?;
        if value == 0 {
            write.missing = Missing::Ignore;
        }
    }
    Ok(())
}

fn bandwidth(writes: &mut Writes, cpu: &LinuxCpu) -> Done {
    let quota = cpu.quota().filter(|value| *value != 0);
    // Old quota over new period may exceed what the parent has, old quota may be below the new burst.
    let after_quota = quota.map(|_| "cpu.cfs_quota_us".to_owned());
    if let Some(value) = cpu.period().filter(|value| *value != 0) {
        writes
            .v1(
                "cpu",
                "cpu.cfs_period_us",
                value,
                "linux.resources.cpu.period",
            )?
            .retry_after
            .clone_from(&after_quota);
    }
    if let Some(value) = cpu
        .burst()
        .filter(|value| *value != 0 || writes.find("cpu").is_some())
    {
        let write = writes.v1(
            "cpu",
            "cpu.cfs_burst_us",
            value,
            "linux.resources.cpu.burst",
        )?;
        write.retry_after = after_quota;
        let warning = "linux.resources.cpu.burst: this kernel has no burst (it came with Linux 5.14); ignored";
        write.missing = if value == 0 {
            Missing::Ignore
        } else {
            Missing::Warn(warning.to_owned())
        };
    }
    if let Some(value) = quota.filter(|value| *value > 0 || writes.find("cpu").is_some()) {
        writes.v1(
            "cpu",
            "cpu.cfs_quota_us",
            value,
            "linux.resources.cpu.quota",
        )?;
    }
    Ok(())
}

fn realtime(writes: &mut Writes, cpu: &LinuxCpu) -> Done {
    let runtime = cpu.realtime_runtime().filter(|value| *value != 0);
    if let Some(value) = cpu.realtime_period().filter(|value| *value != 0) {
        let write = writes.v1(
            "cpu",
            "cpu.rt_period_us",
            value,
            "linux.resources.cpu.realtimePeriod",
        )?;
        write.retry_after = runtime.map(|_| "cpu.rt_runtime_us".to_owned());
        write.in_new_parents = true;
    }
    if let Some(value) = runtime {
        writes
            .v1(
                "cpu",
                "cpu.rt_runtime_us",
                value,
                "linux.resources.cpu.realtimeRuntime",
            )?
            .in_new_parents = true;
    }
    Ok(())
}

fn cpuset(writes: &mut Writes, cpu: &LinuxCpu) -> Done {
    for (value, file, json_path) in [
        (cpu.cpus(), "cpuset.cpus", "linux.resources.cpu.cpus"),
        (cpu.mems(), "cpuset.mems", "linux.resources.cpu.mems"),
    ] {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else {
            continue;
        };
        if !value
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ',' | '-' | ':' | '/' | ' '))
        {
            return Err(Refusal::new(
                json_path,
                format!("{value:?} is not a list of numbers and ranges, such as 0-3,8"),
            ));
        }
        writes.v1("cpuset", file, value, json_path)?;
    }
    Ok(())
}

/// Zero means unlimited, as engines mean it, although newer texts of the specification read otherwise.
fn pids(writes: &mut Writes, pids: &LinuxPids) -> Done {
    let json_path = "linux.resources.pids.limit";
    // Callers of update send it for "as it is".
    if pids.limit() == 0 && writes.purpose == Purpose::Update {
        return Ok(());
    }
    let value = if pids.limit() > 0 {
        pids.limit().to_string()
    } else {
        "max".to_owned()
    };
    if value == "max" && writes.find("pids").is_none() {
        return Ok(());
    }
    let dir = writes.need("pids", json_path)?;
    if dir.is_unified() {
        writes.enable("pids", json_path);
    }
    writes.add(dir, "pids.max", value, json_path);
    Ok(())
}

#[expect(clippy::too_many_lines, reason = "table")]
fn block_io(writes: &mut Writes, io: &LinuxBlockIo) -> Done {
    // One of the two weight files exists, by kernel version and configuration.
    let either = || Missing::Use("blkio.bfq.weight".to_owned());
    if let Some(value) = weight(io.weight(), "linux.resources.blockIO.weight")? {
        writes
            .v1(
                "blkio",
                "blkio.weight",
                value,
                "linux.resources.blockIO.weight",
            )?
            .missing = either();
    }
    if let Some(value) = weight(io.leaf_weight(), "linux.resources.blockIO.leafWeight")? {
        writes.v1(
            "blkio",
            "blkio.leaf_weight",
            value,
            "linux.resources.blockIO.leafWeight",
        )?;
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let json_path = format!("linux.resources.blockIO.weightDevice[{index}]");
        let number = device_number(device.major(), device.minor(), &json_path)?;
        if let Some(value) = weight(device.weight(), &format!("{json_path}.weight"))? {
            let write = writes.v1(
                "blkio",
                "blkio.weight_device",
                format!("{number} {value}"),
                &format!("{json_path}.weight"),
            )?;
            write.missing = Missing::Use("blkio.bfq.weight_device".to_owned());
        }
        if let Some(value) = weight(device.leaf_weight(), &format!("{json_path}.leafWeight"))? {
            let json_path = format!("{json_path}.leafWeight");
            writes.v1(
                "blkio",
                "blkio.leaf_weight_device",
                format!("{number} {value}"),
                &json_path,
            )?;
        }
    }
    for (devices, file, field) in [
        (
            io.throttle_read_bps_device(),
            "blkio.throttle.read_bps_device",
            "throttleReadBpsDevice",
        ),
        (
            io.throttle_write_bps_device(),
            "blkio.throttle.write_bps_device",
            "throttleWriteBpsDevice",
        ),
        (
            io.throttle_read_iops_device(),
            "blkio.throttle.read_iops_device",
            "throttleReadIOPSDevice",
        ),
        (
            io.throttle_write_iops_device(),
            "blkio.throttle.write_iops_device",
            "throttleWriteIOPSDevice",
        ),
    ] {
        throttle(writes, devices, file, field)?;
    }
    Ok(())
}

fn weight(value: Option<u16>, json_path: &str) -> Result<Option<u16>, Refusal> {
    match value.filter(|value| *value != 0) {
        Some(value) if !(10..=1000).contains(&value) => Err(Refusal::new(
            json_path,
            format!("{value} is outside of 10 to 1000"),
        )),
        other => Ok(other),
    }
}

fn throttle(
    writes: &mut Writes,
    devices: &Option<Vec<LinuxThrottleDevice>>,
    file: &str,
    field: &str,
) -> Done {
    for (index, device) in devices.iter().flatten().enumerate() {
        let json_path = format!("linux.resources.blockIO.{field}[{index}]");
        let number = device_number(device.major(), device.minor(), &json_path)?;
        writes.v1(
            "blkio",
            file,
            format!("{number} {}", device.rate()),
            &json_path,
        )?;
    }
    Ok(())
}

fn device_number(major: i64, minor: i64, json_path: &str) -> Result<String, Refusal> {
    if u32::try_from(major).is_err() || u32::try_from(minor).is_err() {
        return Err(Refusal::new(
            json_path,
            format!("{major}:{minor} is not a device number"),
        ));
    }
    Ok(format!("{major}:{minor}"))
}

fn hugepages(writes: &mut Writes, limit: &LinuxHugepageLimit, json_path: &str) -> Done {
    let size = limit.page_size();
    let (number, unit) = size.split_at(
        size.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(size.len()),
    );
    // The size becomes a part of a file's name.
    if number.is_empty() || number.starts_with('0') || !matches!(unit, "KB" | "MB" | "GB") {
        let message = format!(
            "{size:?} is not a page size as the kernel spells it, such as 64KB, 2MB or 1GB"
        );
        return Err(Refusal::new(format!("{json_path}.pageSize"), message));
    }
    let json_path = format!("{json_path}.limit");
    if limit.limit() < -1 {
        return Err(Refusal::new(
            json_path,
            format!(
                "{} is not a number of bytes; use -1 for unlimited",
                limit.limit()
            ),
        ));
    }
    let dir = writes.need("hugetlb", &json_path)?;
    let (suffix, value) = match (dir.is_unified(), limit.limit()) {
        (true, -1) => ("max", "max".to_owned()),
        (true, value) => ("max", value.to_string()),
        (false, value) => ("limit_in_bytes", value.to_string()),
    };
    if dir.is_unified() {
        writes.enable("hugetlb", &json_path);
    }
    writes.add(dir, &format!("hugetlb.{size}.{suffix}"), &value, &json_path);
    // Reservations are counted apart since Linux 5.7; without their limit, mmap could reserve what others need.
    writes
        .add(
            dir,
            &format!("hugetlb.{size}.rsvd.{suffix}"),
            &value,
            &json_path,
        )
        .missing = Missing::Ignore;
    Ok(())
}

fn network(writes: &mut Writes, network: &LinuxNetwork) -> Done {
    if let Some(value) = network.class_id().filter(|value| *value != 0) {
        writes.v1(
            "net_cls",
            "net_cls.classid",
            value,
            "linux.resources.network.classID",
        )?;
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let json_path = format!("linux.resources.network.priorities[{index}]");
        if priority.name().is_empty() || priority.name().contains(char::is_whitespace) {
            return Err(Refusal::new(
                format!("{json_path}.name"),
                format!("{:?} is not an interface's name", priority.name()),
            ));
        }
        let value = format!("{} {}", priority.name(), priority.priority());
        writes.v1("net_prio", "net_prio.ifpriomap", value, &json_path)?;
    }
    Ok(())
}

/// Any file of the cgroup v2 directory by its name.
fn unified(writes: &mut Writes, key: &str, value: &str) -> Done {
    let json_path = format!("linux.resources.unified.{key}");
    let Some(dir) = writes.unified() else {
        return Err(Refusal::new(
            json_path,
            "this host has cgroup v1 only; mount cgroup2 or remove the field",
        ));
    };
    let Some((controller, file)) = key.split_once('.').filter(|_| !key.contains('/')) else {
        return Err(Refusal::new(
            json_path,
            "is not a file name of cgroup v2; use one such as memory.high",
        ));
    };
    if dir.has(controller) {
        writes.enable(controller, &json_path);
    // Every cgroup has its core files and its pressure, whoever owns the controller.
    } else if controller != "cgroup" && file != "pressure" {
        let present = if dir.controllers.is_empty() {
            "none".to_owned()
        } else {
            dir.controllers.join(", ")
        };
        let message = format!(
            "the {controller} controller is not on the cgroup v2 mount (there: {present}); remove the field"
        );
        return Err(Refusal::new(json_path, message));
    }
    writes.add(dir, key, value, &json_path);
    Ok(())
}
