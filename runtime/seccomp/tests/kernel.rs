//! Docker's profile in the kernel that runs this test: each call that it allows gets through, each other is stopped.
#![cfg(target_arch = "x86_64")]
#![allow(
    unsafe_code,
    reason = "a filter can only be tested from inside a process that it holds"
)]

mod support;

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction as Action};
use seccomp::{Data, Instruction, compile, run};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use support::template::{self, DOCKER, Target};

const NATIVE: Arch = Arch::ScmpArchX86_64;
const RETURN: u16 = 0x06;
const ERRNO: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;
const ENOSYS: u32 = 38;
/// Error numbers that no kernel returns, in place of those for what the profile denies and for what it does not know.
const DENIED: u32 = 3001;
const UNKNOWN: u32 = 3002;
/// Arguments that make every call fail or do nothing: no descriptor, no address, no process, every unknown flag.
const NOTHING: [u64; 6] = [u64::MAX; 6];

/// What ends, blocks or signals a process, waits for disks, or leaves something behind: asked of the program, not of the kernel. So is what
/// would hurt the machine if the filter let it through.
const NEVER_CALLED: &str = "clone clone3 exit exit_group fork vfork kill pause rt_sigreturn rt_sigsuspend uretprobe uprobe sync msgget \
    reboot kexec_load kexec_file_load swapon swapoff vhangup acct init_module finit_module delete_module umount2 mount pivot_root";

#[test]
fn docker_profile_in_this_kernel() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let kernel = template::parse_kernel(&release);
    let mut profile = template::docker(&Target { kernel, ..DOCKER });
    let allowed = allowed(&profile);
    profile.set_default_errno_ret(Some(DENIED));
    let mut program = compile(&profile, NATIVE)
        .expect("Docker's profile")
        .instructions;
    for instruction in &mut program {
        if instruction.code == RETURN && instruction.k == ERRNO | ENOSYS {
            instruction.k = ERRNO | UNKNOWN;
        }
    }
    let known = seccomp::names().filter_map(|name| Some((seccomp::number(NATIVE, name)?, name)));
    let names: BTreeMap<u32, &str> = known.collect();
    let newest = allowed
        .iter()
        .filter_map(|name| seccomp::number(NATIVE, name))
        .max()
        .expect("names");
    let mut called = 0;
    for nr in 0..1024 {
        let name = names.get(&nr).copied();
        let expected = match name {
            Some("clone3") => UNKNOWN, // the profile says so itself: its arguments lie in memory
            Some("clone" | "personality") => DENIED, // not with these arguments
            Some(name) if allowed.contains(name) => 0,
            _ if nr > newest => UNKNOWN,
            _ => DENIED,
        };
        if name.is_some_and(|name| NEVER_CALLED.split_whitespace().any(|never| never == name)) {
            let verdict = if expected == 0 {
                ALLOW
            } else {
                ERRNO | expected
            };
            assert_eq!(
                run(&program, &data(nr, NOTHING)),
                verdict,
                "{nr} {name:?} in user space"
            );
        } else {
            called += 1;
            check(&program, nr, NOTHING, expected);
        }
    }
    assert!(called > 900, "only {called} calls");
    conditional_calls(&program);
}

fn conditional_calls(program: &[Instruction]) {
    for (name, first, expected) in [
        ("socket", 2, 0),
        ("socket", 38, DENIED), // AF_ALG
        ("socket", 39, 0),
        ("socket", 40, DENIED), // AF_VSOCK
        ("socket", 41, 0),
        ("personality", 0xffff_ffff, 0),
        ("personality", 1, DENIED),
        ("clone", 0x1000_0000, DENIED), // CLONE_NEWUSER
    ] {
        let nr = seccomp::number(NATIVE, name).expect("a call");
        check(program, nr, [first, u64::MAX, u64::MAX, 0, 0, 0], expected);
    }
    let clone = seccomp::number(NATIVE, "clone").expect("a call");
    assert_eq!(run(program, &data(clone, [0x11, 0, 0, 0, 0, 0])), ALLOW); // a plain fork
}

