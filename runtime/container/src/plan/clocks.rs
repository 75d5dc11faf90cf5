//! How far the clocks of a new time namespace are from the host's.

use oci_spec::runtime::Spec;
use serde::Serialize;
use sys::process::Namespaces;

use super::{Copier, Lack, NamespacePlan, Refusal};
use crate::Host;

const AT: &str = "linux.timeOffsets";

/// The clocks that a time namespace has (time_namespaces(7)), as the kernel and the specification spell them.
const CLOCKS: [&str; 2] = ["boottime", "monotonic"];

/// Seconds in the kernel's 64-bit count of nanoseconds (KTIME_SEC_MAX): no clock goes further.
const FURTHEST: i64 = i64::MAX / 1_000_000_000;

/// One clock of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimeOffset {
    pub clock: String,
    pub seconds: i64,
    /// Below 1,000,000,000; they are added, also to negative seconds.
    pub nanoseconds: u32,
}

/// Plans the offsets, by name; what the sum with the host's clock may be, only the kernel can say.
pub(super) fn plan(
    spec: &Spec,
    namespaces: &NamespacePlan,
    host: &Host,
    lacks: &mut Vec<Lack>,
) -> Result<Vec<TimeOffset>, Refusal> {
    let given = spec.linux().as_ref();
    let given = given.and_then(|linux| linux.time_offsets().as_ref());
    let mut offsets = Vec::new();
    // By name, so that of several wrong ones the same is told every time.
    let mut given: Vec<_> = given.into_iter().flatten().collect();
    given.sort_by_key(|(clock, _)| *clock);
    for (clock, offset) in given {
        let at = format!("{AT}.{clock}");
        if !CLOCKS.contains(&clock.as_str()) {
            let why = format!("no clock of a time namespace; use {}", CLOCKS.join(" or "));
            return Err(Refusal::new(at, why));
        }
        let (seconds, nanoseconds) = (
            offset.secs().unwrap_or_default(),
            offset.nanosecs().unwrap_or_default(),
        );
        if nanoseconds > 999_999_999 {
            let why = format!("{nanoseconds} is more than 999999999; put whole seconds into secs");
            return Err(Refusal::new(format!("{at}.nanosecs"), why));
        }
        if !(-FURTHEST..=FURTHEST).contains(&seconds) {
            let why = format!("{seconds} is not within {} to {FURTHEST}", -FURTHEST);
            return Err(Refusal::new(format!("{at}.secs"), why));
        }
        offsets.push(TimeOffset {
            clock: clock.clone(),
            seconds,
            nanoseconds,
        });
    }
    if !offsets.is_empty() {
        settable(namespaces)?;
        if host.copier() == Copier::Child && !namespaces.new.contains(Namespaces::PID) {
            let why = "an ordinary user sets clocks through files of the container's process that nobody else may see; add {\"type\": \"pid\"} to linux.namespaces";
            return Err(Refusal::new(AT, why));
        }
        if !namespaces.has_user() && host.capabilities & 1 << sys::capability::SYS_TIME == 0 {
            lacks.push(Lack {
                at: AT.into(),
                why: "setting clocks needs CAP_SYS_TIME or a user namespace".into(),
            });
        }
    }
    Ok(offsets)
}

/// The clocks of a namespace are fixed as soon as somebody is in it.
fn settable(namespaces: &NamespacePlan) -> Result<(), Refusal> {
    if namespaces.new.contains(Namespaces::TIME) {
        return Ok(());
    }
    let mut joined = namespaces.join.iter();
    let joined = joined.find(|join| join.kind == Namespaces::TIME);
    Err(match joined {
        Some(join) => Refusal::new(
            AT,
            format!(
                "the namespace {} ({}) has its clocks; remove one of the two",
                join.path.display(),
                join.at
            ),
        ),
        None => Refusal::new(
            AT,
            "clocks are set in a time namespace only; add {\"type\": \"time\"} to linux.namespaces",
        ),
    })
}
