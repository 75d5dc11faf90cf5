//! What device programs decide, by a machine that runs them in user space.

use std::path::PathBuf;

use cgroup::{CgroupPath, Hierarchy, Layout, device_program, plan};
use sys::bpf::Instruction;

/// Runs a program as the kernel does; anything that its verifier would refuse panics.
fn run(program: &[Instruction], context: [u32; 3]) -> u32 {
    let mut registers = [0_u32; 11];
    let mut index = 0_usize;
    for _ in 0..program.len() {
        let at = program[index];
        let (to, from) = (
            usize::from(at.registers & 15),
            usize::from(at.registers >> 4),
        );
        let value = at.immediate.cast_unsigned();
        let (over, here) = (usize::try_from(at.offset).expect("forwards"), registers[to]);
        index += 1;
        match at.code {
            0x61 => registers[to] = context[over / 4],
            0xb4 => registers[to] = value,
            0xbc => registers[to] = registers[from],
            0x54 => registers[to] &= value,
            0x74 => registers[to] >>= value,
            0x05 => index += over,
            0x56 if here != value => index += over,
            0x46 if here & value != 0 => index += over,
            0x56 | 0x46 => {}
            0x95 => return registers[0],
            code => panic!("unknown instruction {code:#x}"),
        }
    }
    panic!("a program that never ends");
}

/// Asks a program about an access such as `c 1:3 rw`.
fn allows(program: &[Instruction], access: &str) -> bool {
    let (kind, rest) = access.split_once(' ').expect("kind");
    let (numbers, letters) = rest.split_once(' ').expect("numbers");
    let (major, minor) = numbers.split_once(':').expect("major:minor");
    let kind = if kind == "b" { 1 } else { 2 };
    let bits: u32 = letters
        .chars()
        .map(|c| match c {
            'm' => 1,
            'r' => 2,
            _ => 4,
        })
        .sum();
    let number = |text: &str| text.parse().expect("a number");
    run(program, [bits << 16 | kind, number(major), number(minor)]) == 1
}

/// Compiles the device rules of a config.json for a host with cgroup v2 only; no program means that everything is allowed.
fn compile(json: &str) -> Option<Vec<Instruction>> {
    let layout = Layout {
        v1: Vec::new(),
        unified: Some(Hierarchy {
            name: "unified".to_owned(),
            controllers: vec!["pids".to_owned()],
            mount: PathBuf::from("/c"),
            own: PathBuf::new(),
        }),
    };
    let path = CgroupPath::parse(Some("/a"), "id").expect("plain");
    let resources = serde_json::from_str(json).expect(json);
    let plan = plan(&layout, &path, Some(&resources)).expect(json);
    assert_eq!(plan.writes, [], "v2 has no file for devices");
    plan.devices.map(|devices| device_program(&devices.rules))
}

