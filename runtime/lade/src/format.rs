//! `--format`: Go templates over docker's field names, `table` with headers before them, and `json`.

use serde_json::{Map, Value};

use crate::failure::{Failure, USAGE};
use crate::table;
use crate::template::{Shape, Template};

/// What a command prints when nobody says how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Default<'a> {
    /// Columns, as a template.
    pub(crate) table: &'a str,
    /// Only the ids (`-q`); counts when the format is a table that was not spelt out.
    pub(crate) quiet: bool,
}

/// How rows are printed.
#[derive(Debug)]
pub(crate) struct Format {
    template: Template,
    table: bool,
    /// What a template of this command looks like.
    example: String,
}

impl Format {
    /// Reads what `--format` says.
    pub(crate) fn parse(given: Option<&str>, default: Default<'_>) -> Result<Self, Failure> {
        let (text, table) = match given.unwrap_or_default() {
            "" | "table" if default.quiet => ("{{.ID}}", false),
            "" | "table" => (default.table, true),
            "json" => ("{{json .}}", false),
            text => match text.strip_prefix("table") {
                Some(columns) => (columns.trim(), true),
                None => (text.trim_matches(' '), false),
            },
        };
        let example = example(&default.table.split('\t').take(2).collect::<Vec<_>>());
        let template = parse(text, &example)?;
        Ok(Self {
            template,
            table,
            example,
        })
    }

    /// Renders rows; headers are the words above the columns, by the names of the fields.
    pub(crate) fn render(
        &self,
        headers: &[(&str, &str)],
        rows: impl IntoIterator<Item = Value>,
    ) -> Result<String, Failure> {
        let mut out = String::new();
        if self.table {
            let headers = headers.iter().map(|(name, header)| {
                let header = Value::from(*header);
                ((*name).to_owned(), header)
            });
            let header = self.template.header(&Value::Object(headers.collect()));
            out.push_str(&header.map_err(|error| refused(&error, &self.example))?);
            out.push('\n');
        }
        for row in rows {
            out.push_str(&render(&self.template, &row, &self.example)?);
            out.push('\n');
        }
        Ok(if self.table { table::align(&out) } else { out })
    }
}

/// Renders one object as `--format` says, and ends the line.
pub(crate) fn object(given: &str, value: &Value) -> Result<String, Failure> {
    let text = if given == "json" { "{{json .}}" } else { given };
    let example = example_of(value);
    let mut out = render(&parse(text, &example)?, value, &example)?;
    out.push('\n');
    Ok(out)
}

/// Renders one object as docker does that has a type for it: by the type's fields, and where one is not known, by the document's.
pub(crate) fn typed(given: &str, value: &Value, shape: &'static Shape) -> Result<String, Failure> {
    let example = example_of(value);
    let template = parse(given, &example)?;
    let rendered = template.render_as(value, shape);
    let mut out = rendered.or_else(|_| render(&template, value, &example))?;
    out.push('\n');
    Ok(out)
}

/// Makes a row of named fields, in the order of their names, as docker's `{{json .}}` has them.
pub(crate) fn row<const N: usize>(fields: [(&str, String); N]) -> Value {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    let fields = fields.into_iter();
    let fields = fields.map(|(name, text)| (name.to_owned(), Value::from(text)));
    Value::Object(fields.collect::<Map<_, _>>())
}

/// Reads a template, in which docker takes `\t` and `\n` for what they mean.
fn parse(text: &str, example: &str) -> Result<Template, Failure> {
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    Template::parse(&text).map_err(|error| refused(&error, example).code(USAGE))
}

fn render(template: &Template, value: &Value, example: &str) -> Result<String, Failure> {
    let rendered = template.render(value);
    rendered.map_err(|error| refused(&error, example))
}

/// Shows templates of some of the columns that a command has.
fn example(columns: &[&str]) -> String {
    let first = columns.first().unwrap_or(&"{{json .}}");
    format!("'{first}' or 'table {}'", columns.join("\\t"))
}

/// Shows a template of a field that an object has.
fn example_of(value: &Value) -> String {
    let first = value.as_object().and_then(|fields| fields.iter().next());
    match first {
        Some((name, Value::Object(_) | Value::Array(_))) => format!("'{{{{json .{name}}}}}'"),
        Some((name, _)) => format!("'{{{{.{name}}}}}'"),
        None => "'{{json .}}'".to_owned(),
    }
}

fn refused(why: &str, example: &str) -> Failure {
    let failure = Failure::new(format!("--format: {why}"));
    failure.hint(format!("a Go template, such as {example}, or json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &[(&str, &str)] = &[("ID", "IMAGE ID"), ("Size", "SIZE")];

    fn check(given: Option<&str>, quiet: bool, want: &str) {
        let default = Default {
            table: "{{.ID}}\t{{.Size}}",
            quiet,
        };
        let format = Format::parse(given, default).unwrap();
        let rows = [("a", "1B"), ("bb", "20B")]
            .map(|(id, size)| row([("Size", size.to_owned()), ("ID", id.to_owned())]));
        assert_eq!(format.render(HEADERS, rows).unwrap(), want, "{given:?}");
    }

    #[test]
    fn formats_are_docker_s() {
        let table = "IMAGE ID   SIZE\na          1B\nbb         20B\n";
        check(None, false, table);
        check(Some(""), false, table);
        check(Some("table"), false, table);
        check(None, true, "a\nbb\n");
        check(Some("table"), true, "a\nbb\n");
        check(Some("{{.Size}}"), true, "1B\n20B\n");
        check(Some(r"{{.Size}}\t{{.ID}}"), false, "1B\ta\n20B\tbb\n");
        check(
            Some(r"table {{.Size}}\t{{.ID}}"),
            false,
            "SIZE      IMAGE ID\n1B        a\n20B       bb\n",
        );
        let json = "{\"ID\":\"a\",\"Size\":\"1B\"}\n{\"ID\":\"bb\",\"Size\":\"20B\"}\n";
        check(Some("json"), false, json);
        check(Some("{{json .}}"), false, json);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        let default = Default {
            table: "",
            quiet: false,
        };
        let failure = Format::parse(Some("{{.ID"), default).unwrap_err();
        assert!(failure.problems[0].message.starts_with("--format: "));
        assert_eq!(failure.code, USAGE);
        let default = Default {
            table: "{{.Type}}\t{{.Size}}\t{{.Bytes}}",
            quiet: false,
        };
        let failure = Format::parse(Some("{{.Typ"), default).unwrap_err();
        let hint = r"a Go template, such as '{{.Type}}' or 'table {{.Type}}\t{{.Size}}', or json";
        assert_eq!(failure.problems[0].hint.as_deref(), Some(hint));
        let value = serde_json::json!({"Client": {"Os": "linux"}, "Version": "1"});
        let failure = object("{{.Foo}}", &value).unwrap_err();
        let hint = "a Go template, such as '{{json .Client}}', or json";
        assert_eq!(failure.problems[0].hint.as_deref(), Some(hint));
    }
}
