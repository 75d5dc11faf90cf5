//! What the tests of a whole command share: a place of their own, bundles, commands and a picture of the host.
//!
//! Nothing is simulated: a test runs the real binary on the real kernel. `Env` gives it a directory, a state root and a mount
//! namespace of its own and names with a tag, so that tests run side by side, and beside other people's containers, and each
//! still sees exactly what it left behind. Failures panic with the command, its output and the directory.

mod agent;
mod bundle;
mod cgroup;
mod command;
mod criu;
mod env;
mod gate;
mod lade;
mod pty;
pub mod registry;
mod socket;
pub mod sys;
mod wait;
mod world;

pub use agent::{Agent, Heard};
pub use bundle::{Bundle, copy_program, spec};
pub use cgroup::{cgroup_of, cgroup_paths, freeze, hierarchy, only_v2};
pub use command::{Cmd, Done, Running};
pub use criu::{CriuDirectories, criu_path, hierarchies};
pub use env::{Env, orlop};
pub use gate::Gate;
pub use lade::{Lade, complaint, disk, lade};
pub use pty::Pty;
pub use socket::{ConsoleSocket, NotifySocket};
pub use wait::{Must, behind_filter, hidden, patient, skip, soon, until};
pub use world::World;
