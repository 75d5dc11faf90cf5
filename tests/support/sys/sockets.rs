//! Sockets.

use super::check;
use std::io;
use std::os::fd::AsRawFd;

/// Lets little of what was sent wait in the kernel, so that who counts what was sent counts about what has arrived.
pub fn small_send_buffer(stream: &std::net::TcpStream) -> io::Result<()> {
    let size: libc::c_int = 1 << 16;
    let length = u32::try_from(size_of::<libc::c_int>()).expect("four");
    // SAFETY: the kernel reads one int, which lives across the call.
    check(unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUF,
            (&raw const size).cast(),
            length,
        )
    })
    .map(drop)
}
