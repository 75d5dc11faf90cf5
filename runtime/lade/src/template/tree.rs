//! A template after parsing.

use serde_json::Value;

/// A piece of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    /// Prints its value, unless it declares or sets a variable.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
}

/// `if`, `with`, `range`: what decides, what is done and what is done instead.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// `$x := .A | f 1 | g`
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) variables: Option<Variables>,
    pub(super) commands: Vec<Command>,
    pub(super) at: usize,
}

/// What a pipeline's value is kept in.
#[derive(Debug)]
pub(super) struct Variables {
    pub(super) how: Keep,
    /// With their `$`; two only in a range.
    pub(super) names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// `:=`
    Declare,
    /// `=`
    Set,
}

/// One stage of a pipeline: a value, or a function and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    /// Never empty.
    pub(super) operands: Vec<Operand>,
}

/// A term and the fields after it: `.A.B` is a dot with two.
#[derive(Debug)]
pub(super) struct Operand {
    pub(super) term: Term,
    pub(super) fields: Vec<Field>,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) enum Term {
    Dot,
    Nil,
    Literal(Value),
    /// With its `$`.
    Variable(String),
    Function(String),
    Nested(Pipeline),
}
