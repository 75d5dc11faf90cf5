//! `cpu`, which is two controllers: time (`cpu`) and places (`cpuset`).

use oci_spec::runtime::LinuxCpu;

use super::Done;
use crate::error::Refusal;
use crate::plan::{Missing, Purpose, Writes};

const SHARES: &str = "linux.resources.cpu.shares";
const QUOTA: &str = "linux.resources.cpu.quota";
const PERIOD: &str = "linux.resources.cpu.period";
const IDLE: &str = "linux.resources.cpu.idle";

/// `own_weight` says that `unified` sets `cpu.weight` itself, which goes before `shares`.
pub(super) fn collect(writes: &mut Writes, cpu: &LinuxCpu, own_weight: bool) -> Done {
    let unified = writes.find("cpu").is_some_and(|dir| dir.is_unified());
    if let Some(value) = shares(cpu)? {
        let (file, value) = if unified {
            ("cpu.weight", weight(value))
        } else {
            ("cpu.shares", value)
        };
        if !(unified && own_weight) {
            // An idle cgroup takes no shares.
            writes.put("cpu", file, value, SHARES)?.retry_after =
                cpu.idle().map(|_| "cpu.idle".to_owned());
        }
    }
    if unified {
        bandwidth_v2(writes, cpu)?;
    } else {
        bandwidth_v1(writes, cpu)?;
    }
    if let Some(value) = cpu
        .idle()
        .filter(|value| *value != 0 || writes.find("cpu").is_some())
    {
        let write = writes.put("cpu", "cpu.idle", value, IDLE)?;
        if value == 0 {
            write.missing = Missing::Ignore;
        }
    }
    realtime(writes, cpu, unified)?;
    cpuset(writes, cpu)
}

fn shares(cpu: &LinuxCpu) -> Result<Option<u64>, Refusal> {
    // The kernel would quietly use the nearest value.
    let (value, word, bound) = match cpu.shares().filter(|value| *value != 0) {
        Some(value) if value < 2 => (value, "minimum", 2),
        Some(value) if value > 262_144 => (value, "maximum", 262_144),
        other => return Ok(other),
    };
    Err(Refusal::new(
        SHARES,
        format!("{value}: the {word} allowed cpu-shares is {bound}"),
    ))
}

/// Turns shares (2 to 262144, by default 1024) into a weight of cgroup v2 (1 to 10000, by default 100).
///
/// The power of ten whose exponent is the parabola in log2(shares) through these three points: what runc 1.3.2, crun 1.23 and
/// Kubernetes 1.35 agree on. All three are exact here, because the numerators are multiples of 612 there.
fn weight(shares: u64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "shares has 18 bits")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log - 126.0) / 612.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 1 to 10000"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

fn bandwidth_v1(writes: &mut Writes, cpu: &LinuxCpu) -> Done {
    let quota = cpu.quota().filter(|value| *value != 0);
    // Old quota over new period may exceed what the parent has, old quota may be below the new burst.
    let after_quota = quota.map(|_| "cpu.cfs_quota_us".to_owned());
    if let Some(value) = cpu.period().filter(|value| *value != 0) {
        writes
            .put("cpu", "cpu.cfs_period_us", value, PERIOD)?
            .retry_after
            .clone_from(&after_quota);
    }
    burst(writes, cpu, "cpu.cfs_burst_us", after_quota)?;
    if let Some(value) = quota.filter(|value| *value > 0 || writes.find("cpu").is_some()) {
        writes.put("cpu", "cpu.cfs_quota_us", value, QUOTA)?;
    }
    Ok(())
}

/// `cpu.max` holds quota and period; the period stays what it is where only the quota is written.
fn bandwidth_v2(writes: &mut Writes, cpu: &LinuxCpu) -> Done {
    let quota = cpu.quota().filter(|value| *value != 0);
    let period = cpu.period().filter(|value| *value != 0);
    let after = (quota.is_some() || period.is_some()).then(|| "cpu.max".to_owned());
    burst(writes, cpu, "cpu.max.burst", after)?;
    let json_path = if quota.is_some() { QUOTA } else { PERIOD };
    let first = match quota {
        Some(quota) if quota > 0 => Some(quota.to_string()),
        Some(_) => Some("max".to_owned()),
        None if writes.purpose == Purpose::Create => Some("max".to_owned()),
        None => None,
    };
    let value = match (first, period, quota) {
        (_, None, None) => return Ok(()),
        (Some(first), None, _) => first,
        (Some(first), Some(period), _) => format!("{first} {period}"),
        (None, Some(period), _) => {
            writes.put("cpu", "cpu.max", period, json_path)?.keep_first = true;
            return Ok(());
        }
        (None, None, Some(_)) => return Ok(()),
    };
    writes.put("cpu", "cpu.max", value, json_path)?;
    Ok(())
}

fn burst(writes: &mut Writes, cpu: &LinuxCpu, file: &str, retry_after: Option<String>) -> Done {
    let json_path = "linux.resources.cpu.burst";
    let Some(value) = cpu
        .burst()
        .filter(|value| *value != 0 || writes.find("cpu").is_some())
    else {
        return Ok(());
    };
    let write = writes.put("cpu", file, value, json_path)?;
    write.retry_after = retry_after;
    write.missing = if value == 0 {
        Missing::Ignore
    } else {
        Missing::Warn(format!(
            "{json_path}: this kernel has no burst (it came with Linux 5.14); ignored"
        ))
    };
    Ok(())
}

fn realtime(writes: &mut Writes, cpu: &LinuxCpu, unified: bool) -> Done {
    let (runtime_path, period_path) = (
        "linux.resources.cpu.realtimeRuntime",
        "linux.resources.cpu.realtimePeriod",
    );
    let runtime = cpu.realtime_runtime().filter(|value| *value != 0);
    let period = cpu.realtime_period().filter(|value| *value != 0);
    if unified && (runtime.is_some() || period.is_some()) {
        let json_path = runtime.map_or(period_path, |_| runtime_path);
        let message = "cgroup v2 has no budget for real-time processes; remove the field";
        return Err(Refusal::new(json_path, message));
    }
    if let Some(value) = period {
        let write = writes.put("cpu", "cpu.rt_period_us", value, period_path)?;
        write.retry_after = runtime.map(|_| "cpu.rt_runtime_us".to_owned());
        write.in_new_parents = true;
    }
    if let Some(value) = runtime {
        writes
            .put("cpu", "cpu.rt_runtime_us", value, runtime_path)?
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
        writes.put("cpuset", file, value, json_path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn shares_as_a_weight() {
        // The ends and the defaults, then what runc's and Kubernetes' own tables have.
        for (shares, expected) in [
            (2, 1),
            (1024, 100),
            (262_144, 10_000),
            (3, 2),
            (100, 17),
            (102, 17),
            (512, 59),
            (2000, 170),
            (2048, 174),
        ] {
            assert_eq!(weight(shares), expected, "{shares}");
        }
    }
}
