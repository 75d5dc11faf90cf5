//! `lade` as a whole command: the real binary against registries on loopback, archives of others, and a kernel.

mod archive;
mod attacks;
mod auth;
mod faults;
mod hosts;
mod images;
mod import_docker;
mod inside;
mod killed;
mod life;
mod manifests;
mod mount;
mod others;
mod peers;
mod pull;
mod push;
mod remove;
mod rootless;
mod run;
mod search;
mod store;
mod templates;
mod terminal;
mod usage;
mod used;
mod versions;
