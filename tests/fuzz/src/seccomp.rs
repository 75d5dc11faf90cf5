//! A seccomp profile -> BPF: the program is valid, and says what the profile means.

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSyscall};
use seccomp::{Data, compile, run as execute};

use crate::model::{self, Model};

/// Values of arguments around which no profile has to say anything.
const VALUES: [u64; 6] = [0, 1, 0x7fff_ffff, 0xffff_ffff, 0x1_0000_0000, u64::MAX];

/// The most calls that are tried, so that one long profile does not take the time of a thousand.
const CALLS: usize = 600;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(bytes) else {
        return;
    };
    let native = [Arch::ScmpArchX86_64, Arch::ScmpArchAarch64][bytes.len() % 2];
    let compiled = compile(&profile, native);
    assert_eq!(compiled, compile(&profile, native));
    let Ok(program) = compiled else {
        return;
    };
    let instructions = program.instructions.iter();
    model::is_valid_list(instructions.map(|i| (i.code, i.jt, i.jf, i.k)));
    let model = Model::new(&profile, native);
    for data in calls(&profile, native).into_iter().take(CALLS) {
        let (ours, meant) = (execute(&program.instructions, &data), model.verdict(&data));
        assert_eq!(ours, meant, "{ours:x} instead of {meant:x} for {data:x?}");
    }
}

/// Returns calls that the rules speak of, with arguments on both sides of every comparison, and numbers that nobody speaks of.
fn calls(profile: &LinuxSeccomp, native: Arch) -> Vec<Data> {
    let arches = [native].into_iter().chain(model::siblings(native));
    let arches: Vec<Arch> = arches.collect();
    let mut calls = vec![call(Arch::ScmpArchPpc, 1, [0; 6])];
    for arch in &arches {
        let newest = seccomp::newest(*arch).unwrap_or_default();
        let odd = [0x3fff_ffff, 0x4000_0000, 0x4000_0201, u32::MAX];
        let numbers = [0, 1, 334, newest, newest + 1].into_iter().chain(odd);
        calls.extend(numbers.map(|nr| call(*arch, nr, [0; 6])));
    }
    for rule in profile.syscalls().iter().flatten() {
        for arch in &arches {
            for (name, parts) in [("socketcall", 21), ("ipc", 25)] {
                if let Some(nr) = seccomp::number(*arch, name) {
                    calls.extend((0..parts).map(|part| call(*arch, nr, [part, 0, 0, 0, 0, 0])));
                }
            }
            for name in rule.names().iter().take(3) {
                if let Some(nr) = seccomp::number(*arch, name) {
                    calls.push(call(*arch, nr.wrapping_add(1), [0; 6]));
                    calls.extend(arguments(rule).map(|args| call(*arch, nr, args)));
                }
            }
        }
    }
    calls
}

fn call(arch: Arch, nr: u32, args: [u64; 6]) -> Data {
    Data {
        nr,
        arch: model::audit(arch),
        ip: 0,
        args,
    }
}

/// Returns arguments around everything that a rule compares with.
fn arguments(rule: &LinuxSyscall) -> impl Iterator<Item = [u64; 6]> {
    let given = rule.args().iter().flatten();
    let mut around: Vec<u64> = given
        .flat_map(|arg| {
            let (one, two) = (arg.value(), arg.value_two().unwrap_or(0));
            let beside = [one.wrapping_sub(1), one.wrapping_add(1), one ^ 1 << 32];
            [one, two, one & two].into_iter().chain(beside)
        })
        .collect();
    around.extend(VALUES);
    (0..around.len()).flat_map(move |index| {
        // One argument differs from the others, each in its turn; or all are the same.
        let mut args = [around[(index * 7 + 3) % around.len()]; 6];
        args[index % 6] = around[index];
        [args, [around[index]; 6]]
    })
}
