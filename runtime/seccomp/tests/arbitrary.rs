//! Random and large profiles against a model of what a profile means.

mod support;

use oci_spec::runtime::LinuxSeccomp;
use seccomp::{Program, compile, run};
use serde_json::{Value, json};
use support::calls::*;
use support::random::Random;

/// Long programs need jumps that no conditional jump reaches; too long ones the kernel refuses, so they are refused by name.
#[test]
fn large_profiles() {
    let rules = |count: usize| {
        let arg =
            |value: usize| json!({"index": value % 6, "value": value * 3, "op": "SCMP_CMP_EQ"});
        let names: Vec<&str> = seccomp::names()
            .filter(|name| seccomp::number(NATIVE, name).is_some())
            .collect();
        let rule = |at: usize| {
            let (name, errno) = (names[at % names.len()], at % 7 + 1);
            json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": [arg(at)]})
        };
        profile(
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": (0..count).map(rule).collect::<Vec<_>>()}),
        )
    };
    let mut random = Random::new();
    let medium = rules(600);
    let program = compile(&medium, NATIVE).expect("a program");
    assert!(
        program.instructions.len() > 2500,
        "{} instructions",
        program.instructions.len()
    );
    compare(
        &mut random,
        &medium,
        &program,
        &[0, 3, 6, 300, 900, 1200, 1797],
    );
    let refusal = compile(&rules(2000), NATIVE).expect_err("too long");
    assert_eq!(refusal.json_path, "linux.seccomp.syscalls");
    assert!(
        refusal
            .what
            .ends_with("the kernel allows 4096; fewer conditions on arguments are needed"),
        "{refusal}"
    );
}

/// Any rules that agree with each other, against the model below.
#[test]
fn arbitrary_profiles() {
    const VALUES: [u64; 12] = [
        0,
        1,
        2,
        5,
        0x7fff_ffff,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0001,
        0x2_0000_0001,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    let mut random = Random::new();
    let operators = seccomp::operators();
    for _ in 0..2000 {
        let rules = (0..random.below(12)).map(|_| {
            let arg = |random: &mut Random| {
                let (value, two) = (random.pick(&VALUES), random.pick(&VALUES));
                json!({"index": random.below(3), "value": value, "valueTwo": two, "op": random.pick(operators)})
            };
            let args: Vec<Value> = (0..random.below(4)).map(|_| arg(&mut random)).collect();
            let name = random.pick(&["read", "write", "ioctl", "close_range"]);
            json!({"names": [name, "getpid"], "action": "SCMP_ACT_TRAP", "args": args})
        });
        let rules: Vec<Value> = rules.collect();
        let profile = profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        let program = compile(&profile, NATIVE).expect("a program");
        compare(&mut random, &profile, &program, &VALUES);
    }
}

fn compare(random: &mut Random, profile: &LinuxSeccomp, program: &Program, values: &[u64]) {
    for _ in 0..300 {
        let mut value = || random.pick(values);
        let args = [value(), value(), value(), value(), value(), value()];
        let names: Vec<&String> = profile
            .syscalls()
            .iter()
            .flatten()
            .flat_map(|rule| rule.names())
            .collect();
        let Some(name) = (!names.is_empty()).then(|| names[random.below(names.len())]) else {
            return;
        };
        let data = call(NATIVE, name, args);
        assert_eq!(
            run(&program.instructions, &data),
            model(profile, name, &args),
            "{name} {args:x?} {}",
            json!(profile)
        );
    }
}

/// Says what a profile without contradictions means: the action of any rule that holds, or the default.
fn model(profile: &LinuxSeccomp, name: &str, args: &[u64; 6]) -> u32 {
    let holds = |arg: &Value| {
        let number = |key: &str| arg[key].as_u64().expect("a number");
        let (actual, value) = (
            args[usize::try_from(number("index")).expect("small")],
            number("value"),
        );
        match arg["op"].as_str().expect("an operator") {
            "SCMP_CMP_EQ" => actual == value,
            "SCMP_CMP_NE" => actual != value,
            "SCMP_CMP_LT" => actual < value,
            "SCMP_CMP_LE" => actual <= value,
            "SCMP_CMP_GT" => actual > value,
            "SCMP_CMP_GE" => actual >= value,
            _ => actual & value == number("valueTwo") & value,
        }
    };
    for rule in profile
        .syscalls()
        .iter()
        .flatten()
        .filter(|rule| rule.names().iter().any(|other| other == name))
    {
        let args = json!(rule.args().clone().unwrap_or_default());
        let args = args.as_array().expect("a list");
        let twice = args.iter().any(|arg| {
            args.iter()
                .filter(|other| other["index"] == arg["index"])
                .count()
                > 1
        });
        if (twice && args.iter().any(holds)) || (!twice && args.iter().all(holds)) {
            return rule.action().as_u32(rule.errno_ret());
        }
    }
    profile.default_action().as_u32(profile.default_errno_ret())
}
