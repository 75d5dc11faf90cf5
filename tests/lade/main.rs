//! `lade` as a whole command: the real binary against registries on loopback, archives of others, and a kernel.

mod archive;
mod attacks;
mod auth;
mod faults;
mod hosts;
mod images;
mod killed;
mod others;
mod peers;
mod pull;
mod push;
mod remove;
mod run;
mod store;
mod usage;
