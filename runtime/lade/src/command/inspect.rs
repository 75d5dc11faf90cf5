//! `lade inspect`, `lade image inspect`.

mod fields;

use engine::Kind;
use serde_json::Value;

use crate::failure::{FAILED, Failure, Problem, print};
use crate::format;
use crate::session::Session;

/// Show everything about objects, as JSON
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// Show sizes of containers; has no effect, for there are only images
    #[arg(long, short = 's')]
    size: bool,
    /// Only objects of this type: image
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

/// Show everything about images, as JSON
#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Print by a Go template, such as '{{.Config.Env}}'
    #[arg(long, short = 'f')]
    format: Option<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    match args.kind.as_deref() {
        None | Some("image") => {}
        Some(
            "container" | "network" | "volume" | "node" | "plugin" | "secret" | "service" | "task",
        ) => {
            let text = format!(
                "--type {}: there are only images",
                args.kind.as_deref().unwrap_or_default()
            );
            return Err(Failure::new(text).hint("--type image, or leave it out"));
        }
        Some(other) => {
            let text = format!("{other:?} is not a valid value for --type");
            return Err(Failure::new(text));
        }
    }
    let missing = if args.kind.is_some() {
        "No such image: "
    } else {
        "No such object: "
    };
    show(&args.image, missing, session)
}

pub(crate) fn image(args: &ImageArgs, session: &Session) -> Result<(), Failure> {
    show(args, "No such image: ", session)
}

/// Prints what was found, and then says what was not.
fn show(args: &ImageArgs, missing: &str, session: &Session) -> Result<(), Failure> {
    let engine = session.engine()?;
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for name in &args.images {
        match engine.inspect(name) {
            Ok(object) => objects.push(object),
            Err(error) => {
                let mut problem = Problem::from(&error);
                if error.kind() == Kind::NotFound {
                    problem.message = format!("{missing}{name}");
                }
                problems.push(problem);
            }
        }
    }
    print(&rendered(&objects, args.format.as_deref())?)?;
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure {
        problems,
        code: FAILED,
    })
}

fn rendered(objects: &[Value], given: Option<&str>) -> Result<String, Failure> {
    match given {
        None | Some("") => Ok(format!("{}\n", indented(objects, b"    ")?)),
        Some("json") => Ok(format!("{}\n", Value::from(objects.to_vec()))),
        Some(template) => objects
            .iter()
            .map(|object| format::typed(template, object, &fields::IMAGE))
            .collect(),
    }
}

/// Writes JSON with so much at the beginning of a line for each level; docker has four blanks here, and none in an empty list.
pub(super) fn indented(value: impl serde::Serialize, indent: &[u8]) -> Result<String, Failure> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent);
    let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value
        .serialize(&mut writer)
        .map_err(|error| Failure::new(format!("write JSON: {error}")))?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_look_as_docker_prints_them() {
        let objects = [json!({"Id": "a", "Env": ["x=1"], "None": [], "Map": {}})];
        let want = "[\n    {\n        \"Id\": \"a\",\n        \"Env\": [\n            \"x=1\"\n        ],\n        \"None\": [],\n        \"Map\": {}\n    }\n]\n";
        assert_eq!(rendered(&objects, None).unwrap(), want);
        assert_eq!(rendered(&[], None).unwrap(), "[]\n");
        assert_eq!(rendered(&objects, Some("{{.Id}}")).unwrap(), "a\n");
        assert_eq!(rendered(&[json!(1)], Some("json")).unwrap(), "[1]\n");
    }
}
