//! Who may do what: challenges of servers, and the tokens that answer them.

pub(crate) mod challenge;
pub(crate) mod scope;
pub(crate) mod token;

pub use challenge::{Challenge, challenges};
