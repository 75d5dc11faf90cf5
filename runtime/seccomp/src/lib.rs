//! Compiles an OCI seccomp profile into a BPF program.
//!
//! `policy` turns the words of the profile into numbers and refuses what is wrong, `section` sorts rules into ranges of system call
//! numbers, `emit` writes the instructions, `machine` runs them. Nothing here touches the system: who loads the program, when, and with
//! which privileges is the caller's business.
//!
//! What a profile means is what runc makes of it with libseccomp, with these differences:
//! - Names are known up to Linux 7.0, whatever is installed.
//! - Numbers that no call has yet answer ENOSYS also below the newest call that a profile names (see `section`).
//! - Behind socketcall(2) and ipc(2) a rule that looks at arguments never allows anything (see `section`).
#![forbid(unsafe_code)]

mod arch;
mod emit;
mod machine;
mod multiplex;
mod policy;
mod section;
mod table;

pub use arch::{names, native, newest, number};
pub use machine::{Data, Instruction, run, trace};
use oci_spec::runtime::{Arch, LinuxSeccomp};

/// A filter, ready for seccomp(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub instructions: Vec<Instruction>,
    pub flags: Flags,
    /// One line each, for the log: what of the profile has no effect.
    pub warnings: Vec<String>,
    /// The system calls among them that no table knows, for callers that refuse a profile with such names.
    pub unknown: Vec<Refusal>,
    /// The place of the first rule that hands calls to a listener: then the filter has to be loaded with one.
    pub notify: Option<String>,
}

/// The flags of seccomp(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    pub const TSYNC: Flags = Flags(1);
    pub const LOG: Flags = Flags(1 << 1);
    pub const SPEC_ALLOW: Flags = Flags(1 << 2);
    /// Not of the specification: set where a rule notifies.
    pub const NEW_LISTENER: Flags = Flags(1 << 3);
    pub const WAIT_KILLABLE_RECV: Flags = Flags(1 << 5);

    pub fn bits(self) -> u32 {
        self.0
    }
}

/// Why a profile cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{json_path}: {what}")]
pub struct Refusal {
    /// The place in config.json.
    pub json_path: String,
    pub what: String,
}

/// The longest program that the kernel takes (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// Compiles a profile for a kernel of the `native` architecture.
///
/// The native architecture is always included. Architectures that such a kernel cannot run are left out.
pub fn compile(profile: &LinuxSeccomp, native: Arch) -> Result<Program, Refusal> {
    let policy = policy::read(profile, native)?;
    let instructions = emit::program(&section::sections(&policy));
    if instructions.len() > MAX_INSTRUCTIONS {
        let what = format!(
            "take {} instructions, the kernel allows {MAX_INSTRUCTIONS}; fewer conditions on arguments are needed",
            instructions.len()
        );
        return Err(Refusal {
            json_path: "linux.seccomp.syscalls".into(),
            what,
        });
    }
    Ok(Program {
        instructions,
        flags: policy.flags,
        warnings: policy.warnings,
        unknown: policy.unknown,
        notify: policy.notify,
    })
}

/// Returns the actions that a profile may use.
pub fn actions() -> &'static [&'static str] {
    &[
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_ERRNO",
        "SCMP_ACT_KILL",
        "SCMP_ACT_KILL_PROCESS",
        "SCMP_ACT_KILL_THREAD",
        "SCMP_ACT_LOG",
        "SCMP_ACT_NOTIFY",
        "SCMP_ACT_TRACE",
        "SCMP_ACT_TRAP",
    ]
}

/// Returns the operators that a profile may use.
pub fn operators() -> &'static [&'static str] {
    &[
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_LE",
        "SCMP_CMP_LT",
        "SCMP_CMP_MASKED_EQ",
        "SCMP_CMP_NE",
    ]
}

/// Returns the flags that a profile may use, each with the bits that a kernel must take for it: some stand only beside another.
pub fn flags() -> &'static [(&'static str, Flags)] {
    &[
        ("SECCOMP_FILTER_FLAG_LOG", Flags::LOG),
        ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", Flags::SPEC_ALLOW),
        ("SECCOMP_FILTER_FLAG_TSYNC", Flags::TSYNC),
        (
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            Flags(Flags::WAIT_KILLABLE_RECV.0 | Flags::NEW_LISTENER.0),
        ),
    ]
}

/// Tells whether a program lets one call of the `native` architecture pass.
pub fn allows(program: &[Instruction], native: Arch, name: &str, args: [u64; 6]) -> bool {
    let Some(nr) = number(native, name) else {
        return false;
    };
    let data = Data {
        nr,
        arch: native as u32,
        args,
        ..Data::default()
    };
    matches!(run(program, &data), machine::ALLOW | machine::LOG)
}

/// Returns the architectures with system call numbers.
pub fn arches() -> Vec<String> {
    let mut names: Vec<String> = arch::all().map(|arch| arch.to_string()).collect();
    names.sort();
    names
}
