//! What is wrong with `scheduler`, `ioPriority`, `execCPUAffinity`, `memoryPolicy` and `personality`.

use crate::{Try, case, check};
use serde_json::{Value, json};

fn scheduler(t: &mut Try<'_>, value: Value) {
    t.set("/process/scheduler", value);
}

fn memory(t: &mut Try<'_>, value: Value) {
    t.set("/linux/memoryPolicy", value);
}

#[test]
#[expect(clippy::too_many_lines, reason = "table")]
fn scheduling() {
    check(&[
        case(
            "unknown policy",
            &["process.scheduler.policy", "SCHED_X"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_X"}));
            },
        ),
        case("no policy", &["process.scheduler.policy"], |t| {
            scheduler(t, json!({"nice": 1}));
        }),
        case(
            "a policy that Linux has never had",
            &["process.scheduler.policy", "SCHED_ISO"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_ISO"}));
            },
        ),
        case(
            "nice out of range",
            &["process.scheduler.nice", "20"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_OTHER", "nice": 20}));
            },
        ),
        case(
            "priority without a real-time policy",
            &["process.scheduler.priority", "SCHED_BATCH"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_BATCH", "priority": 1}));
            },
        ),
        case(
            "real-time policy without priority",
            &["process.scheduler.priority", "1 to 99"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_FIFO"}));
            },
        ),
        case(
            "priority out of range",
            &["process.scheduler.priority", "100"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_RR", "priority": 100}));
            },
        ),
        case(
            "deadline without its policy",
            &["process.scheduler.deadline", "SCHED_DEADLINE"],
            |t| {
                scheduler(t, json!({"policy": "SCHED_IDLE", "deadline": 5000}));
            },
        ),
        case("no time to run", &["process.scheduler.runtime"], |t| {
            scheduler(t, json!({"policy": "SCHED_DEADLINE", "deadline": 5000}));
        }),
        case(
            "deadline before the end of the runtime",
            &["process.scheduler.deadline"],
            |t| {
                scheduler(
                    t,
                    json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 4000}),
                );
            },
        ),
        case(
            "period before the deadline",
            &["process.scheduler.period"],
            |t| {
                scheduler(
                    t,
                    json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 6000, "period": 5500}),
                );
            },
        ),
        case(
            "unknown scheduler flag",
            &["process.scheduler.flags[0]"],
            |t| {
                scheduler(
                    t,
                    json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_X"]}),
                );
            },
        ),
        case(
            "unknown scheduler flag beside a known one",
            &["process.scheduler.flags[1]"],
            |t| {
                scheduler(
                    t,
                    json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_X"]}),
                );
            },
        ),
        case(
            "a period beyond the kernel's four seconds",
            &["process.scheduler", "SCHED_DEADLINE"],
            |t| {
                let value = json!({"policy": "SCHED_DEADLINE", "runtime": 5000, "deadline": 6000, "period": 1_u64 << 43});
                scheduler(t, value);
            },
        ),
        case(
            "unknown class of disk priority",
            &["process.ioPriority.class"],
            |t| {
                t.set(
                    "/process/ioPriority",
                    json!({"class": "IOPRIO_CLASS_X", "priority": 0}),
                );
            },
        ),
        case(
            "disk priority out of range",
            &["process.ioPriority.priority", "8"],
            |t| {
                t.set(
                    "/process/ioPriority",
                    json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
                );
            },
        ),
        case(
            "negative disk priority",
            &["process.ioPriority.priority", "-1"],
            |t| {
                t.set(
                    "/process/ioPriority",
                    json!({"class": "IOPRIO_CLASS_BE", "priority": -1}),
                );
            },
        ),
        case(
            "list of processors in words",
            &["process.execCPUAffinity.initial"],
            |t| {
                t.set("/process/execCPUAffinity", json!({"initial": "all"}));
            },
        ),
        case(
            "range of processors backwards",
            &["process.execCPUAffinity.final", "3-1"],
            |t| {
                t.set("/process/execCPUAffinity", json!({"final": "0,3-1"}));
            },
        ),
        case(
            "processor beyond any kernel",
            &["process.execCPUAffinity.final", "1000000"],
            |t| {
                t.set("/process/execCPUAffinity", json!({"final": "1000000"}));
            },
        ),
        case(
            "unknown memory policy",
            &["linux.memoryPolicy.mode", "MPOL_X"],
            |t| {
                memory(t, json!({"mode": "MPOL_X", "nodes": "0"}));
            },
        ),
        case(
            "memory policy without nodes",
            &["linux.memoryPolicy.nodes", "MPOL_BIND"],
            |t| {
                memory(t, json!({"mode": "MPOL_BIND"}));
            },
        ),
        case(
            "memory policy with nodes too many",
            &["linux.memoryPolicy.nodes", "MPOL_LOCAL"],
            |t| {
                memory(t, json!({"mode": "MPOL_LOCAL", "nodes": "0"}));
            },
        ),
        case(
            "list of nodes in words",
            &["linux.memoryPolicy.nodes", "near"],
            |t| {
                memory(t, json!({"mode": "MPOL_BIND", "nodes": "near"}));
            },
        ),
        case(
            "flags that exclude each other",
            &["linux.memoryPolicy.flags[1]"],
            |t| {
                let flags = json!(["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]);
                memory(
                    t,
                    json!({"mode": "MPOL_BIND", "nodes": "0", "flags": flags}),
                );
            },
        ),
        case(
            "flag of another mode",
            &["linux.memoryPolicy.flags[0]", "MPOL_F_NUMA_BALANCING"],
            |t| {
                memory(
                    t,
                    json!({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"]}),
                );
            },
        ),
        case(
            "node that this machine does not have",
            &["linux.memoryPolicy", "nodes 900"],
            |t| {
                memory(t, json!({"mode": "MPOL_BIND", "nodes": "900"}));
            },
        ),
        case(
            "node beyond 1024 that this machine does not have",
            &["linux.memoryPolicy", "nodes 1100"],
            |t| {
                memory(t, json!({"mode": "MPOL_BIND", "nodes": "1100"}));
            },
        ),
        case(
            "unknown personality",
            &["linux.personality.domain", "SOLARIS"],
            |t| {
                t.set("/linux/personality", json!({"domain": "SOLARIS"}));
            },
        ),
        case(
            "flags of a personality",
            &["linux.personality.flags[0]", "ADDR_NO_RANDOMIZE"],
            |t| {
                t.set(
                    "/linux/personality",
                    json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}),
                );
            },
        ),
    ]);
}