/// A program that calls with another architecture's numbers does not get past rules for this one.
#[test]
fn an_architecture_that_is_not_listed_is_killed() {
    let mut profile = template::docker(&DOCKER);
    profile.set_architectures(Some(vec![NATIVE]));
    let program = compile(&profile, NATIVE)
        .expect("Docker's profile")
        .instructions;
    let x32_getpid = seccomp::number(Arch::ScmpArchX32, "getpid").expect("a call");
    assert_eq!(
        inside(&program, x32_getpid, NOTHING),
        Outcome::Signal(libc::SIGSYS)
    );
    profile.set_architectures(Some(vec![Arch::ScmpArchX32]));
    let program = compile(&profile, NATIVE)
        .expect("Docker's profile")
        .instructions;
    // Few kernels have x32. Those that do not say so themselves.
    assert!(
        matches!(inside(&program, x32_getpid, NOTHING), Outcome::Returned(result) if result > 0 || result == -i64::from(ENOSYS))
    );
}

fn allowed(profile: &LinuxSeccomp) -> BTreeSet<String> {
    let rules = profile.syscalls().iter().flatten();
    rules
        .filter(|rule| rule.action() == Action::ScmpActAllow)
        .flat_map(|rule| rule.names().clone())
        .collect()
}

fn data(nr: u32, args: [u64; 6]) -> Data {
    Data {
        nr,
        arch: NATIVE as u32,
        ip: 0,
        args,
    }
}

/// `expected` is `DENIED`, `UNKNOWN`, or 0 for a call that reaches the kernel, whatever that says.
#[track_caller]
fn check(program: &[Instruction], nr: u32, args: [u64; 6], expected: u32) {
    let outcome = inside(program, nr, args);
    let Outcome::Returned(result) = outcome else {
        panic!("call {nr}: {outcome:?}")
    };
    let stopped = [DENIED, UNKNOWN]
        .into_iter()
        .find(|errno| result == -i64::from(*errno));
    assert_eq!(
        stopped.unwrap_or(0),
        expected,
        "call {nr} returned {result}"
    );
}

/// How a call under the filter ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The result, or the negative error number.
    Returned(i64),
    Signal(i32),
    TimedOut,
}

/// Makes one call in a child of its own that has loaded the filter.
fn inside(program: &[Instruction], nr: u32, args: [u64; 6]) -> Outcome {
    const PENDING: i64 = i64::MIN;
    let page = 4096;
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_SHARED | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, which this function unmaps at its end; the child has its own view of the same page.
    let shared = unsafe { libc::mmap(std::ptr::null_mut(), page, protection, flags, -1, 0) };
    assert_ne!(shared, libc::MAP_FAILED);
    // SAFETY: the page is aligned, zeroed and lives until the munmap below.
    let result = unsafe { &*shared.cast::<AtomicI64>() };
    result.store(PENDING, Ordering::SeqCst);
    // SAFETY: the child only makes system calls and a store; it neither allocates nor takes locks.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        child_main(program, nr, args, result);
    }
    let outcome = match wait(child) {
        None => Outcome::TimedOut,
        Some(status) if libc::WIFSIGNALED(status) => Outcome::Signal(libc::WTERMSIG(status)),
        Some(status) => {
            assert_eq!(
                libc::WEXITSTATUS(status),
                0,
                "the child could not load the filter"
            );
            Outcome::Returned(result.load(Ordering::SeqCst))
        }
    };
    // SAFETY: nothing refers to the page any more.
    unsafe { libc::munmap(shared, page) };
    assert_ne!(outcome, Outcome::Returned(PENDING));
    outcome
}

fn child_main(program: &[Instruction], nr: u32, args: [u64; 6], result: &AtomicI64) -> ! {
    let length = u16::try_from(program.len()).unwrap_or(0);
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let [a, b, c, d, e, f] = args;
    // SAFETY: `Instruction` is laid out as the kernel's `sock_filter`, and the arguments of the call under test are no addresses.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            libc::_exit(1);
        }
        if libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        ) != 0
        {
            libc::_exit(2);
        }
        let returned = libc::syscall(i64::from(nr), a, b, c, d, e, f);
        result.store(
            if returned == -1 {
                -i64::from(*libc::__errno_location())
            } else {
                returned
            },
            Ordering::SeqCst,
        );
        libc::_exit(0);
    }
}

/// Waits for the child at most 5 seconds; then it is killed.
fn wait(child: i32) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut status = 0;
    // SAFETY: `status` outlives the call, and the child is ours and not yet reaped.
    while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
        if Instant::now() > deadline {
            // SAFETY: the child is not reaped, so its number is still its own.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &raw mut status, 0);
            }
            return None;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Some(status)
}
