//! A pseudo terminal that a test holds the master of, as a user's terminal emulator does.

use crate::wait::PATIENCE;
use crate::{Must, patient, sys};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Both ends of a pseudo terminal, and what has been read from the master so far.
#[derive(Debug)]
pub struct Pty {
    pub master: File,
    /// Stays open, so that the settings can be read after the program has ended; None when the master came through a socket.
    pub slave: Option<File>,
    pub seen: String,
    bytes: Receiver<Vec<u8>>,
}

impl Pty {
    /// Opens a terminal of 24 rows and 80 columns.
    pub fn open() -> Self {
        let (master, slave) = sys::open_pty().must("open a pseudo terminal");
        sys::set_window(&master, (24, 80)).must("set the window size");
        Self::new(master, Some(slave))
    }

    /// Wraps a master that came from somewhere else.
    pub fn of_master(master: File) -> Self {
        Self::new(master, None)
    }

    fn new(master: File, slave: Option<File>) -> Self {
        let mut reader = master.try_clone().must("clone the master");
        let (send, bytes) = channel();
        // The reader ends with EIO when the last slave is closed, or with the process of the test.
        std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            master,
            slave,
            seen: String::new(),
            bytes,
        }
    }

    /// Makes the terminal stdin, stdout and stderr of `command`, and its controlling terminal.
    pub fn attach(&self, command: &mut Command) {
        let end = || {
            Stdio::from(
                self.slave
                    .as_ref()
                    .must("the slave")
                    .try_clone()
                    .must("clone the slave"),
            )
        };
        command.stdin(end()).stdout(end()).stderr(end());
        sys::own_terminal(command);
    }

    /// Types `text`.
    pub fn send(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .must("write to the master");
    }

    /// Reads until `text` has appeared after everything that earlier calls waited for.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + patient(PATIENCE);
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            match self
                .bytes
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(why) => panic!(
                    "terminal: {text:?} did not appear ({why}); it shows {:?}",
                    self.seen
                ),
            }
        }
    }
}
