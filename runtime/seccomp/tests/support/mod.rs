//! What several tests of this crate need.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod calls;
pub(crate) mod oracle;
pub(crate) mod random;
pub(crate) mod template;
