//! The image to run: the one that is here, or one that is pulled first.

use engine::{Found, Kind, Pull};
use image::{Platform, Reference};

use super::super::platform;
use super::Args;
use crate::failure::{Failure, say};
use crate::progress::{self, Place};
use crate::session::Session;

/// Finds the image, and pulls it when that is needed and allowed.
pub(super) fn image(args: &Args, session: &Session) -> Result<Found, Failure> {
    let wanted = platform(args.platform.as_ref())?;
    let engine = session.engine()?;
    let found = match engine.find(&args.image) {
        Err(error) if error.kind() != Kind::NotFound => return Err(error.into()),
        found => found,
    };
    let other = found.as_ref().ok().zip(wanted.as_ref());
    let other = other.and_then(|(found, wanted)| other_platform(args, found, wanted));
    match (args.pull.as_str(), found, other) {
        ("missing" | "never", Ok(found), None) => return Ok(found),
        ("never", Err(error), _) => return Err(error.into()),
        ("never", Ok(_), Some(other)) => {
            return Err(Failure::new(other).hint("`--pull missing` gets the one for that platform"));
        }
        // An id is of this image and no other.
        ("missing", Ok(found), Some(other)) if found.name.is_none() => {
            return Err(Failure::new(other).hint("name it by its name: an id is of one image only"));
        }
        ("missing", _, other) if !args.quiet => say(&match other {
            Some(other) => format!("{other}: pulling\n"),
            None => format!("Unable to find image '{}' locally\n", name(args)),
        }),
        ("missing" | "always", ..) => {}
        (other, ..) => {
            let text = format!("--pull: {other:?} is not known; use always, missing or never");
            return Err(Failure::new(text));
        }
    }
    pull(args, wanted, session)
}

fn pull(args: &Args, platform: Option<Platform>, session: &Session) -> Result<Found, Failure> {
    let engine = session.engine()?;
    let options = Pull {
        platform,
        ..Pull::default()
    };
    let progress = progress::show(Place::Errors, args.quiet, session);
    let pulled = progress.during(|progress| engine.pull(&args.image, &options, progress))?;
    for line in pulled.lines.iter().filter(|_| !args.quiet) {
        say(&format!("{line}\n"));
    }
    let image = pulled.images.first();
    let none = || Failure::new(format!("pull {}: there is no image behind it", args.image));
    Ok(engine.find(&image.ok_or_else(none)?.id.to_string())?)
}

/// As people write it, with its tag; an id as it was given.
fn name(args: &Args) -> String {
    let name = args.image.parse::<Reference>().map(Reference::or_latest);
    name.map_or_else(|_| args.image.clone(), |name| name.to_string())
}

/// Says for which platform an image is here, if that is another than is wanted.
fn other_platform(args: &Args, found: &Found, wanted: &Platform) -> Option<String> {
    let here = found.record.platform.as_ref();
    if here == Some(&wanted.to_string()) {
        return None;
    }
    let name = match &found.name {
        Some(name) => name.to_string(),
        None => args.image.clone(),
    };
    // As it was asked for, which is shorter than what it means.
    let wanted = args.platform.as_deref().unwrap_or_default();
    // An artifact is for none.
    Some(match here {
        Some(here) => format!("{name} is here for {here}, not {wanted}"),
        None => format!("{name} is here, and not for {wanted}"),
    })
}

/// Says in docker's words that an image was made for another machine: what comes of it is seldom more than "exec format error".
pub(super) fn warn_of_platform(image: &Found, session: &Session) {
    let (host, image) = (Platform::host(), image.record.platform.as_deref());
    let Some(image) = image.and_then(|text| text.parse::<Platform>().ok()) else {
        return;
    };
    if !host.runs(&image) {
        session.warn(&format!(
            "The requested image's platform ({image}) does not match the detected host platform ({host}) and no specific platform was requested"
        ));
    }
}
