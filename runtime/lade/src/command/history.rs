//! `lade history`.

use engine::HistoryRow;
use serde_json::Value;

use crate::failure::{Failure, print};
use crate::format::{Default, Format, row};
use crate::session::Session;
use crate::{sizes, table};

/// Show how an image was made, newest step first
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or id
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Print by a Go template, or json
    #[arg(long)]
    format: Option<String>,
    /// Print sizes and dates for people
    #[arg(long, short = 'H', num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_name = "BOOL", action = clap::ArgAction::Set, hide_possible_values = true)]
    human: bool,
    /// Print whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Print only ids
    #[arg(long, short = 'q')]
    quiet: bool,
}

const HUMAN: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let default = Default {
        table: if args.human { HUMAN } else { EXACT },
        quiet: args.quiet,
    };
    let format = Format::parse(args.format.as_deref(), default)?;
    let history = session.engine()?.history(&args.image)?;
    let now = engine::time::now();
    let rows = history.iter().map(|step| fields(step, args, now));
    print(&format.render(HEADERS, rows)?)
}

fn fields(step: &HistoryRow, args: &Args, now: i64) -> Value {
    let id = match step.id.split_once(':') {
        Some((_, hex)) if !args.no_trunc => hex.chars().take(12).collect(),
        _ => step.id.clone(),
    };
    let at = engine::time::rfc3339(step.created);
    let by = step.created_by.replace('\t', " ");
    row([
        ("ID", id),
        (
            "CreatedSince",
            match step.created {
                0 => "N/A".to_owned(),
                created if args.human => sizes::ago(created, now),
                _ => at.clone(),
            },
        ),
        ("CreatedAt", at),
        (
            "CreatedBy",
            if args.no_trunc {
                by
            } else {
                table::cut(&by, 45)
            },
        ),
        (
            "Size",
            if args.human {
                sizes::short(step.size)
            } else {
                step.size.to_string()
            },
        ),
        ("Comment", step.comment.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_docker_s() {
        let step = HistoryRow {
            id: format!("sha256:{}", "0123456789ab".repeat(6)),
            created: 1_700_000_000,
            created_by: format!("/bin/sh -c\t{}", "x".repeat(60)),
            size: 1_234_567,
            comment: String::new(),
            tags: Vec::new(),
        };
        let mut args = Args {
            image: "x".into(),
            format: None,
            human: true,
            no_trunc: false,
            quiet: false,
        };
        let short = fields(&step, &args, 1_700_000_000 + 3600);
        assert_eq!(short["ID"], "0123456789ab");
        assert_eq!(short["CreatedSince"], "About an hour ago");
        assert_eq!(
            short["CreatedBy"],
            format!("/bin/sh -c {}…", "x".repeat(33))
        );
        assert_eq!(short["Size"], "1.23MB");
        (args.human, args.no_trunc) = (false, true);
        let whole = fields(&step, &args, 0);
        assert_eq!(whole["ID"], step.id);
        assert_eq!(whole["CreatedSince"], "2023-11-14T22:13:20Z");
        assert_eq!(whole["CreatedBy"], format!("/bin/sh -c {}", "x".repeat(60)));
        assert_eq!(whole["Size"], "1234567");
    }
}