#[track_caller]
fn check(rules: &str, allowed: &[&str], denied: &[&str]) {
    let json = format!(r#"{{"devices":[{rules}]}}"#);
    let program = compile(&json).expect("a program");
    reachable(&program);
    for access in allowed {
        assert!(allows(&program, access), "{rules} must allow {access}");
    }
    for access in denied {
        assert!(!allows(&program, access), "{rules} must deny {access}");
    }
}

/// The kernel's verifier takes no instruction that no path leads to, and no jump behind the end.
fn reachable(program: &[Instruction]) {
    let mut seen = vec![false; program.len()];
    let mut todo = vec![0];
    while let Some(index) = todo.pop() {
        if std::mem::replace(&mut seen[index], true) {
            continue;
        }
        let at = program[index];
        let target = index + 1 + usize::try_from(at.offset).expect("forwards");
        match at.code {
            0x95 => {}
            0x05 => todo.push(target),
            0x56 | 0x46 => todo.extend([index + 1, target]),
            _ => todo.push(index + 1),
        }
    }
    assert!(seen.iter().all(|seen| *seen), "{program:?}");
}

const NONE: &str = r#"{"allow":false,"access":"rwm"}"#;
const ALL: &str = r#"{"allow":true,"access":"rwm"}"#;

#[test]
fn without_rules_the_defaults_hold() {
    for rules in ["", NONE] {
        check(
            rules,
            &[
                "c 1:3 rw",
                "c 1:9 r",
                "c 5:2 rwm",
                "c 136:77 rw",
                "c 10:200 rw",
                "c 99:9 m",
                "b 8:0 m",
            ],
            &[
                "b 8:0 r",
                "c 1:1 r",
                "c 1:11 w",
                "c 99:9 rm",
                "c 10:229 r",
                "b 1:3 r",
            ],
        );
    }
}

#[test]
fn the_last_rule_decides_each_access_by_itself() {
    check(
        r#"{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"},
           {"allow":true,"type":"b","major":8,"access":"rwm"},{"allow":false,"type":"b","major":8,"minor":1,"access":"w"}"#,
        &[
            "c 10:229 rw",
            "c 10:229 rwm",
            "b 8:7 rwm",
            "b 8:1 r",
            "b 8:1 rm",
        ],
        &["b 8:1 w", "b 8:1 rw", "c 10:230 r", "b 9:7 r"],
    );
    // What two rules allow together is allowed together.
    check(
        r#"{"allow":true,"type":"b","major":7,"access":"r"},{"allow":true,"type":"b","minor":5,"access":"w"}"#,
        &["b 7:5 rw", "b 7:4 r", "b 6:5 w"],
        &["b 7:4 rw", "b 6:5 r", "c 7:5 r"],
    );
    check(
        &format!(
            r#"{ALL},{{"allow":false,"type":"c","major":1,"minor":1,"access":"rwm"}},{{"allow":false,"type":"b","access":"w"}}"#
        ),
        &["c 1:2 rwm", "b 4:4 r", "c 250:1048575 rw"],
        &["c 1:1 r", "b 4:4 w", "b 4:4 rw"],
    );
    // Numbers beyond 31 bits match nothing, and are not taken for others.
    check(
        r#"{"allow":true,"type":"c","major":4294967295,"minor":2147483648,"access":"rwm"}"#,
        &["c 4294967295:2147483648 r"],
        &["c 4294967295:0 r", "c 0:2147483648 r"],
    );
}

#[test]
fn a_rule_for_all_forgets_the_others() {
    assert_eq!(compile(&format!(r#"{{"devices":[{NONE},{ALL}]}}"#)), None);
    check(
        &format!(r#"{{"allow":true,"type":"b","major":8,"access":"rwm"}},{NONE}"#),
        &["c 1:3 rw"],
        &["b 8:0 r"],
    );
    let every_kind =
        r#"{"allow":true,"type":"c","access":"rwm"},{"allow":true,"type":"b","access":"rwm"}"#;
    check(every_kind, &["c 9:9 rwm", "b 9:9 rwm"], &[]);
}

#[test]
fn rules_that_may_be_left_out_where_nobody_can_make_a_node() {
    let usual = |json: &str| {
        let layout = Layout {
            v1: Vec::new(),
            unified: Some(Hierarchy {
                name: "unified".to_owned(),
                controllers: Vec::new(),
                mount: PathBuf::from("/c"),
                own: PathBuf::new(),
            }),
        };
        let path = CgroupPath::parse(Some("/a"), "id").expect("plain");
        let resources = serde_json::from_str(json).expect(json);
        let plan = plan(&layout, &path, Some(&resources)).expect(json);
        plan.devices.map(|devices| devices.usual)
    };
    assert_eq!(usual("{}"), Some(true));
    assert_eq!(
        usual(r#"{"devices":[{"allow":false,"access":"rwm"}]}"#),
        Some(true)
    );
    let more = r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":136,"minor":5,"access":"rw"}]}"#;
    assert_eq!(usual(more), Some(true), "a part of a default");
    let more = r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]}"#;
    assert_eq!(usual(more), Some(false));
    let less =
        r#"{"devices":[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","access":"rwm"}]}"#;
    assert_eq!(usual(less), Some(false));
}
