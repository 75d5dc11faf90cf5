//! The other compiler: libseccomp, driven with a profile as runc drives it.

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompOperator as Operator,
};
use seccomp::{Data, Instruction, run};
use std::io::Read;

/// What runc would load.
pub(crate) struct Oracle {
    pub(crate) instructions: Vec<Instruction>,
    /// Per architecture the highest number that the profile names; empty where runc adds no ENOSYS stub.
    newest: Vec<(Arch, u32)>,
}

/// Compiles a profile on x86_64. None where libseccomp refuses it: rules that contradict each other.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Option<Oracle> {
    let default = action(profile.default_action(), profile.default_errno_ret());
    let mut filter = ScmpFilterContext::new(default).expect("a filter");
    for arch in profile.architectures().iter().flatten() {
        filter.add_arch(native(*arch)).expect("an architecture");
    }
    if profile
        .syscalls()
        .iter()
        .flatten()
        .map(|rule| rule.names().len())
        .sum::<usize>()
        > 32
    {
        filter.set_ctl_optimize(2).expect("libseccomp 2.5");
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret());
        if action == default {
            continue;
        }
        for name in rule.names() {
            let Ok(syscall) = ScmpSyscall::from_name(name) else {
                continue;
            };
            let args = rule.args().clone().unwrap_or_default();
            let twice = args.iter().any(|arg| {
                args.iter()
                    .filter(|other| other.index() == arg.index())
                    .count()
                    > 1
            });
            let comparators: Vec<ScmpArgCompare> = args.iter().map(comparator).collect();
            if twice {
                for comparator in comparators {
                    filter
                        .add_rule_conditional(action, syscall, &[comparator])
                        .ok()?;
                }
            } else {
                filter
                    .add_rule_conditional(action, syscall, &comparators)
                    .ok()?;
            }
        }
    }
    Some(Oracle {
        instructions: export(&filter),
        newest: newest(profile),
    })
}

impl Oracle {
    /// The verdict of runc's program: its stub for unknown calls first, then libseccomp's.
    pub(crate) fn run(&self, data: &Data) -> u32 {
        const ENOSYS: u32 = 0x0005_0000 | 38;
        let x32 = data.nr & 0x4000_0000 != 0;
        let arch = match data.arch {
            0x4000_0003 => Arch::ScmpArchX86,
            0xc000_003e if x32 => Arch::ScmpArchX32,
            0xc000_003e => Arch::ScmpArchX86_64,
            _ => return run(&self.instructions, data),
        };
        if self
            .newest
            .iter()
            .any(|(known, newest)| *known == arch && data.nr > *newest)
        {
            return ENOSYS;
        }
        run(&self.instructions, data)
    }
}

fn newest(profile: &LinuxSeccomp) -> Vec<(Arch, u32)> {
    if matches!(
        profile.default_action(),
        Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace
    ) {
        return Vec::new();
    }
    let names = || {
        profile
            .syscalls()
            .iter()
            .flatten()
            .flat_map(|rule| rule.names())
    };
    let mut arches = vec![Arch::ScmpArchX86_64];
    arches.extend(profile.architectures().iter().flatten());
    // Our own table: what libseccomp does not know cannot be compared.
    let newest = |arch: &Arch| {
        names()
            .filter_map(|name| seccomp::number(*arch, name))
            .max()
    };
    arches
        .iter()
        .filter_map(|arch| Some((*arch, newest(arch).filter(|number| *number > 0)?)))
        .collect()
}

fn export(filter: &ScmpFilterContext) -> Vec<Instruction> {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut bytes = Vec::new();
    std::thread::scope(|scope| {
        // A program can be longer than a pipe holds.
        let read = scope.spawn(|| reader.read_to_end(&mut bytes));
        filter
            .export_bpf(&writer)
            .expect("libseccomp writes the program");
        drop(writer);
        read.join().expect("reader").expect("read");
    });
    let half = |pair: &[u8]| u16::from_ne_bytes([pair[0], pair[1]]);
    let instruction = |raw: &[u8]| Instruction {
        code: half(&raw[0..2]),
        jt: raw[2],
        jf: raw[3],
        k: u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]),
    };
    bytes.chunks_exact(8).map(instruction).collect()
}

pub(crate) fn native(arch: Arch) -> ScmpArch {
    match arch {
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        other => panic!("the oracle does not know {other}"),
    }
}

fn action(action: Action, errno: Option<u32>) -> ScmpAction {
    let data = errno.unwrap_or(1);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => ScmpAction::KillThread,
        Action::ScmpActKillProcess => ScmpAction::KillProcess,
        Action::ScmpActTrap => ScmpAction::Trap,
        Action::ScmpActErrno => ScmpAction::Errno(data.cast_signed()),
        Action::ScmpActTrace => ScmpAction::Trace(u16::try_from(data).expect("16 bits")),
        Action::ScmpActLog => ScmpAction::Log,
        Action::ScmpActAllow => ScmpAction::Allow,
        Action::ScmpActNotify => ScmpAction::Notify,
    }
}

fn comparator(arg: &LinuxSeccompArg) -> ScmpArgCompare {
    let operator = match arg.op() {
        Operator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        Operator::ScmpCmpLt => ScmpCompareOp::Less,
        Operator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        Operator::ScmpCmpEq => ScmpCompareOp::Equal,
        Operator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        Operator::ScmpCmpGt => ScmpCompareOp::Greater,
        Operator::ScmpCmpMaskedEq => {
            let value = arg.value_two().unwrap_or(0);
            return ScmpArgCompare::new(
                u32::try_from(arg.index()).expect("small"),
                ScmpCompareOp::MaskedEqual(arg.value()),
                value,
            );
        }
    };
    ScmpArgCompare::new(
        u32::try_from(arg.index()).expect("small"),
        operator,
        arg.value(),
    )
}
