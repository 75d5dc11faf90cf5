//! `lade rmi`, `lade image rm`.

use engine::{Kind, Remove};

use crate::failure::{Failure, print_lines, report};
use crate::session::Session;

/// Remove images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Remove it even when it has several names, or is not there
    #[arg(long, short = 'f')]
    force: bool,
    /// Keep the images without a name that it was made of
    #[arg(long)]
    no_prune: bool,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let options = Remove {
        force: args.force,
        no_prune: args.no_prune,
    };
    let removed = session.engine()?.remove(&args.images, &options);
    print_lines(removed.lines)?;
    if removed.errors.is_empty() {
        return Ok(());
    }
    let mut failure = Failure::all(&removed.errors);
    for problem in &mut failure.problems {
        as_typed(&mut problem.message, &args.images);
    }
    // With --force, what is not there is as good as removed: said, and no failure.
    let only_missing = |error: &engine::Error| error.kind() == Kind::NotFound;
    if args.force && removed.errors.iter().all(only_missing) {
        report(&failure, session.settings.log_format);
        return Ok(());
    }
    Err(failure)
}

/// Docker names what is missing as it was typed here, without the tag that a name has when nobody says one.
fn as_typed(message: &mut String, names: &[String]) {
    let typed = names.iter().map(|name| format!("No such image: {name}"));
    let mut typed = typed.filter(|typed| *message == format!("{typed}:latest"));
    if let Some(typed) = typed.next() {
        *message = typed;
    }
}

#[cfg(test)]
mod tests {
    use super::as_typed;

    #[test]
    fn what_is_missing_is_named_as_it_was_typed() {
        let names = ["a".to_owned(), "b:latest".to_owned()];
        for (said, want) in [
            ("No such image: a:latest", "No such image: a"),
            ("No such image: b:latest", "No such image: b:latest"),
            ("No such image: c:latest", "No such image: c:latest"),
            ("image is in use", "image is in use"),
        ] {
            let mut message = said.to_owned();
            as_typed(&mut message, &names);
            assert_eq!(message, want);
        }
    }
}
