//! The options of the host's cgroup v2. They belong to the file system, and whoever mounts it in the host's cgroup namespace sets them
//! anew: criu does so, without any, and would take the host what systemd has set, `nsdelegate` and `memory_recursiveprot`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The options as they were.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    mount: PathBuf,
    options: String,
}

/// Notes the options; there are none to note where cgroup v2 is mounted nowhere.
pub(super) fn keep() -> Option<Kept> {
    look().map(|(mount, options)| Kept { mount, options })
}

/// Returns where cgroup v2 is mounted, and its options.
fn look() -> Option<(PathBuf, String)> {
    let table = super::mounts::table("/proc/self/mountinfo").ok()?;
    let mut all = table.into_iter();
    let entry = all.find(|entry| entry.kind == "cgroup2")?;
    // What is written down of it is JSON.
    entry.point.to_str()?;
    Some((entry.point, entry.settings))
}

impl Kept {
    /// Puts the options back, should they be others by now.
    pub(super) fn put_back(&self) {
        if look().is_none_or(|(_, options)| options == self.options) {
            return;
        }
        let flags = self.options.split(',').filter(|flag| *flag != "rw");
        // What criu has done stands, whether this succeeds or not.
        let _ = sys::mount::reconfigure(&self.mount, flags);
    }
}
