//! Our programs and libseccomp's, driven as runc drives it, say the same.
//!
//! Left out is what libseccomp 2.5.4 itself gets wrong: several rules for one call that compare different arguments, or order values above
//! 32 bits, come out of it with holes, and for some its compiler does not end. `meaning.rs` tests those.
#![cfg(target_arch = "x86_64")]

mod support;

use libseccomp::ScmpSyscall;
use oci_spec::runtime::{Arch, LinuxSeccomp};
use seccomp::{Data, compile, run, trace};
use serde_json::{Value, json};
use support::oracle::{self, Oracle};
use support::random::Random;
use support::template::{self, DEFAULT_CAPABILITIES, DOCKER, Target};

const X86_64: u32 = Arch::ScmpArchX86_64 as u32;
const X86: u32 = Arch::ScmpArchX86 as u32;
const AARCH64: u32 = Arch::ScmpArchAarch64 as u32;
const X32_BIT: u32 = 0x4000_0000;
const ERRNO: u32 = 0x5_0000;

/// Small ones. With larger ones libseccomp lets the order of the profile decide some contradictions.
const SMALL: [u64; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
/// Argument values around which comparisons change their mind.
const VALUES: [u64; 17] = [
    0,
    1,
    2,
    5,
    6,
    38,
    40,
    0x2_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0005,
    0x7e02_0000,
    u64::MAX - 1,
    u64::MAX,
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_MASKED_EQ",
];
/// Calls that every architecture here has, none of them behind socketcall(2) or ipc(2).
const NAMES: [&str; 12] = [
    "read",
    "write",
    "close",
    "ioctl",
    "clone",
    "personality",
    "futex",
    "openat",
    "pselect6",
    "openat2",
    "clone3",
    "close_range",
];

#[test]
fn numbers_are_those_of_libseccomp() {
    let arches = [
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX86,
        Arch::ScmpArchX32,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchArm,
        Arch::ScmpArchRiscv64,
        Arch::ScmpArchPpc,
        Arch::ScmpArchPpc64,
        Arch::ScmpArchPpc64le,
        Arch::ScmpArchS390,
        Arch::ScmpArchS390x,
        Arch::ScmpArchMips,
        Arch::ScmpArchMips64,
        Arch::ScmpArchMips64n32,
    ];
    for arch in arches {
        let mut compared = 0;
        for name in seccomp::names() {
            // Negative numbers are libseccomp's own, for calls that an architecture does not have or reaches through a multiplexer.
            let theirs = ScmpSyscall::from_name_by_arch(name, oracle::native(arch))
                .ok()
                .and_then(|call| u32::try_from(i32::from(call)).ok());
            let Some(theirs) = theirs else { continue };
            if let Some(ours) = seccomp::number(arch, name) {
                compared += 1;
                assert_eq!(ours, theirs, "{name} on {arch}");
            }
        }
        assert!(compared > 250, "{arch}: only {compared} names compared");
    }
}

#[test]
fn docker_profile() {
    for capabilities in [
        &DEFAULT_CAPABILITIES[..],
        &[],
        &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_BPF", "CAP_SYS_TIME"],
    ] {
        let profile = template::docker(&Target {
            capabilities,
            ..DOCKER
        });
        let oracle = oracle::compile(&profile).expect("libseccomp takes Docker's profile");
        let ours = compile(&profile, Arch::ScmpArchX86_64).expect("Docker's profile");
        sweep(&profile, &oracle, &ours.instructions);
    }
}

fn sweep(profile: &LinuxSeccomp, oracle: &Oracle, ours: &[seccomp::Instruction]) {
    let mut different = Vec::new();
    let arches = [
        (X86_64, 0),
        (X86_64, X32_BIT),
        (X86, 0),
        (AARCH64, 0),
        (0, 0),
    ];
    for (arch, base) in arches {
        for nr in (0..600).chain([u32::MAX - base]) {
            for value in VALUES {
                let data = Data {
                    nr: base + nr,
                    arch,
                    ip: 0,
                    args: [value, value, 0, value, 0, value],
                };
                let (theirs, ours) = (oracle.run(&data), run(ours, &data));
                if theirs != ours && !wanted(&data, ours) {
                    different.push(format!(
                        "{arch:x} {nr} {value:x}: libseccomp {theirs:x}, ours {ours:x}"
                    ));
                }
            }
        }
    }
    assert!(
        different.is_empty(),
        "{} differences for {}:\n{}",
        different.len(),
        json!(profile),
        different.join("\n")
    );
}

/// The differences that are there on purpose.
fn wanted(data: &Data, ours: u32) -> bool {
    let arch = match data.arch {
        X86 => Arch::ScmpArchX86,
        _ if data.nr >= X32_BIT => Arch::ScmpArchX32,
        _ => Arch::ScmpArchX86_64,
    };
    // The gap before x32's old numbers, where no call is.
    let unused = data.nr > seccomp::newest(arch).expect("has a table") && ours == ERRNO | 38;
    // A call that libseccomp has never heard of.
    let name = seccomp::names().find(|name| seccomp::number(arch, name) == Some(data.nr));
    unused
        || name.is_some_and(|name| {
            let theirs = ScmpSyscall::from_name_by_arch(name, oracle::native(arch));
            theirs.map_or(true, |call| i32::from(call) < 0)
        })
}

/// One rule for each call, with up to three arguments, any operators and any values.
#[test]
fn one_rule_for_each_call() {
    let mut random = Random::new();
    for _ in 0..1000 {
        let rules = NAMES.map(|name| {
            let mut indices = vec![0, 1, 3, 5];
            let args = (0..random.below(4)).map(|_| {
                let index = indices.remove(random.below(indices.len()));
                let (value, two) = (random.pick(&VALUES), random.pick(&VALUES));
                json!({"index": index, "value": value, "valueTwo": two, "op": random.pick(&OPERATORS)})
            });
            let args: Vec<Value> = args.collect();
            let action = random.pick(&["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRACE", "SCMP_ACT_NOTIFY"]);
            json!({"names": [name], "action": action, "args": args})
        });
        check(&mut random, &Vec::from(rules), &VALUES);
    }
}

/// Several rules for one call that look at one argument, below 32 bits: also an unconditional one among them, and rules that skip.
#[test]
fn many_rules_for_one_call() {
    let mut random = Random::new();
    for _ in 0..1000 {
        let rules = (0..12).map(|_| {
            let one = json!({"index": 0, "value": random.below(8), "valueTwo": random.below(8), "op": random.pick(&OPERATORS)});
            let args = if random.below(6) == 0 { vec![] } else { vec![one] };
            json!({"names": [random.pick(&NAMES[..5])], "action": random.pick(&["SCMP_ACT_ALLOW", "SCMP_ACT_TRAP"]), "args": args})
        });
        let mut rules: Vec<Value> = rules.collect();
        // Rules of one call agree, unless they have no conditions: contradictions are compared separately.
        for index in 0..rules.len() {
            let same = rules[..index]
                .iter()
                .find(|rule| rule["names"] == rules[index]["names"])
                .map(|rule| rule["action"].clone());
            if let (Some(action), false) = (same, rules[index]["args"] == json!([])) {
                rules[index]["action"] = action;
            }
        }
        check(&mut random, &rules, &[&SMALL[..], &VALUES].concat());
    }
}

/// Two rules that contradict each other: the more special one decides, in libseccomp's order.
#[test]
fn contradictions() {
    let mut random = Random::new();
    let mut compared = 0;
    for _ in 0..3000 {
        let rules = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"].map(|action| {
            let arg =
                json!({"index": 0, "value": random.below(6), "op": random.pick(&OPERATORS[..6])});
            json!({"names": ["read"], "action": action, "args": [arg]})
        });
        compared += usize::from(check(&mut random, &Vec::from(rules), &SMALL));
    }
    assert!(compared > 2000, "only {compared} compared");
}

