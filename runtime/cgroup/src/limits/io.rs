//! `blockIO`: the controller `blkio` of cgroup v1, `io` of cgroup v2.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::Done;
use crate::error::Refusal;
use crate::plan::{Missing, Writes};

pub(super) fn collect(writes: &mut Writes, io: &LinuxBlockIo) -> Done {
    let unified = writes.find("blkio").is_none() && writes.find("io").is_some();
    weights(writes, io, unified)?;
    for (devices, field, v1, v2) in [
        (
            io.throttle_read_bps_device(),
            "throttleReadBpsDevice",
            "blkio.throttle.read_bps_device",
            "rbps",
        ),
        (
            io.throttle_write_bps_device(),
            "throttleWriteBpsDevice",
            "blkio.throttle.write_bps_device",
            "wbps",
        ),
        (
            io.throttle_read_iops_device(),
            "throttleReadIOPSDevice",
            "blkio.throttle.read_iops_device",
            "riops",
        ),
        (
            io.throttle_write_iops_device(),
            "throttleWriteIOPSDevice",
            "blkio.throttle.write_iops_device",
            "wiops",
        ),
    ] {
        let devices = devices.as_deref().unwrap_or_default();
        throttle(
            writes,
            devices,
            field,
            if unified { v2 } else { v1 },
            unified,
        )?;
    }
    Ok(())
}

fn weights(writes: &mut Writes, io: &LinuxBlockIo, unified: bool) -> Done {
    let json_path = "linux.resources.blockIO.weight";
    if let Some(value) = weight(io.weight(), json_path)? {
        put_weight(writes, "", value, json_path, unified)?;
    }
    let json_path = "linux.resources.blockIO.leafWeight";
    if let Some(value) = weight(io.leaf_weight(), json_path)? {
        put_leaf(writes, "blkio.leaf_weight", value, json_path, unified)?;
    }
    for (index, device) in io.weight_device().iter().flatten().enumerate() {
        let json_path = format!("linux.resources.blockIO.weightDevice[{index}]");
        let number = device_number(device.major(), device.minor(), &json_path)?;
        let weight_path = format!("{json_path}.weight");
        if let Some(value) = weight(device.weight(), &weight_path)? {
            put_weight(writes, &number, value, &weight_path, unified)?;
        }
        let leaf_path = format!("{json_path}.leafWeight");
        if let Some(value) = weight(device.leaf_weight(), &leaf_path)? {
            let value = format!("{number} {value}");
            put_leaf(
                writes,
                "blkio.leaf_weight_device",
                value,
                &leaf_path,
                unified,
            )?;
        }
    }
    Ok(())
}

/// Adds a weight, of one device or of all the others. By kernel version, configuration and loaded modules one of two files exists
/// on either version; those of BFQ count from 1 to 1000 and take the value as it is.
fn put_weight(
    writes: &mut Writes,
    device: &str,
    value: u16,
    json_path: &str,
    unified: bool,
) -> Done {
    let line = |value: u16| format!("{device} {value}").trim_start().to_owned();
    let suffix = if device.is_empty() { "" } else { "_device" };
    let (controller, file, other, other_value) = if unified {
        (
            "io",
            "io.bfq.weight".to_owned(),
            "io.weight".to_owned(),
            to_v2(value),
        )
    } else {
        let (file, other) = (
            format!("blkio.weight{suffix}"),
            format!("blkio.bfq.weight{suffix}"),
        );
        ("blkio", file, other, value)
    };
    writes
        .put(controller, &file, line(value), json_path)?
        .missing = Missing::Use {
        file: other,
        value: line(other_value),
    };
    Ok(())
}

fn put_leaf(
    writes: &mut Writes,
    file: &str,
    value: impl ToString,
    json_path: &str,
    unified: bool,
) -> Done {
    if unified {
        writes.warn(json_path, "cgroup v2 has no weights of leaves");
    } else {
        writes.put("blkio", file, value, json_path)?;
    }
    Ok(())
}

/// Stretches 10 to 1000 to the 1 to 10000 of cgroup v2, as all runtimes do.
fn to_v2(weight: u16) -> u16 {
    let stretched = 1 + (u32::from(weight) - 10) * 9999 / 990;
    u16::try_from(stretched).unwrap_or(10_000)
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

/// Adds limits in bytes or operations per second; `name` is the file on v1, the key in `io.max` on v2.
fn throttle(
    writes: &mut Writes,
    devices: &[LinuxThrottleDevice],
    field: &str,
    name: &str,
    unified: bool,
) -> Done {
    for (index, device) in devices.iter().enumerate() {
        let json_path = format!("linux.resources.blockIO.{field}[{index}]");
        let number = device_number(device.major(), device.minor(), &json_path)?;
        let rate = device.rate();
        if unified {
            // 0 lifts a limit on cgroup v1.
            let rate = if rate == 0 {
                "max".to_owned()
            } else {
                rate.to_string()
            };
            writes.put(
                "io",
                "io.max",
                format!("{number} {name}={rate}"),
                &json_path,
            )?;
        } else {
            writes.put("blkio", name, format!("{number} {rate}"), &json_path)?;
        }
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
