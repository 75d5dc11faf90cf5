//! `lade system df`.

use engine::{ContainerUsage, Rows, Usage};
use serde_json::Value;

use super::images;
use crate::failure::{Failure, print};
use crate::format::{Default, Format, row};
use crate::session::Session;
use crate::sizes;

/// Show what takes how much of the disk
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print by a Go template, such as '{{.Type}}: {{.Size}}', or json
    #[arg(long)]
    format: Option<String>,
    /// Show each image
    #[arg(long, short = 'v')]
    verbose: bool,
}

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const HEADERS: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Bytes", "BYTES"),
];
const IMAGES: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINERS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.CreatedSince}}\t{{.Status}}\t{{.Names}}";
const CONTAINER_HEADERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];

pub(crate) fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let default = Default {
        table: TABLE,
        quiet: false,
    };
    let format = Format::parse(args.format.as_deref(), default)?;
    let usage = session.engine()?.usage()?;
    let parts = parts(&usage);
    if args.verbose {
        if args.format.is_some() {
            let failure = Failure::new("--verbose and --format do not go together");
            return Err(failure.hint("lade images --format ... --no-trunc has each image"));
        }
        return print(&verbose(&usage, &parts)?);
    }
    print(&format.render(HEADERS, parts.iter().map(Part::fields))?)
}

/// A line of the table. Their sizes add up to what `du` says of the data root.
#[derive(Debug)]
struct Part {
    name: &'static str,
    count: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
}

impl Part {
    fn fields(&self) -> Value {
        let mut reclaimable = sizes::human(self.reclaimable);
        if let Some(percent) = self.reclaimable.saturating_mul(100).checked_div(self.bytes) {
            reclaimable.push_str(&format!(" ({percent}%)"));
        }
        row([
            ("Type", self.name.to_owned()),
            ("TotalCount", self.count.to_string()),
            ("Active", self.active.to_string()),
            ("Size", sizes::human(self.bytes)),
            ("Reclaimable", reclaimable),
            ("Bytes", self.bytes.to_string()),
        ])
    }
}

/// Docker's four lines, and then what else is in the data root.
fn parts(usage: &Usage) -> Vec<Part> {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let part = |name, count, bytes, reclaimable| Part {
        name,
        count,
        active: 0,
        bytes,
        reclaimable,
    };
    let images = Part {
        active: count(usage.active),
        ..part(
            "Images",
            usage.images.len(),
            usage.layers.saturating_add(usage.blobs),
            usage.reclaimable,
        )
    };
    let known = usage.layers.saturating_add(usage.blobs);
    let known = known.saturating_add(usage.containers);
    let known = known
        .saturating_add(usage.unfinished)
        .saturating_add(usage.trash);
    vec![
        images,
        Part {
            active: usage.made.iter().filter(|made| made.running).count(),
            ..part("Containers", usage.made.len(), usage.containers, 0)
        },
        part("Local Volumes", 0, 0, 0),
        part("Build Cache", 0, 0, 0),
        part(
            "Unfinished",
            0,
            usage.unfinished,
            usage.unfinished.saturating_sub(usage.busy),
        ),
        part("Trash", 0, usage.trash, usage.trash),
        // And the few directories that are always there.
        part("Database", 1, usage.total.saturating_sub(known), 0),
    ]
}

/// Docker's fields of a container. Ours have no names.
fn container(made: &ContainerUsage, now: i64) -> Value {
    // As long as docker's.
    const WIDTH: usize = 20;
    let mut command = made.command.join(" ");
    if command.chars().count() > WIDTH {
        command = command.chars().take(WIDTH - 1).collect();
        command.push('…');
    }
    let since = now.saturating_sub(made.created);
    let (created, up) = match made.created {
        0 => ("N/A".to_owned(), "Up".to_owned()),
        created => (
            sizes::ago(created, now),
            format!("Up {}", sizes::duration(since)),
        ),
    };
    row([
        ("ID", made.id.chars().take(12).collect()),
        ("Image", made.image.clone()),
        ("Command", format!("{command:?}")),
        ("LocalVolumes", "0".to_owned()),
        ("Size", sizes::short(made.size)),
        ("CreatedSince", created),
        ("Status", if made.running { up } else { "Dead".to_owned() }),
        ("Names", String::new()),
    ])
}

fn verbose(usage: &Usage, parts: &[Part]) -> Result<String, Failure> {
    let look = images::Look {
        whole_ids: false,
        now: engine::time::now(),
    };
    let rows = usage.images.iter().filter_map(|image| {
        let rows = engine::rows(std::slice::from_ref(&image.summary), &Rows::default());
        let mut fields = images::fields(rows.first()?, &look);
        fields["SharedSize"] = sizes::human(image.shared).into();
        fields["UniqueSize"] = sizes::human(image.unique).into();
        Some(fields)
    });
    let table = |text| {
        Format::parse(
            None,
            Default {
                table: text,
                quiet: false,
            },
        )
    };
    let mut out = String::from("Images space usage:\n\n");
    out.push_str(&table(IMAGES)?.render(images::HEADERS, rows)?);
    out.push_str("\nContainers space usage:\n\n");
    let rows = usage.made.iter().map(|made| container(made, look.now));
    out.push_str(&table(CONTAINERS)?.render(CONTAINER_HEADERS, rows)?);
    for (title, headers) in [
        ("Local Volumes space usage:", "VOLUME NAME\tLINKS\tSIZE"),
        (
            "Build cache usage: 0B",
            "CACHE ID\tCACHE TYPE\tSIZE\tCREATED\tLAST USED\tUSAGE\tSHARED",
        ),
    ] {
        out.push_str(&format!("\n{title}\n\n{}", crate::table::align(headers)));
    }
    out.push_str("\nOther space usage:\n\n");
    // What is kept of images besides their files is in no column above.
    let blobs = Part {
        name: "Compressed",
        count: 0,
        active: 0,
        bytes: usage.blobs,
        reclaimable: usage.free_blobs,
    };
    let others = parts
        .iter()
        .filter(|part| ["Unfinished", "Trash", "Database"].contains(&part.name));
    let others = [&blobs].into_iter().chain(others).map(Part::fields);
    out.push_str(&table("{{.Type}}\t{{.Size}}\t{{.Reclaimable}}")?.render(HEADERS, others)?);
    Ok(out)
}
