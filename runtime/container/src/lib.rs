//! The life cycle of an OCI container: bundle, host, plan, launch, state.
//!
//! `Bundle::load` reads a bundle, `Host::probe` says what this machine can do, `Plan::new` decides everything from those two
//! values without touching the system, `launch` carries a plan out, and `state` keeps what the later verbs need. The crate is
//! synchronous, has one thread before a clone, and never prints, exits or reads the environment.
#![forbid(unsafe_code)]

pub mod bundle;
pub mod check;
pub mod criu;
pub mod exec;
pub mod foreground;
pub mod host;
pub mod id;
mod idmap;
pub mod launch;
pub mod notify;
pub mod plan;
pub mod reached;
pub mod resctrl;
pub mod resources;
mod shape;
mod spelling;
pub mod state;
pub mod text;
pub mod timing;
mod unknown;
pub mod verbs;

pub use bundle::Bundle;
pub use host::Host;
pub use id::ContainerId;
pub use plan::{Options, Plan, Refusal};
pub use state::{Record, StateRoot, Status};
pub use sys::seccomp::knows_flags as knows_filter_flags;
pub use timing::Timing;
