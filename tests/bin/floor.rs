//! What the kernel alone takes to run a container: the floor under every runtime's time.
//!
//! `floor run ROOTFS ID PROGRAM HIERARCHY...` makes the namespaces and mounts of the `spec` bundle and a cgroup ID below
//! each HIERARCHY (a folder of a v1 hierarchy), executes PROGRAM, waits, and removes the cgroups. `floor exec PID PROGRAM
//! CGROUP...` joins all that and executes PROGRAM. There is no config, no state, no device rule and no check in it.

#![allow(clippy::print_stderr)]

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::ptr::null;

use libc::{
    MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, MS_SLAVE, c_int,
    c_ulong,
};

const NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;
const HARD: c_ulong = MS_NOSUID | MS_NOEXEC | MS_NODEV;
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const MASKED: [&str; 10] = [
    "proc/acpi",
    "proc/asound",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/timer_list",
    "proc/timer_stats",
    "proc/sched_debug",
    "sys/firmware",
    "proc/scsi",
];
const READ_ONLY: [&str; 5] = [
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["run", rootfs, id, program, hierarchies @ ..] => {
            run(Path::new(rootfs), id, program, hierarchies)
        }
        ["exec", pid, program, cgroups @ ..] => exec(pid, program, cgroups),
        _ => Err(io::Error::other(
            "usage: floor run ROOTFS ID PROGRAM HIERARCHY... | floor exec PID PROGRAM CGROUP...",
        )),
    };
    match done {
        Ok(status) => std::process::exit(status),
        Err(error) => {
            eprintln!("floor: {error}");
            std::process::exit(125);
        }
    }
}

fn run(rootfs: &Path, id: &str, program: &str, hierarchies: &[&str]) -> io::Result<c_int> {
    let cgroups: Vec<PathBuf> = hierarchies
        .iter()
        .map(|hierarchy| Path::new(hierarchy).join(id))
        .collect();
    for (cgroup, hierarchy) in cgroups.iter().zip(hierarchies) {
        fs::create_dir(cgroup)?;
        // A cpuset takes no process before it has both.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let from = Path::new(hierarchy).join(file);
            if from.exists() {
                fs::write(cgroup.join(file), fs::read(from)?)?;
            }
        }
    }
    let child = clone(NAMESPACES)?;
    if child == 0 {
        end_child(
            join(&cgroups)
                .and_then(|()| contain(rootfs, &cgroups))
                .and_then(|()| execute(program)),
        );
    }
    let status = wait(child)?;
    for cgroup in &cgroups {
        fs::remove_dir(cgroup)?;
    }
    Ok(status)
}

fn exec(pid: &str, program: &str, cgroups: &[&str]) -> io::Result<c_int> {
    join(cgroups)?;
    let pid: c_int = pid.parse().map_err(io::Error::other)?;
    // SAFETY: pidfd_open takes two numbers; what it returns is a new descriptor or an error.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let raw = c_int::try_from(result(raw)?).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor and nobody else has it.
    let target = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: setns takes two numbers, and `target` is open until the end of this function.
    result(unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&target), NAMESPACES) }.into())?;
    let child = clone(0)?;
    if child == 0 {
        end_child(execute(program));
    }
    wait(child)
}

/// A thread that moves itself needs no lock over all processors, for which an idle kernel takes milliseconds.
fn join(cgroups: &[impl AsRef<Path>]) -> io::Result<()> {
    cgroups
        .iter()
        .try_for_each(|cgroup| fs::write(cgroup.as_ref().join("tasks"), "0"))
}

/// Makes the container's view of the world around the calling process, which is alone in its namespaces.
fn contain(rootfs: &Path, cgroups: &[PathBuf]) -> io::Result<()> {
    mount("", Path::new("/"), "", MS_REC | MS_SLAVE, "")?;
    let root = rootfs.to_str().unwrap_or_default();
    mount(root, rootfs, "", MS_BIND | MS_REC, "")?;
    mount("proc", &rootfs.join("proc"), "proc", 0, "")?;
    let dev = rootfs.join("dev");
    mount(
        "tmpfs",
        &dev,
        "tmpfs",
        MS_NOSUID | libc::MS_STRICTATIME,
        "mode=755,size=65536k",
    )?;
    for folder in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(folder))?;
    }
    let pts = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(
        "devpts",
        &dev.join("pts"),
        "devpts",
        MS_NOSUID | MS_NOEXEC,
        pts,
    )?;
    mount(
        "shm",
        &dev.join("shm"),
        "tmpfs",
        HARD,
        "mode=1777,size=65536k",
    )?;
    mount("mqueue", &dev.join("mqueue"), "mqueue", HARD, "")?;
    mount("sysfs", &rootfs.join("sys"), "sysfs", HARD | MS_RDONLY, "")?;
    mount_cgroups(&rootfs.join("sys/fs/cgroup"), cgroups)?;
    for (name, major, minor) in NODES {
        make_node(&dev.join(name), libc::makedev(major, minor))?;
    }
    symlink("pts/ptmx", dev.join("ptmx"))?;
    for (name, target) in [
        ("fd", ""),
        ("stdin", "/0"),
        ("stdout", "/1"),
        ("stderr", "/2"),
    ] {
        symlink(format!("/proc/self/fd{target}"), dev.join(name))?;
    }
    set_host_name("floor")?;
    pivot(rootfs)?;
    READ_ONLY
        .iter()
        .try_for_each(|path| read_only(&Path::new("/").join(path)))?;
    MASKED
        .iter()
        .try_for_each(|path| mask(&Path::new("/").join(path)))?;
    mount("", Path::new("/"), "", MS_BIND | MS_REMOUNT | MS_RDONLY, "")
}

