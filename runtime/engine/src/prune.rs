//! Prune: images that nobody has a name for, or that nobody uses, go; and all that was left unfinished.

use store::Collect;

use crate::images::List;
use crate::remove::{Called, Line, delete};
use crate::{Engine, Filters, Result};

/// What to remove.
#[derive(Debug, Clone, Default)]
pub struct Prune {
    /// Also images with names: all that no container uses.
    pub all: bool,
    /// `until`, `label`, `label!`, and `dangling=false` for `all`.
    pub filters: Filters,
}

/// What was removed.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// In the order in which it happened.
    pub lines: Vec<Line>,
    /// Bytes on disk that are free, or will be when the trash is swept.
    pub reclaimed: u64,
    /// Files wait in the trash for [`Engine::sweep`].
    pub trash: bool,
}

impl Engine {
    /// Removes images that are not used, and what interrupted work has left.
    pub fn prune(&self, options: &Prune) -> Result<Pruned> {
        options
            .filters
            .only(&["dangling", "label", "label!", "until"])?;
        let dangling = options.filters.flag("dangling")?.unwrap_or(!options.all);
        let until = options.filters.until()?;
        let uses = self.uses()?;
        let mut pruned = Pruned::default();
        for image in self.images(&List::default())? {
            if (dangling && !image.names.is_empty())
                || uses.has(&image.id)
                || until.is_some_and(|until| image.created >= until)
                || !image.labels_match(&options.filters)
            {
                continue;
            }
            if let Some(record) = self.store.image(&image.id)? {
                // A pull or a tag may have given it a name since we looked.
                let may = |called: &Called| !dangling || called.names.is_empty();
                delete(&self.store, &record, may, &mut pruned.lines)?;
            }
        }
        drop(uses);
        let collected = self.store.collect(Collect { unfinished: true })?;
        pruned.reclaimed = collected.bytes;
        pruned.trash = self.store.unswept()?;
        Ok(pruned)
    }
}
