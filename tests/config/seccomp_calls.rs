//! `linux.seccomp` by programs that make a single call: of another architecture, and newer than the profile.

use crate::seccomp::NEEDED;
use orlop_tests::{Bundle, Env, Must, copy_program, skip};
use serde_json::{Value, json};

/// Puts a program into the root that makes one system call without arguments and ends with its errno.
fn caller(bundle: &Bundle, name: &str, number: u32, by: [u8; 2]) {
    let exit = if by == SYSCALL { 60 } else { 1 };
    let code: Vec<u8> = [
        &[0xb8][..], // mov eax, number
        &number.to_le_bytes(),
        &[0x31, 0xff, 0x31, 0xdb], // xor edi, edi; xor ebx, ebx
        &by,
        &[0xf7, 0xd8, 0x89, 0xc7, 0x89, 0xc3, 0xb8, exit, 0, 0, 0], // neg eax; mov edi, eax; mov ebx, eax; mov eax, exit
        &by,
    ]
    .concat();
    // An ELF header and one program header, which maps the whole file at 4 MiB and is entered behind both.
    let (base, headers) = (0x40_0000_u64, 64 + 56);
    let words =
        |words: &[u64]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let size = headers + code.len() as u64;
    let program = [
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec(),
        words(&[base + headers, 64, 0]),
        b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0".to_vec(),
        b"\x01\0\0\0\x05\0\0\0".to_vec(),
        words(&[0, base, base, size, size, 0x1000]),
        code,
    ]
    .concat();
    let made = bundle.dir.join(name);
    std::fs::write(&made, program).must(made.display());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&made, mode).must("its mode");
    copy_program(&made, &bundle.rootfs().join("bin").join(name));
}

const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// getppid has the number 110 on x86-64, and 64 where a process uses the calls of i386.
#[test]
fn other_architectures_have_their_rules() {
    let errno = |architectures: Value| {
        let env = Env::new();
        let mut bundle = env.bundle();
        caller(&bundle, "native", 110, SYSCALL);
        caller(&bundle, "other", 64, [0xcd, 0x80]);
        bundle.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures,
            "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 61}]}),
        );
        bundle.sh("native; echo $?; (other); echo $?");
        env.run(&bundle).ok().stdout()
    };
    let both = errno(json!([
        "SCMP_ARCH_X86_64",
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32"
    ]));
    if both == "61\n139\n" {
        return skip("SCMP_ARCH_X86", "this kernel has no calls of i386");
    }
    assert_eq!(both, "61\n61\n");
    // Killed by SIGSYS: no rule says what such a call would mean.
    assert_eq!(errno(json!(["SCMP_ARCH_X86_64"])), "61\n159\n");
}

/// A C library that finds a new call refused falls back to an old one only where it hears ENOSYS (glibc and clone3(2), for one).
#[test]
fn a_call_newer_than_the_profile_does_not_exist() {
    let env = Env::new();
    let mut bundle = env.bundle();
    // The profile knows clone3, number 435; these are close_range and inotify_init1.
    caller(&bundle, "newer", 436, SYSCALL);
    caller(&bundle, "older", 294, SYSCALL);
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": NEEDED.to_vec(), "action": "SCMP_ACT_ALLOW"}]}),
    );
    bundle.sh("newer; echo $?; older; echo $?");
    env.run(&bundle).ok().prints("38\n1");
}