/// Compiles on both sides and compares; false where libseccomp refuses.
fn check(random: &mut Random, rules: &[Value], values: &[u64]) -> bool {
    let architectures = [
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"][..],
        &["SCMP_ARCH_X86"],
        &[],
    ];
    let profile = json!({
        "defaultAction": random.pick(&["SCMP_ACT_ERRNO", "SCMP_ACT_KILL"]),
        "architectures": random.pick(&architectures),
        "syscalls": rules,
    });
    let profile: LinuxSeccomp = serde_json::from_value(profile).expect("a profile");
    let Some(oracle) = oracle::compile(&profile) else {
        return false;
    };
    let ours = compile(&profile, Arch::ScmpArchX86_64)
        .expect("a program")
        .instructions;
    for arch in [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32] {
        for name in NAMES {
            for _ in 0..12 {
                let mut value = || random.pick(values);
                let args = [value(), value(), 0, value(), 0, value()];
                let nr = seccomp::number(arch, name).expect("all have it");
                let audit = if arch == Arch::ScmpArchX86 {
                    X86
                } else {
                    X86_64
                };
                let data = Data {
                    nr,
                    arch: audit,
                    ip: 0,
                    args,
                };
                assert_eq!(
                    run(&ours, &data),
                    oracle.run(&data),
                    "{name} {arch} {args:x?} {}",
                    json!(profile)
                );
            }
        }
    }
    true
}

/// Prints what compiling and running costs: `cargo test --release -p seccomp --test differential -- --ignored --nocapture`.
#[test]
#[ignore = "measures, and shows the figures"]
#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn measure() {
    let profile = template::docker(&DOCKER);
    let median = |times: &mut Vec<u128>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    let time = |work: &dyn Fn()| {
        let once = |_| {
            let start = std::time::Instant::now();
            work();
            start.elapsed().as_nanos()
        };
        median(&mut (0..301).map(once).collect())
    };
    let ours_takes = time(&|| {
        drop(std::hint::black_box(compile(
            &profile,
            Arch::ScmpArchX86_64,
        )))
    });
    let theirs_takes = time(&|| drop(std::hint::black_box(oracle::compile(&profile))));
    let ours = compile(&profile, Arch::ScmpArchX86_64)
        .expect("Docker's profile")
        .instructions;
    let theirs = oracle::compile(&profile)
        .expect("Docker's profile")
        .instructions;
    println!("compile: {ours_takes} ns, libseccomp {theirs_takes} ns");
    println!("length: {}, libseccomp {}", ours.len(), theirs.len());
    for name in [
        "read",
        "write",
        "close",
        "mmap",
        "futex",
        "openat",
        "newfstatat",
        "clone",
        "epoll_wait",
        "socket",
        "mount",
    ] {
        let nr = seccomp::number(Arch::ScmpArchX86_64, name).expect("a call");
        let data = Data {
            nr,
            arch: X86_64,
            ..Data::default()
        };
        println!(
            "{name}: {} steps, libseccomp {}",
            trace(&ours, &data).1,
            trace(&theirs, &data).1
        );
    }
}
