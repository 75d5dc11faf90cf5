//! `lade search`.

use engine::{Filters, Search, SearchRow};
use serde_json::Value;

use crate::failure::{Failure, print};
use crate::format::{Default, Format, row};
use crate::session::Session;
use crate::table;

/// Search a registry for images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to look for; HOST/TERM asks another registry
    #[arg(value_name = "TERM")]
    term: String,
    /// Only images of which this is true: is-official, is-automated or stars, with =VALUE
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Vec<String>,
    /// Print by a Go template, or json
    #[arg(long)]
    format: Option<String>,
    /// Print at most so many
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: u32,
    /// Print whole descriptions
    #[arg(long)]
    no_trunc: bool,
}

const TABLE: &str =
    "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}\t{{.IsAutomated}}";
const HEADERS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let default = Default {
        table: TABLE,
        quiet: false,
    };
    let given = args.format.as_deref();
    let format = Format::parse(given, default)?;
    let options = Search {
        limit: args.limit,
        filters: Filters::parse(&args.filter)?,
    };
    let found = session.registries().search(&args.term, &options)?;
    // In JSON docker has true and false where people get a mark.
    let marks = !given.is_some_and(|text| text == "json" || text.contains("json ."));
    let rows = found
        .iter()
        .map(|found| fields(found, args.no_trunc, marks));
    print(&format.render(HEADERS, rows)?)
}

fn fields(found: &SearchRow, whole: bool, marks: bool) -> Value {
    let description = found.description.replace(['\n', '\r'], " ");
    let truth = |truth: bool| match (marks, truth) {
        (true, true) => "[OK]".to_owned(),
        (true, false) => String::new(),
        (false, truth) => truth.to_string(),
    };
    row([
        ("Name", found.name.clone()),
        (
            "Description",
            if whole {
                description
            } else {
                table::cut(&description, 45)
            },
        ),
        ("StarCount", found.stars.to_string()),
        ("IsOfficial", truth(found.official)),
        ("IsAutomated", truth(found.automated)),
    ])
}
