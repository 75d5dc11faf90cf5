//! The values of `linux.resources`, as writes to the files of their controllers.
//!
//! Callers send zero and empty values for what they do not want to set; where zero is not a limit that anybody could mean, it
//! counts as not set. A limit whose controller is not mounted is refused, because a container that runs unlimited looks well.

mod cpu;
mod io;
mod memory;

use std::collections::HashMap;

use oci_spec::runtime::{LinuxHugepageLimit, LinuxNetwork, LinuxPids, LinuxRdma, LinuxResources};

use crate::error::Refusal;
use crate::plan::{Missing, Purpose, Writes};

type Done = Result<(), Refusal>;

/// Adds every limit but the device rules.
pub(crate) fn collect(writes: &mut Writes, resources: &LinuxResources) -> Done {
    if let Some(value) = resources.memory() {
        memory::collect(writes, value)?;
    }
    if let Some(value) = resources.cpu() {
        let unified = resources.unified().as_ref();
        let own_weight = unified.is_some_and(|map| map.contains_key("cpu.weight"));
        cpu::collect(writes, value, own_weight)?;
    }
    if let Some(value) = resources.pids() {
        pids(writes, value)?;
    }
    if let Some(value) = resources.block_io() {
        io::collect(writes, value)?;
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
    if let Some(value) = resources.rdma() {
        rdma(writes, value)?;
    }
    let mut keys: Vec<(&String, &String)> = resources.unified().iter().flatten().collect();
    keys.sort();
    for (key, value) in keys {
        unified(writes, key, value)?;
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
    writes.put("pids", "pids.max", value, json_path)?;
    Ok(())
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
        writes.put(
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
        writes.put("net_prio", "net_prio.ifpriomap", value, &json_path)?;
    }
    Ok(())
}

/// A device without limits of its own is left alone.
fn rdma(writes: &mut Writes, devices: &HashMap<String, LinuxRdma>) -> Done {
    let mut devices: Vec<_> = devices.iter().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let json_path = format!("linux.resources.rdma.{name}");
        if name.is_empty() || name.contains(char::is_whitespace) {
            let message = format!("{name:?} is not a device's name, such as mlx5_1");
            return Err(Refusal::new(json_path, message));
        }
        let word = |key: &str, value: Option<u32>| value.map(|value| format!(" {key}={value}"));
        let words = [
            word("hca_handle", limit.hca_handles()),
            word("hca_object", limit.hca_objects()),
        ];
        if words.iter().any(Option::is_some) {
            let words: String = words.into_iter().flatten().collect();
            writes.put("rdma", "rdma.max", format!("{name}{words}"), &json_path)?;
        }
    }
    Ok(())
}

/// Any file of the cgroup v2 directory by its name; each line of the value is a write of its own.
fn unified(writes: &mut Writes, key: &str, value: &str) -> Done {
    let json_path = format!("linux.resources.unified.{key}");
    let Some(dir) = writes.unified() else {
        return Err(Refusal::new(
            json_path,
            "this host has cgroup v1 only; mount cgroup2 or remove the field",
        ));
    };
    let Some((controller, file)) = key.split_once('.').filter(|_| !key.contains(['/', '\0']))
    else {
        return Err(Refusal::new(
            json_path,
            "is not a file name of cgroup v2; use one such as memory.high",
        ));
    };
    if dir.has(controller) {
        writes.enable(controller, &json_path);
    // Every cgroup has its core files and its pressure, whoever owns the controller.
    } else if controller != "cgroup" && file != "pressure" {
        let message = format!(
            "the {controller} controller is not on the cgroup v2 mount (there: {}); remove the field",
            dir.list()
        );
        return Err(Refusal::new(json_path, message));
    }
    if value.is_empty() {
        writes.add(dir, key, value, &json_path);
    }
    for line in value.lines() {
        writes.add(dir, key, line, &json_path);
    }
    Ok(())
}
