//! The system call filter of a container, and who listens to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use super::Refusal;

/// A compiled system call filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seccomp {
    #[serde(skip)]
    pub program: Vec<sys::seccomp::Instruction>,
    pub instructions: usize,
    pub flags: u32,
    /// Who gets the calls that the filter hands on; `None` where it hands on none.
    pub listener: Option<Listener>,
}

/// Where the descriptor goes at which calls arrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// A Unix stream socket of the host.
    pub path: PathBuf,
    /// Passed on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// Crun's: whether an unknown name is an error; its value is ignored but for "0".
pub(super) const FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";
/// Crun's: where the listener is, for configurations that cannot say it in `linux.seccomp`.
pub(super) const RECEIVER: &str = "run.oci.seccomp.receiver";
/// Crun's: a program as seccomp(2) takes it, in base64; it stands in place of `linux.seccomp`.
pub(super) const PROGRAM: &str = "run.oci.seccomp_bpf_data";

const LISTENER_PATH: &str = "linux.seccomp.listenerPath";

/// The call in which a process waits while its listener is being passed on, with the arguments that tell a wait from a wake.
const WAIT: &str = "futex";
/// FUTEX_WAIT_BITSET and FUTEX_WAKE, both with FUTEX_PRIVATE_FLAG (futex(2)).
const WAIT_OPERATIONS: [u64; 2] = [9 | 128, 1 | 128];

/// Compiles the container's filter.
pub(super) fn plan(
    spec: &oci::Spec,
    warnings: &mut Vec<String>,
) -> Result<Option<Seccomp>, Refusal> {
    let none = HashMap::new();
    let annotations = spec.annotations().as_ref().unwrap_or(&none);
    if let Some(text) = annotations.get(PROGRAM) {
        return raw(text).map(Some);
    }
    let Some(profile) = spec
        .linux()
        .as_ref()
        .and_then(|linux| linux.seccomp().as_ref())
    else {
        return Ok(None);
    };
    let compiled = seccomp::compile(profile, seccomp::native())?;
    let fail_unknown = annotations.get(FAIL_UNKNOWN).is_some_and(|on| on != "0");
    if let (true, Some(unknown)) = (fail_unknown, compiled.unknown.first()) {
        return Err(unknown.clone().into());
    }
    warnings.extend(compiled.warnings);
    let listener = listener(
        profile,
        annotations.get(RECEIVER),
        compiled.notify.as_deref(),
        warnings,
    )?;
    if let Some(at) = &compiled.notify {
        may_wait(&compiled.instructions, at)?;
    }
    let same = |i: &seccomp::Instruction| sys::seccomp::Instruction {
        code: i.code,
        jt: i.jt,
        jf: i.jf,
        k: i.k,
    };
    let program: Vec<_> = compiled.instructions.iter().map(same).collect();
    Ok(Some(Seccomp {
        instructions: program.len(),
        program,
        flags: compiled.flags.bits(),
        listener,
    }))
}

/// Decides who listens: nobody, where no rule notifies, whatever else is said (the specification's words).
fn listener(
    profile: &oci::LinuxSeccomp,
    receiver: Option<&String>,
    notify: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Option<Listener>, Refusal> {
    let given = profile
        .listener_path()
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty());
    let receiver = receiver.filter(|path| !path.is_empty());
    let (at, path) = match (given, receiver) {
        (Some(path), _) => (LISTENER_PATH.to_string(), Some(path)),
        (None, Some(path)) => (format!("annotations[{RECEIVER:?}]"), Some(Path::new(path))),
        (None, None) => (LISTENER_PATH.to_string(), None),
    };
    let metadata = profile
        .listener_metadata()
        .clone()
        .filter(|metadata| !metadata.is_empty());
    match (path, notify) {
        (None, Some(rule)) => Err(Refusal::new(
            at,
            format!("is empty, and {rule} is SCMP_ACT_NOTIFY; name the socket of a listener"),
        )),
        (None, None) if metadata.is_some() => Err(Refusal::new(
            "linux.seccomp.listenerMetadata",
            format!("is set without {LISTENER_PATH}; set both or none"),
        )),
        (None, None) => Ok(None),
        (Some(_), None) => {
            warnings.push(format!("{at}: is ignored: no rule notifies"));
            Ok(None)
        }
        (Some(path), Some(_)) if !path.is_absolute() => Err(Refusal::new(
            at,
            format!("{} is not an absolute path", path.display()),
        )),
        (Some(path), Some(_)) => Ok(Some(Listener {
            path: path.to_path_buf(),
            metadata,
        })),
    }
}

/// Refuses a filter under which the process could not wait for its listener: it would hang, or run before anybody listens.
fn may_wait(program: &[seccomp::Instruction], at: &str) -> Result<(), Refusal> {
    let native = seccomp::native();
    let allowed = |operation: &u64| {
        seccomp::allows(program, native, WAIT, [0, *operation, 0, 0, 0, u64::MAX])
    };
    if WAIT_OPERATIONS.iter().all(allowed) {
        return Ok(());
    }
    Err(Refusal::new(
        at,
        format!(
            "SCMP_ACT_NOTIFY needs {WAIT} to be allowed: in it the process waits until its listener is there; \
             let a rule for {WAIT} say SCMP_ACT_ALLOW"
        ),
    ))
}

/// Understands a program that is given as it is.
fn raw(text: &str) -> Result<Seccomp, Refusal> {
    let refuse = |why: &str| Refusal::new(format!("annotations[{PROGRAM:?}]"), why);
    let bytes = base64(text.trim()).ok_or_else(|| refuse("is not base64"))?;
    let instruction = |raw: &[u8]| sys::seccomp::Instruction {
        code: u16::from_ne_bytes([raw[0], raw[1]]),
        jt: raw[2],
        jf: raw[3],
        k: u32::from_ne_bytes([raw[4], raw[5], raw[6], raw[7]]),
    };
    let program: Vec<_> = bytes.chunks_exact(8).map(instruction).collect();
    // BPF_MAXINSNS
    if !bytes.len().is_multiple_of(8) || !(1..=4096).contains(&program.len()) {
        return Err(refuse(
            "is not a filter: 1 to 4096 instructions of 8 bytes are expected",
        ));
    }
    Ok(Seccomp {
        instructions: program.len(),
        program,
        flags: 0,
        listener: None,
    })
}

/// Decodes base64 with its padding (RFC 4648, section 4); `None` for anything else.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        held = held << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_what_the_rfc_says() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("AP/+", b"\x00\xff\xfe"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Z", "Zg", "Zg=", "Z===", "Zm9v=", "Zm 9v", "Zm9-"] {
            assert_eq!(base64(text), None, "{text}");
        }
    }
}
