//! What servers say in headers, read on its own: pure functions on a stranger's text. What cannot be read is as if it were not there.

pub use crate::auth::{Challenge, challenges};
pub use crate::blob::content_range;
pub use crate::http::retry_after;
pub use crate::lists::next_link;
pub use crate::upload::received;
