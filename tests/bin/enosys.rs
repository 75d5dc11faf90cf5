//! Runs a program as on a kernel that lacks some system calls: `enosys [--eperm] NAME[,NAME]... PROGRAM [ARG]...`.
//!
//! A seccomp filter answers ENOSYS to them, for the program and for all that it starts. Fallbacks are really run that way. The name `all`
//! stands for every call that is newer than Linux 5.0, and for statx(2), of whose answers the newer part cannot be hidden. With `--eperm`
//! the filter answers EPERM, as those of old container engines do. `$ENOSYS_CALLED` is the name that the program is told to have.

#![allow(clippy::print_stderr)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a kernel before the given version lacks.
const CALLS: [(&str, i64); 13] = [
    ("statx", libc::SYS_statx),                         // 4.11
    ("copy_file_range", libc::SYS_copy_file_range),     // not across file systems before 5.3
    ("open_tree", libc::SYS_open_tree),                 // 5.2
    ("move_mount", libc::SYS_move_mount),               // 5.2
    ("fsopen", libc::SYS_fsopen),                       // 5.2
    ("fsconfig", libc::SYS_fsconfig),                   // 5.2
    ("fsmount", libc::SYS_fsmount),                     // 5.2
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal), // 5.1
    ("pidfd_open", libc::SYS_pidfd_open),               // 5.3
    ("clone3", libc::SYS_clone3),                       // 5.3
    ("openat2", libc::SYS_openat2),                     // 5.6
    ("close_range", libc::SYS_close_range),             // 5.9
    ("mount_setattr", libc::SYS_mount_setattr),         // 5.12
];

/// Since that version a new call has the same number everywhere, and this was the first.
const SINCE_5_1: i64 = libc::SYS_pidfd_send_signal;

fn main() {
    let mut words = std::env::args_os().skip(1).peekable();
    let errno = words
        .next_if(|word| word == "--eperm")
        .map_or(libc::ENOSYS, |_| libc::EPERM);
    let (Some(names), Some(program)) = (words.next(), words.next()) else {
        end("usage: enosys [--eperm] NAME[,NAME]... PROGRAM [ARG]...");
    };
    let names = names.to_string_lossy().into_owned();
    let number = |name: &str| {
        let call = CALLS.iter().find(|(known, _)| *known == name);
        call.map_or_else(
            || end(&format!("{name}: not a name that enosys knows")),
            |(_, number)| *number,
        )
    };
    let (numbers, from) = match names.as_str() {
        "all" => (vec![libc::SYS_statx], Some(SINCE_5_1)),
        names => (names.split(',').map(number).collect(), None),
    };
    if let Err(error) = orlop_tests::sys::answer(errno, &numbers, from) {
        end(&format!("the filter: {error}"));
    }
    let called = std::env::var_os("ENOSYS_CALLED").unwrap_or_else(|| program.clone());
    let mut command = Command::new(program);
    command.arg0(called).env_remove("ENOSYS_CALLED").args(words);
    let error: io::Error = command.exec();
    end(&error.to_string());
}

fn end(message: &str) -> ! {
    eprintln!("enosys: {message}");
    std::process::exit(125);
}
