//! The life of a container through the command line: verbs, flags, files, sockets, texts and exit codes.

mod describe;
mod events;
mod exec;
mod fds;
mod features;
mod help;
mod hooks;
mod log;
mod monitor;
mod mounts;
mod older;
mod run;
mod states;
mod terminal;
mod timings;
mod update;
mod users;
