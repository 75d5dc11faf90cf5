//! systemd's D-Bus interface, as far as containers need it (org.freedesktop.systemd1(5)), and a D-Bus client that is no larger.
//!
//! `value`, `wire`, `message` and `text` are pure; `client` owns a connection; `manager` has the calls. systemd's own socket
//! speaks the protocol without a bus: no greeting, no match rules, and it sends every signal to whoever is connected. On a bus
//! the end of a job is heard by one match rule; to `Subscribe` would only be asking for more.

mod address;
mod client;
mod error;
mod manager;
pub mod message;
pub(crate) mod text;
pub(crate) mod value;
mod wire;

#[cfg(test)]
mod tests;

pub use address::{Address, Socket};
pub use error::Error as BusError;
pub use manager::Property;
pub(crate) use manager::{Manager, Starting};
pub use value::{Type, Value};
