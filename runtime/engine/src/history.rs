//! History: how an image came about, step by step.

use image::History;

use crate::find::familiar_names;
use crate::images::Sizes;
use crate::{Engine, Result, time};

/// One step, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// The image's id for the last step; `<missing>` for the others, which are no images of their own.
    pub id: String,
    /// When it was done, in seconds since 1970.
    pub created: i64,
    /// The command.
    pub created_by: String,
    /// What it has added, unpacked, in bytes.
    pub size: u64,
    /// What was said about it.
    pub comment: String,
    /// The image's names, for the last step.
    pub tags: Vec<String>,
}

impl Engine {
    /// Tells how an image came about.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryRow>> {
        let found = self.find(name)?;
        let config = self.config(&found.id)?;
        let mut layers = config.rootfs.diff_ids.iter();
        let mut sizes = Sizes::new(&self.store);
        let mut rows = Vec::new();
        for step in &config.history {
            let layer = if step.empty_layer {
                None
            } else {
                layers.next()
            };
            rows.push(row(
                step,
                layer.map(|layer| sizes.layer(layer)).transpose()?,
            ));
        }
        // Some programs write no history, or not all of it.
        for layer in layers {
            rows.push(row(&History::default(), Some(sizes.layer(layer)?)));
        }
        rows.reverse();
        if let Some(first) = rows.first_mut() {
            first.id = found.id.to_string();
            first.tags = familiar_names(&self.store, &found.id)?;
        }
        Ok(rows)
    }
}

fn row(step: &History, size: Option<u64>) -> HistoryRow {
    HistoryRow {
        id: "<missing>".to_string(),
        created: step.created.as_deref().and_then(time::parse).unwrap_or(0),
        created_by: step.created_by.clone().unwrap_or_default(),
        size: size.unwrap_or(0),
        comment: step.comment.clone().unwrap_or_default(),
        tags: Vec::new(),
    }
}
