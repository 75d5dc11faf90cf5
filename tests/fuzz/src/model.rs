//! What a seccomp profile means, by walking its rules for each call: no ranges, no tree, no jumps. And what the kernel takes for a program.

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use seccomp::Data;

const X32_BIT: u32 = 0x4000_0000;
const KILL_THREAD: u32 = 0;
const ENOSYS: u32 = 0x0005_0000 | 38;

/// socketcall(2)'s first argument counts these from one.
const SOCKET: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// ipc(2)'s first argument.
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The architectures whose programs a kernel can run besides its own.
pub(crate) fn siblings(native: Arch) -> Vec<Arch> {
    match native {
        Arch::ScmpArchX86_64 => vec![Arch::ScmpArchX86, Arch::ScmpArchX32],
        Arch::ScmpArchAarch64 => vec![Arch::ScmpArchArm],
        _ => Vec::new(),
    }
}

/// The number by which the kernel names an architecture to a filter; x32 has none of its own.
pub(crate) fn audit(arch: Arch) -> u32 {
    match arch {
        Arch::ScmpArchX32 => Arch::ScmpArchX86_64 as u32,
        arch => arch as u32,
    }
}

/// A profile on one kind of kernel.
pub(crate) struct Model<'a> {
    profile: &'a LinuxSeccomp,
    arches: Vec<Arch>,
    default: u32,
}

/// One comparison of the arguments: of which, of which bits, how, with what.
#[derive(Clone)]
struct Condition {
    argument: usize,
    mask: u64,
    operator: Operator,
    value: u64,
}

impl<'a> Model<'a> {
    pub(crate) fn new(profile: &'a LinuxSeccomp, native: Arch) -> Self {
        let listed = |arch: &Arch| profile.architectures().iter().flatten().any(|a| a == arch);
        let others = siblings(native).into_iter().filter(listed);
        Self {
            profile,
            arches: [native].into_iter().chain(others).collect(),
            default: action(profile.default_action(), profile.default_errno_ret()),
        }
    }

    pub(crate) fn verdict(&self, data: &Data) -> u32 {
        let of_x86 = data.arch == Arch::ScmpArchX86_64 as u32;
        let x32 = of_x86 && data.nr & X32_BIT != 0;
        let fits =
            |arch: &&Arch| audit(**arch) == data.arch && x32 == (**arch == Arch::ScmpArchX32);
        match self.arches.iter().find(fits) {
            Some(arch) => self.on(*arch, data),
            // A tracer has the call skipped.
            None if data.nr == u32::MAX && of_x86 => self.default,
            None => KILL_THREAD,
        }
    }

    fn on(&self, arch: Arch, data: &Data) -> u32 {
        let rules: Vec<(Vec<Condition>, u32)> = self.rules(arch, data.nr);
        if rules.is_empty() {
            return self.background(arch, data.nr);
        }
        // A rule without conditions counts more than any with some; among those the more special one.
        if let Some((_, action)) = rules.iter().find(|(conditions, _)| conditions.is_empty()) {
            return *action;
        }
        let mut sorted: Vec<_> = rules.iter().collect();
        sorted.sort_by_key(|(conditions, _)| {
            std::cmp::Reverse(conditions.iter().map(special).collect::<Vec<_>>())
        });
        let holds = |(conditions, _): &&&(Vec<Condition>, u32)| {
            conditions
                .iter()
                .all(|condition| holds(condition, arch, data))
        };
        sorted
            .iter()
            .find(holds)
            .map_or(self.default, |(_, action)| *action)
    }

    /// Returns the rules for a number, in the order of the profile.
    fn rules(&self, arch: Arch, nr: u32) -> Vec<(Vec<Condition>, u32)> {
        let mut found = Vec::new();
        for syscall in self.profile.syscalls().iter().flatten() {
            let action = action(syscall.action(), syscall.errno_ret());
            if action == self.default {
                continue;
            }
            for name in syscall.names() {
                for conditions in alternatives(syscall) {
                    if seccomp::number(arch, name) == Some(nr) {
                        let counts = |c: &Condition| {
                            c.mask & bits(arch) != 0 || c.operator != Operator::ScmpCmpMaskedEq
                        };
                        found.push((
                            conditions.iter().filter(|c| counts(c)).cloned().collect(),
                            action,
                        ));
                    }
                    // Behind a multiplexer no argument can be read: only what holds for all of them may open it.
                    let reaches =
                        conditions.is_empty() || action.cast_signed() < self.default.cast_signed();
                    if let Some(part) = part(arch, name, nr).filter(|_| reaches) {
                        found.push((vec![part], action));
                    }
                }
            }
        }
        found
    }

    /// What becomes of a number without a rule.
    fn background(&self, arch: Arch, nr: u32) -> u32 {
        let permissive = [
            Action::ScmpActAllow,
            Action::ScmpActLog,
            Action::ScmpActTrace,
            Action::ScmpActNotify,
        ];
        let names = self
            .profile
            .syscalls()
            .iter()
            .flatten()
            .flat_map(LinuxSyscall::names);
        let newest = names
            .filter_map(|name| seccomp::number(arch, name))
            .max()
            .unwrap_or(0);
        if permissive.contains(&self.profile.default_action()) || newest == 0 {
            return self.default;
        }
        let unused = seccomp::newest(arch).unwrap_or(u32::MAX - 1) + 1;
        // Calls that stand apart from all others.
        let apart = match arch {
            Arch::ScmpArchX32 => X32_BIT | 512,
            Arch::ScmpArchArm => 0x000f_0001,
            _ => u32::MAX,
        };
        if nr > newest || (newest >= apart && (unused..apart).contains(&nr)) {
            ENOSYS
        } else {
            self.default
        }
    }
}

