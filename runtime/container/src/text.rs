//! Texts that other programs match. They are an interface: containerd, Docker, podman and CRI-O branch on them.

/// Every matched text with the program that matches it, for the test that keeps them.
pub const MATCHED: &[(&str, &str)] = &[
    (
        NOT_EXIST,
        "containerd: no such container; ignored on delete",
    ),
    (ALREADY_EXISTS, "podman and people"),
    (NOT_RUNNING, "containerd, CRI-O: not found on kill"),
    (NOT_PAUSED, "runc's users"),
    (PAUSED, "runc's users"),
    (INVALID_ID, "runc's users"),
    (EXEC_STOPPED, "podman"),
    (EXEC_PAUSED, "podman"),
    (EXECUTABLE_NOT_FOUND, "Docker: exit code 127; podman"),
    (TERMINAL_WITHOUT_SOCKET, "conmon's users"),
];

pub const NOT_EXIST: &str = "container does not exist";
pub const ALREADY_EXISTS: &str = "container with given ID already exists";
pub const NOT_RUNNING: &str = "container not running";
pub const NOT_PAUSED: &str = "container not paused";
pub const PAUSED: &str = "container paused";
pub const INVALID_ID: &str = "invalid container ID format";
pub const EXEC_STOPPED: &str = "cannot exec in a stopped container";
pub const EXEC_PAUSED: &str = "cannot exec in a paused container (use --ignore-paused to override)";
pub const EXECUTABLE_NOT_FOUND: &str = "executable file not found in $PATH";
pub const TERMINAL_WITHOUT_SOCKET: &str =
    "cannot allocate tty if runc will detach without setting console socket";
pub const SOCKET_WITHOUT_TERMINAL: &str =
    "cannot use console socket if runc will not detach or allocate tty";

/// What `delete` says of a container that it may not delete yet.
#[must_use]
pub fn not_stopped(id: &str, status: &str) -> String {
    format!("cannot delete container {id} that is not stopped: {status}")
}
