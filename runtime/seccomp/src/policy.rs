//! From the words of a profile to numbers: every default and every refusal.

use crate::arch::{self, Abi};
use crate::machine;
use crate::table::{self, ABSENT, Row};
use crate::{Flags, Refusal};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator, LinuxSyscall,
};

/// A profile, understood.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) default: u32,
    pub(crate) flags: Flags,
    /// The native architecture first.
    pub(crate) abis: Vec<&'static Abi>,
    pub(crate) rules: Vec<Rule>,
    /// Per entry of `abis` the highest number that the profile names, whatever it says about it.
    pub(crate) newest_named: Vec<u32>,
    pub(crate) warnings: Vec<String>,
    pub(crate) unknown: Vec<Refusal>,
    /// The place of the first rule that notifies.
    pub(crate) notify: Option<String>,
}

/// One system call, all conditions that have to hold, and what happens then.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) row: &'static Row,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: u32,
}

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) argument: u8,
    pub(crate) operator: Operator,
    /// All ones but for MASKED_EQ.
    pub(crate) mask: u64,
    pub(crate) value: u64,
}

/// The error numbers that the kernel passes on; anything above would look like an address to the C library.
const MAX_ERRNO: u32 = 4095;
/// The part of a verdict that holds data.
const MAX_DATA: u32 = 0xffff;
const EPERM: u32 = 1;

/// Understands a profile for programs that run on a kernel of the `native` architecture.
pub(crate) fn read(profile: &LinuxSeccomp, native: Arch) -> Result<Policy, Refusal> {
    let mut warnings = Vec::new();
    let default = action(
        profile.default_action(),
        profile.default_errno_ret(),
        &mut warnings,
        |field| match field {
            "action" => "linux.seccomp.defaultAction".to_string(),
            _ => "linux.seccomp.defaultErrnoRet".to_string(),
        },
    )?;
    let abis = abis(profile, native)?;
    let mut policy = Policy {
        default,
        flags: Flags::default(),
        newest_named: vec![0; abis.len()],
        abis,
        rules: Vec::with_capacity(512),
        warnings,
        unknown: Vec::new(),
        notify: (default == machine::NOTIFY).then(|| "linux.seccomp.defaultAction".to_string()),
    };
    for (index, syscall) in profile.syscalls().iter().flatten().enumerate() {
        policy.add(syscall, index)?;
    }
    policy.flags = flags(profile, policy.notify.is_some(), &mut policy.warnings);
    Ok(policy)
}

fn flags(profile: &LinuxSeccomp, notify: bool, warnings: &mut Vec<String>) -> Flags {
    let mut flags = if notify {
        Flags::NEW_LISTENER
    } else {
        Flags::default()
    };
    for flag in profile.flags().iter().flatten() {
        flags.0 |= match flag {
            // With a listener the kernel takes it only beside a further flag. It would change nothing for a process with one
            // thread, and it must not reach the thread that hands the listener on.
            Flag::SeccompFilterFlagTsync if notify => 0,
            Flag::SeccompFilterFlagTsync => Flags::TSYNC.0,
            Flag::SeccompFilterFlagLog => Flags::LOG.0,
            Flag::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW.0,
            Flag::SeccompFilterFlagWaitKillableRecv if notify => Flags::WAIT_KILLABLE_RECV.0,
            Flag::SeccompFilterFlagWaitKillableRecv => {
                // The kernel answers EINVAL to this flag on a filter that nobody listens to, and there it has no meaning anyway.
                warnings.push("linux.seccomp.flags: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is ignored: no rule notifies".into());
                0
            }
        };
    }
    flags
}

/// Returns what this kernel can run out of what the profile lists, and always the native architecture.
///
/// Others are left out: no system call can arrive from them, and one profile can so serve machines of different kinds. A program of an
/// architecture that is not listed is killed at its first system call.
fn abis(profile: &LinuxSeccomp, native: Arch) -> Result<Vec<&'static Abi>, Refusal> {
    let own = arch::find(native).ok_or_else(|| {
        refuse(
            "linux.seccomp",
            format!("no system call numbers are known for the native {native}"),
        )
    })?;
    let listed = profile.architectures().iter().flatten().copied();
    let mut abis = vec![own];
    for arch in listed.filter(|arch| arch::siblings(native).contains(arch)) {
        abis.extend(arch::find(arch).filter(|abi| !abis.contains(abi)));
    }
    Ok(abis)
}

