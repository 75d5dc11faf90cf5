//! Go's text/template over JSON, as far as docker's `--format` goes with it: fields, variables, pipelines, `if`, `with`, `range`, the functions
//! of Go and those that docker adds.
//!
//! ```text
//! text -> tokens (lex) -> tree (parse) -> text (run, with functions and print)
//! ```
//!
//! Not here are `define`, `template` and `block`, and methods. A field that is not there is an error, so that a mistyped name is noticed; one
//! that docker's type has ([`Shape`]) is there also where the document leaves it out.

mod escape;
mod functions;
mod held;
mod lex;
mod parse;
mod print;
mod printf;
mod run;
mod shape;
mod tree;

use serde_json::Value;

use functions::Mode;
pub use shape::Shape;

/// A template that was read and can be filled in as often as wanted.
#[derive(Debug)]
pub struct Template {
    /// What it was read from: for the columns of messages.
    text: String,
    nodes: Vec<tree::Node>,
}

impl Template {
    /// Reads a template. The error is one line and names the column.
    pub fn parse(text: &str) -> Result<Self, String> {
        let nodes = parse::parse(text).map_err(|fault| fault.at_column(text))?;
        Ok(Self {
            text: text.to_owned(),
            nodes,
        })
    }

    /// Returns the text with the fields of `data` filled in. The error is one line and names the column.
    pub fn render(&self, data: &Value) -> Result<String, String> {
        self.fill(data, None, Mode::Values)
    }

    /// The same of data whose type in docker's code is known.
    pub fn render_as(&self, data: &Value, shape: &'static Shape) -> Result<String, String> {
        self.fill(data, Some(shape), Mode::Values)
    }

    /// Returns the line above a table: the text with the headers from `names` (an object of strings) filled in for the fields. Functions that
    /// change how a value looks let a header pass as it is.
    pub fn header(&self, names: &Value) -> Result<String, String> {
        self.fill(names, None, Mode::Headers)
    }

    fn fill(
        &self,
        data: &Value,
        shape: Option<&'static Shape>,
        mode: Mode,
    ) -> Result<String, String> {
        run::run(&self.nodes, data, shape, mode).map_err(|fault| fault.at_column(&self.text))
    }
}

/// What is wrong with a template or its data, and where in the template.
#[derive(Debug)]
struct Fault {
    /// Offset in bytes.
    at: usize,
    what: String,
}

impl Fault {
    fn new(at: usize, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { at, what }
    }

    fn at_column(&self, text: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let what = &self.what;
        if line == 1 {
            format!("column {column}: {what}")
        } else {
            format!("line {line}, column {column}: {what}")
        }
    }
}

#[cfg(test)]
mod tests;
