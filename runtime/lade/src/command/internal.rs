//! `lade internal`: what lade starts itself.

use clap::Subcommand;

use crate::detach;
use crate::failure::Failure;
use crate::session::Session;

/// What lade starts itself
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Delete what was removed; in the background
    Sweep,
    /// List what may follow the last of these words
    Complete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

impl Command {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Sweep => {
                detach::let_go();
                session.engine()?.sweep()?;
                Ok(())
            }
            Self::Complete { words } => super::completion::complete(&words, session),
        }
    }
}