/// Arguments of 32 bits where the architecture has no wider ones.
fn bits(arch: Arch) -> u64 {
    match arch {
        Arch::ScmpArchX86_64 | Arch::ScmpArchAarch64 => u64::MAX,
        _ => 0xffff_ffff,
    }
}

fn part(arch: Arch, name: &str, nr: u32) -> Option<Condition> {
    let multiplexer = |name| seccomp::number(arch, name) == Some(nr);
    let (value, mask) = if multiplexer("socketcall") {
        let index = SOCKET.iter().position(|known| *known == name)?;
        (u64::try_from(index).ok()? + 1, 0xffff_ffff)
    } else if multiplexer("ipc") {
        (IPC.iter().find(|(known, _)| *known == name)?.1, 0xffff)
    } else {
        return None;
    };
    Some(Condition {
        argument: 0,
        mask,
        operator: Operator::ScmpCmpMaskedEq,
        value,
    })
}

/// Conditions hold together, but where an argument is named twice each stands for itself.
fn alternatives(syscall: &LinuxSyscall) -> Vec<Vec<Condition>> {
    let mut all: Vec<Condition> = syscall.args().iter().flatten().map(condition).collect();
    all.sort_by_key(|condition| condition.argument);
    if all
        .windows(2)
        .any(|pair| pair[0].argument == pair[1].argument)
    {
        all.into_iter().map(|condition| vec![condition]).collect()
    } else {
        vec![all]
    }
}

fn condition(arg: &LinuxSeccompArg) -> Condition {
    let masked = arg.op() == Operator::ScmpCmpMaskedEq;
    Condition {
        argument: arg.index(),
        operator: arg.op(),
        mask: if masked { arg.value() } else { u64::MAX },
        value: if masked {
            arg.value_two().unwrap_or(0) & arg.value()
        } else {
            arg.value()
        },
    }
}

fn special(condition: &Condition) -> (usize, u8, u64) {
    let (kind, narrow) = match condition.operator {
        Operator::ScmpCmpEq | Operator::ScmpCmpNe | Operator::ScmpCmpMaskedEq => {
            (3, condition.value)
        }
        Operator::ScmpCmpLt | Operator::ScmpCmpLe => (2, !condition.value),
        Operator::ScmpCmpGt | Operator::ScmpCmpGe => (1, condition.value),
    };
    (condition.argument, kind, narrow)
}

fn holds(condition: &Condition, arch: Arch, data: &Data) -> bool {
    let bits = bits(arch);
    let (actual, value) = (data.args[condition.argument] & bits, condition.value & bits);
    match condition.operator {
        Operator::ScmpCmpEq => actual == value,
        Operator::ScmpCmpNe => actual != value,
        Operator::ScmpCmpLt => actual < value,
        Operator::ScmpCmpLe => actual <= value,
        Operator::ScmpCmpGt => actual > value,
        Operator::ScmpCmpGe => actual >= value,
        Operator::ScmpCmpMaskedEq => actual & condition.mask == value,
    }
}

fn action(action: Action, errno: Option<u32>) -> u32 {
    let data = errno.unwrap_or(1);
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => KILL_THREAD,
        Action::ScmpActKillProcess => 0x8000_0000,
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActErrno => 0x0005_0000 | data,
        Action::ScmpActTrace => 0x7ff0_0000 | data,
        Action::ScmpActNotify => 0x7fc0_0000,
        Action::ScmpActLog => 0x7ffc_0000,
        Action::ScmpActAllow => 0x7fff_0000,
    }
}

/// Demands what the kernel demands of a filter (`bpf_check_classic` and `seccomp_check_filter`), as far as our programs go.
pub(crate) fn is_valid(program: &[sys::seccomp::Instruction]) {
    is_valid_list(program.iter().map(|i| (i.code, i.jt, i.jf, i.k)));
}

pub(crate) fn is_valid_list(program: impl ExactSizeIterator<Item = (u16, u8, u8, u32)>) {
    let length = program.len();
    assert!((1..=4096).contains(&length), "{length} instructions");
    for (at, (code, jt, jf, k)) in program.enumerate() {
        let reaches = |over: usize| {
            assert!(
                at + over + 1 < length,
                "{at}: {code:x} jumps behind the end"
            )
        };
        match code {
            // ld [k]: the kernel turns it into a load of seccomp_data, which has 64 bytes.
            0x20 => assert!(k < 64 && k.is_multiple_of(4), "{at}: a load at {k}"),
            // and #k
            0x54 => {}
            // ja, jeq, jgt, jge, jset
            0x05 => reaches(usize::try_from(k).expect("32 bits")),
            0x15 | 0x25 | 0x35 | 0x45 => [jt, jf].map(usize::from).into_iter().for_each(reaches),
            // ret #k
            0x06 => continue,
            other => panic!("{at}: {other:x} is no instruction of a filter"),
        }
        assert!(at + 1 < length, "the last instruction does not return");
    }
}
