//! What a verb's events look like while it is at work: a bar for each layer on a terminal, docker's lines elsewhere, nothing with `-q`.

mod bars;
mod lines;
mod rate;

use std::io::IsTerminal;

use engine::{Event, Progress};

use crate::failure::{Failure, Level, note};
use crate::session::Session;
use crate::settings::LogFormat;
use bars::Bars;
use lines::Lines;

/// Which stream it goes to: docker's choice differs by command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Standard output.
    Output,
    /// Standard error, where output is for a container or a file.
    Errors,
}

impl Place {
    /// Tells whether a person is looking.
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Output => std::io::stdout().is_terminal(),
            Self::Errors => std::io::stderr().is_terminal(),
        }
    }

    /// Tells whether lines can be written again there: where one ends has to be known.
    fn can_move(self) -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let size = match self {
            Self::Output => sys::pty::size(std::io::stdout()),
            Self::Errors => sys::pty::size(std::io::stderr()),
        };
        size.is_ok_and(|size| size.columns > 0) && !dumb
    }
}

/// Takes a verb's events.
#[derive(Debug)]
pub(crate) struct Show {
    form: Form,
    log_format: LogFormat,
}

#[derive(Debug)]
enum Form {
    Nothing,
    Lines(Lines),
    Bars(Bars),
}

/// Chooses what is shown.
pub(crate) fn show(place: Place, quiet: bool, session: &Session) -> Show {
    let form = if quiet {
        Form::Nothing
    } else if place.can_move() && !session.settings.debug {
        Form::Bars(Bars::new(place))
    } else {
        Form::Lines(Lines::new(place))
    };
    Show {
        form,
        log_format: session.settings.log_format,
    }
}

impl Show {
    /// Does something whose progress is shown, and lets the last of it stand.
    pub(crate) fn during<T>(
        &self,
        work: impl FnOnce(&dyn Progress) -> engine::Result<T>,
    ) -> Result<T, Failure> {
        let done = work(self);
        if let Form::Bars(bars) = &self.form {
            bars.end();
        }
        Ok(done?)
    }
}

impl Progress for Show {
    fn event(&self, event: Event) {
        match (&self.form, event) {
            (Form::Bars(bars), Event::Warning(text)) => {
                bars.aside(|| note(Level::Warning, &text, self.log_format));
            }
            (_, Event::Warning(text)) => note(Level::Warning, &text, self.log_format),
            (Form::Nothing, _) => {}
            // Before its layers are known, an archive is one.
            (Form::Bars(bars), Event::Layer { id, step }) if id.is_empty() => {
                let id = "archive".to_owned();
                bars.event(Event::Layer { id, step });
            }
            (Form::Lines(lines), event) => lines.event(&event),
            (Form::Bars(bars), event) => bars.event(event),
        }
    }
}
