//! A list of moments that a process and the children that it clones write together: a shared page, and no system call per moment.

use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::Result;

/// More moments than this are not kept.
const ROOM: usize = 1023;

#[derive(Debug)]
#[repr(C)]
struct Page {
    taken: AtomicUsize,
    /// Nanoseconds since 1970 with a tag; a moment whose time is 0 is still being written.
    moments: [(AtomicU64, AtomicU64); ROOM],
}

/// The shared list.
#[derive(Debug)]
pub struct Timeline(NonNull<Page>);

// SAFETY: through a shared reference the page is changed by atomic operations only, and it is unmapped by the one owner.
unsafe impl Sync for Timeline {}

impl Timeline {
    /// Maps an empty list; whoever is cloned from now on shares it.
    pub fn new() -> Result<Self> {
        let size = NonZeroUsize::new(size_of::<Page>()).ok_or(crate::Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice touches no memory of ours.
        let page = unsafe { mmap_anonymous(None, size, access, MapFlags::MAP_SHARED) }?;
        Ok(Self(page.cast()))
    }

    fn page(&self) -> &Page {
        // SAFETY: the mapping has the size of a page, is aligned to one, begins as zeroes, which are valid atomics, and lives as
        // long as `self`; other processes change it by atomic operations only.
        unsafe { self.0.as_ref() }
    }

    /// Notes that what `tag` stands for ends now.
    ///
    /// The clock is the wall clock: all others may differ between time namespaces.
    pub fn mark(&self, tag: u64) {
        let index = self.page().taken.fetch_add(1, Ordering::Relaxed);
        let Some((at, what)) = self.page().moments.get(index) else {
            return;
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        what.store(tag, Ordering::Relaxed);
        at.store(now, Ordering::Release);
    }

    /// Returns what has been noted, each as nanoseconds since 1970 and a tag, in the order of time.
    #[must_use]
    pub fn moments(&self) -> Vec<(u64, u64)> {
        let load = |(at, what): &(AtomicU64, AtomicU64)| {
            let at = at.load(Ordering::Acquire);
            (at != 0).then(|| (at, what.load(Ordering::Relaxed)))
        };
        let mut moments: Vec<_> = self.page().moments.iter().filter_map(load).collect();
        moments.sort_by_key(|(at, _)| *at);
        moments
    }
}

impl Drop for Timeline {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped exactly this, and nobody can hold a reference into it beyond `self`.
        unsafe { munmap(self.0.cast(), size_of::<Page>()) }.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_kept_in_order_up_to_the_room() {
        let line = Timeline::new().unwrap();
        (0..2000).for_each(|tag| line.mark(tag));
        let moments = line.moments();
        assert_eq!(moments.len(), ROOM);
        assert!(moments.is_sorted_by_key(|(at, _)| *at));
        assert_eq!(moments[0].1, 0);
    }
}