impl Policy {
    fn add(&mut self, syscall: &LinuxSyscall, index: usize) -> Result<(), Refusal> {
        let path = |field: &str| format!("linux.seccomp.syscalls[{index}].{field}");
        let action = action(
            syscall.action(),
            syscall.errno_ret(),
            &mut self.warnings,
            path,
        )?;
        let alternatives = alternatives(syscall, index)?;
        if syscall.names().is_empty() {
            return Err(refuse(
                &path("names"),
                "is empty, at least one system call is expected".into(),
            ));
        }
        for (position, name) in syscall.names().iter().enumerate() {
            if name.is_empty() {
                return Err(refuse(
                    &path(&format!("names[{position}]")),
                    "is empty, a system call's name is expected".into(),
                ));
            }
            let Some(row) = table::row(name) else {
                let place = path(&format!("names[{position}]"));
                let what = format!("unknown system call {name:?}");
                self.warnings.push(format!("{place}: {what} is ignored"));
                self.unknown.push(refuse(&place, what));
                continue;
            };
            for (newest, abi) in self.newest_named.iter_mut().zip(&self.abis) {
                let number = row.numbers[abi.column];
                if number != ABSENT && number > *newest {
                    *newest = number;
                }
            }
            // A rule that says what happens anyway is left out, as runc does. That is not the same as a rule that wins: a later rule
            // for this name still counts.
            if action != self.default {
                if action == machine::NOTIFY && self.notify.is_none() {
                    self.notify = Some(path("action"));
                }
                self.rules
                    .extend(alternatives.iter().map(|conditions| Rule {
                        row,
                        conditions: conditions.clone(),
                        action,
                    }));
            }
        }
        Ok(())
    }
}

/// Returns the sets of conditions of which one has to hold.
///
/// Conditions of one rule hold together, except where an argument appears twice: then each stands for itself. Runc does so since times
/// when libseccomp could not compare an argument twice, and profiles rely on it.
fn alternatives(syscall: &LinuxSyscall, index: usize) -> Result<Vec<Vec<Condition>>, Refusal> {
    let mut conditions = Vec::new();
    let mut twice = false;
    for (position, arg) in syscall.args().iter().flatten().enumerate() {
        let next = condition(arg).ok_or_else(|| {
            let path = format!("linux.seccomp.syscalls[{index}].args[{position}].index");
            refuse(
                &path,
                format!(
                    "{} is not an argument of a system call, the last one is 5",
                    arg.index()
                ),
            )
        })?;
        twice |= conditions
            .iter()
            .any(|other: &Condition| other.argument == next.argument);
        conditions.push(next);
    }
    conditions.sort_by_key(|condition| condition.argument);
    if twice {
        return Ok(conditions
            .into_iter()
            .map(|condition| vec![condition])
            .collect());
    }
    Ok(vec![conditions])
}

fn condition(arg: &LinuxSeccompArg) -> Option<Condition> {
    let argument = u8::try_from(arg.index()).ok().filter(|index| *index < 6)?;
    let (mask, value) = match arg.op() {
        Operator::ScmpCmpMaskedEq => (arg.value(), arg.value_two().unwrap_or(0) & arg.value()),
        _ => (u64::MAX, arg.value()),
    };
    Some(Condition {
        argument,
        operator: arg.op(),
        mask,
        value,
    })
}

/// Returns the verdict that an action stands for; `path` names the field `action` or `errnoRet` of its rule.
fn action(
    action: Action,
    errno: Option<u32>,
    warnings: &mut Vec<String>,
    path: impl Fn(&str) -> String,
) -> Result<u32, Refusal> {
    let data = |limit: u32, what: &str| match errno.unwrap_or(EPERM) {
        data if data > limit => Err(refuse(
            &path("errnoRet"),
            format!("{data} is not {what}, the largest is {limit}"),
        )),
        data => Ok(data),
    };
    if errno.is_some() && !matches!(action, Action::ScmpActErrno | Action::ScmpActTrace) {
        // The specification wants an error; runc and crun take it, and profiles that carry a zero everywhere exist.
        warnings.push(format!(
            "{}: is ignored, {action} returns no number",
            path("errnoRet")
        ));
    }
    Ok(match action {
        Action::ScmpActKill | Action::ScmpActKillThread => machine::KILL_THREAD,
        Action::ScmpActKillProcess => machine::KILL_PROCESS,
        Action::ScmpActTrap => machine::TRAP,
        Action::ScmpActErrno => machine::ERRNO | data(MAX_ERRNO, "an error number")?,
        Action::ScmpActTrace => machine::TRACE | data(MAX_DATA, "a number for a tracer")?,
        Action::ScmpActLog => machine::LOG,
        Action::ScmpActAllow => machine::ALLOW,
        Action::ScmpActNotify => machine::NOTIFY,
    })
}

fn refuse(path: &str, what: String) -> Refusal {
    Refusal {
        json_path: path.to_string(),
        what,
    }
}