/// Shows the container its own cgroups, as a runtime does where there is no cgroup namespace.
fn mount_cgroups(target: &Path, cgroups: &[PathBuf]) -> io::Result<()> {
    mount("tmpfs", target, "tmpfs", HARD, "mode=755")?;
    for cgroup in cgroups {
        let point = cgroup
            .strip_prefix("/sys/fs/cgroup")
            .ok()
            .and_then(|path| path.iter().next());
        let folder = target.join(point.unwrap_or(OsStr::new("cgroup")));
        fs::create_dir(&folder)?;
        mount(
            cgroup.to_str().unwrap_or_default(),
            &folder,
            "",
            MS_BIND,
            "",
        )?;
        mount("", &folder, "", MS_BIND | MS_REMOUNT | MS_RDONLY | HARD, "")?;
    }
    mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | HARD, "")
}

fn read_only(path: &Path) -> io::Result<()> {
    match mount(
        path.to_str().unwrap_or_default(),
        path,
        "",
        MS_BIND | MS_REC,
        "",
    ) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => mount("", path, "", MS_BIND | MS_REMOUNT | MS_RDONLY | HARD, ""),
    }
}

fn mask(path: &Path) -> io::Result<()> {
    match mount("/dev/null", path, "", MS_BIND, "") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            mount("tmpfs", path, "tmpfs", MS_RDONLY, "")
        }
        other => other,
    }
}

fn pivot(rootfs: &Path) -> io::Result<()> {
    std::env::set_current_dir(rootfs)?;
    // SAFETY: both arguments are constant strings that end in a zero byte.
    result(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // SAFETY: the path is a constant string that ends in a zero byte.
    result(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())?;
    std::env::set_current_dir("/")
}

fn mount(source: &str, target: &Path, kind: &str, flags: c_ulong, data: &str) -> io::Result<()> {
    let source = CString::new(source)?;
    let target = CString::new(target.as_os_str().as_encoded_bytes())?;
    let (kind, data) = (CString::new(kind)?, CString::new(data)?);
    let options = if data.is_empty() {
        null()
    } else {
        data.as_ptr().cast()
    };
    // SAFETY: all four strings live until the end of this function, and the kernel takes no data for an absent one.
    let made = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options,
        )
    };
    result(made.into()).map(|_| ())
}

fn make_node(path: &Path, device: libc::dev_t) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: `path` ends in a zero byte and lives until the call returns.
    result(unsafe { libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, device) }.into()).map(|_| ())
}

fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: the kernel reads exactly as many bytes as `name` has.
    result(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into()).map(|_| ())
}

fn clone(namespaces: c_int) -> io::Result<c_int> {
    // SAFETY: without CLONE_VM this is fork: the child goes on with a copy of this single-threaded process.
    let child = unsafe { libc::syscall(libc::SYS_clone, namespaces | libc::SIGCHLD, 0, 0, 0, 0) };
    c_int::try_from(result(child)?).map_err(io::Error::other)
}

fn execute(program: &str) -> io::Result<()> {
    let program = CString::new(program)?;
    let arguments = [program.as_ptr(), null()];
    // SAFETY: both lists end in a null pointer, and their strings live until the program is replaced.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), [null()].as_ptr()) };
    Err(io::Error::last_os_error())
}

fn wait(child: c_int) -> io::Result<c_int> {
    let mut status = 0;
    // SAFETY: `status` is a live integer of ours for the kernel to write to.
    result(unsafe { libc::waitpid(child, &raw mut status, 0) }.into())?;
    Ok(if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        128 + libc::WTERMSIG(status)
    })
}

fn end_child(outcome: io::Result<()>) -> ! {
    if let Err(error) = outcome {
        eprintln!("floor: in the container: {error}");
    }
    // SAFETY: ends this process alone; the parent's buffers and exit handlers are not the child's.
    unsafe { libc::_exit(125) }
}

fn result(returned: libc::c_long) -> io::Result<libc::c_long> {
    if returned < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}
