//! Check: is everything there that the database names, and nothing else.

use crate::{Engine, Result};

/// What a check has found.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// Each with what to do about it.
    pub problems: Vec<Repaired>,
}

/// Something that was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What, and what is or was done about it, in one line.
    pub line: String,
    /// A kill has left it; nothing is lost.
    pub harmless: bool,
    /// It is in order now.
    pub repaired: bool,
}

impl Checked {
    /// Tells whether something is lost or broken still.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| !problem.harmless && !problem.repaired)
    }
}

impl Engine {
    /// Compares database and files, and repairs what can be repaired if asked to. Contents are for [`Engine::verify`].
    pub fn check(&self, repair: bool) -> Result<Checked> {
        let problems = self
            .store
            .check(repair)?
            .into_iter()
            .map(|problem| Repaired {
                line: problem.to_string(),
                harmless: problem.harmless,
                repaired: problem.repaired,
            });
        Ok(Checked {
            problems: problems.collect(),
        })
    }
}
