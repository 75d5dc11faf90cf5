//! What the commands share: the settings, and the engine that is opened by the first that needs it.

use std::cell::OnceCell;

use engine::{Engine, Registries};

use crate::detach;
use crate::failure::{self, Failure, Level};
use crate::settings::{LogFormat, Settings};

/// One call of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) settings: Settings,
    engine: OnceCell<Engine>,
    registries: OnceCell<Registries>,
}

impl Session {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            engine: OnceCell::new(),
            registries: OnceCell::new(),
        }
    }

    /// Returns the engine, opened at the first call.
    pub(crate) fn engine(&self) -> Result<&Engine, Failure> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        self.debug(&format!("data root {}", self.settings.data_root.display()));
        let engine = Engine::open(self.engine_settings())?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// Returns the way to registries, for whom the data root is nothing.
    pub(crate) fn registries(&self) -> &Registries {
        let make = || Registries::new(self.engine_settings());
        self.registries.get_or_init(make)
    }

    fn engine_settings(&self) -> engine::Settings {
        let settings = &self.settings;
        let mut network = settings.network.clone();
        // A function for each form: a plain one knows nothing of the settings.
        let trace: fn(&str) = match settings.log_format {
            LogFormat::Text => |line| failure::note(Level::Debug, line, LogFormat::Text),
            LogFormat::Json => |line| failure::note(Level::Debug, line, LogFormat::Json),
        };
        network.trace = settings.debug.then_some(trace);
        engine::Settings {
            data_root: settings.data_root.clone(),
            run_root: settings.run_root.clone(),
            runtime: settings.runtime.clone(),
            network,
            connections: settings.connections,
            piece: settings.piece,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    pub(crate) fn warn(&self, message: &str) {
        failure::note(Level::Warning, message, self.settings.log_format);
    }

    /// Warns, and says what to do about it.
    pub(crate) fn advise(&self, message: &str, hint: &str) {
        failure::advise(
            Level::Warning,
            message,
            Some(hint),
            self.settings.log_format,
        );
    }

    pub(crate) fn debug(&self, message: &str) {
        if self.settings.debug {
            failure::note(Level::Debug, message, self.settings.log_format);
        }
    }

    /// Starts the sweep when there is something to delete: of this command, or of one whose sweep was killed.
    pub(crate) fn leave(&self) {
        let Some(engine) = self.engine.get() else {
            return;
        };
        match engine.is_unswept() {
            Ok(true) => {
                if let Err(error) = detach::sweep(&self.settings) {
                    self.warn(&format!(
                        "start the sweep of deleted images: {error}; the next command tries again"
                    ));
                }
            }
            Ok(false) => {}
            Err(error) => self.debug(&format!("look for deleted images: {error}")),
        }
    }
}
