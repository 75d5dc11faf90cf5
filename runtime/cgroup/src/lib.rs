//! Puts a container into cgroups and limits what it may use: path, limits, freeze, kill, removal.
//!
//! The flow is parse, plan, act. [`Layout`] says what is mounted where, [`plan()`] turns a `cgroupsPath` and the resources of
//! a config.json into directories and file writes without touching anything, and [`Cgroup`] carries a plan out. Which version a
//! controller is on is decided for each by itself: cgroup v1, v2, and v2 beside v1 are the same code.
//!
//! The crate knows cgroupfs and OCI resource values. It knows nothing of containers, their ids on disk or their state: what a
//! caller wants to find again (a [`Cgroup`] is serializable) it records itself. Nothing here prints; what is ignored is a
//! warning in the plan or in the cgroup.
#![forbid(unsafe_code)]

pub mod bus;
mod delegate;
mod delegation;
mod devices;
mod entry;
mod error;
mod file;
mod freeze;
mod hint;
mod kill;
mod layout;
mod limits;
mod make;
mod oom;
mod path;
mod plan;
mod reached;
mod remove;
pub mod stats;
mod sub;
mod subtree;
mod unit;
mod update;
mod walk;

pub use bus::{Address, BusError, Property, Socket, Type, Value};
pub use devices::{DeviceRule, Devices, program as device_program};
pub use entry::Entry;
pub use error::{Error, Refusal};
pub use layout::{Hierarchy, Kind, Layout};
pub use make::Cgroup;
pub use oom::OomEvents;
pub use path::CgroupPath;
pub use plan::{Dir, Enable, Inherit, Missing, Plan, Write, plan};
pub use reached::Reached;
pub use stats::Stats;
pub use sub::SubPaths;
pub use unit::{Systemd, Unit, UnitPlan, UnitStart, Wanted, plan as plan_unit};
pub use update::update;
