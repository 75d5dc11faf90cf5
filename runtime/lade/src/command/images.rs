//! `lade images`, `lade image ls`.

use engine::{Filters, List, Row, Rows};
use serde_json::Value;

use crate::failure::{Failure, print};
use crate::format::{Default, Format, row};
use crate::session::Session;
use crate::sizes;

/// List images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this repository, or this name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
    /// Show all images: also those without a name that others are made of
    #[arg(long, short = 'a')]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only images of which this is true: dangling, label, before, since, until or reference, with =VALUE
    #[arg(long, short = 'f', value_name = "FILTER")]
    filter: Vec<String>,
    /// Print by a Go template: '{{.Repository}}', 'table {{.ID}}\t{{.Size}}', or json
    #[arg(long)]
    format: Option<String>,
    /// Print whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Print only ids
    #[arg(long, short = 'q')]
    quiet: bool,
}

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";

pub(super) const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

pub(crate) fn run(args: Args, session: &Session) -> Result<(), Failure> {
    let given = match args.format.as_deref() {
        Some("raw") if args.quiet => Some("image_id: {{.ID}}".to_owned()),
        Some("raw") => Some(RAW.to_owned()),
        // A table that was asked for with digests has them, somewhere.
        Some(text) if args.digests && text.starts_with("table ") && !text.contains(".Digest") => {
            Some(format!("{text}\\t{{{{.Digest}}}}"))
        }
        other => other.map(str::to_owned),
    };
    let default = Default {
        table: if args.digests { WITH_DIGESTS } else { TABLE },
        quiet: args.quiet,
    };
    let format = Format::parse(given.as_deref(), default)?;
    let wants = |field: &str| given.as_deref().is_some_and(|text| text.contains(field));
    // Sizes by layer have to be added up: only for whoever looks at them.
    let shared_size = wants("SharedSize") || wants("UniqueSize");
    let options = List {
        all: args.all,
        filters: Filters::parse(&args.filter)?,
        reference: args.repository,
        shared_size,
    };
    let summaries = session.engine()?.images(&options)?;
    let digests = args.digests || wants(".Digest");
    let rows = engine::rows(&summaries, &Rows { digests });
    let now = engine::time::now();
    let look = Look {
        whole_ids: args.no_trunc,
        now,
    };
    let rows = rows.iter().map(|row| fields(row, &look));
    print(&format.render(HEADERS, rows)?)
}

/// How fields are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) whole_ids: bool,
    pub(super) now: i64,
}

/// Returns docker's fields of an image.
pub(super) fn fields(image: &Row, look: &Look) -> Value {
    let id = if look.whole_ids {
        image.id.to_string()
    } else {
        image.id.short()
    };
    let unknown = || "N/A".to_owned();
    let since = match image.created {
        0 => unknown(),
        created => sizes::ago(created, look.now),
    };
    let shared = image.shared_size;
    let unique = shared.map(|shared| image.size.saturating_sub(shared));
    row([
        ("ID", id),
        ("Repository", image.repository.clone()),
        ("Tag", image.tag.clone()),
        ("Digest", image.digest.clone()),
        ("CreatedSince", since),
        ("CreatedAt", sizes::moment(image.created)),
        ("Size", sizes::short(image.size)),
        ("Containers", image.containers.to_string()),
        ("VirtualSize", sizes::human(image.size)),
        ("SharedSize", shared.map_or_else(unknown, sizes::human)),
        ("UniqueSize", unique.map_or_else(unknown, sizes::human)),
    ])
}
