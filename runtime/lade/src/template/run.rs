//! Fills a template in.

use serde_json::Value;

use super::functions::{self, Mode};
use super::held::Held;
use super::shape::Shape;
use super::tree::{Branch, Command, Keep, Node, Operand, Pipeline, Term};
use super::{Fault, print};

/// Returns the text of `nodes` over `data`, which has docker's type where one is given.
pub(super) fn run(
    nodes: &[Node],
    data: &Value,
    shape: Option<&'static Shape>,
    mode: Mode,
) -> Result<String, Fault> {
    let data = Held::of(data, shape);
    let mut run = Run {
        variables: vec![("$", data.clone())],
        out: String::new(),
        mode,
    };
    run.list(nodes, &data)?;
    Ok(run.out)
}

struct Run<'v> {
    /// The innermost last.
    variables: Vec<(&'v str, Held<'v>)>,
    out: String,
    mode: Mode,
}

/// Whether a range goes on after a list of nodes.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

impl<'v> Run<'v> {
    /// Does a list; what it declares ends with it.
    fn list(&mut self, nodes: &'v [Node], dot: &Held<'v>) -> Result<Flow, Fault> {
        let outer = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn node(&mut self, node: &'v Node, dot: &Held<'v>) -> Result<Flow, Fault> {
        let outer = self.variables.len();
        let flow = match node {
            Node::Text(text) => {
                self.out.push_str(text);
                return Ok(Flow::On);
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_none() {
                    self.out.push_str(&value.shown());
                }
                return Ok(Flow::On);
            }
            Node::If(branch) => {
                let value = self.pipeline(&branch.pipeline, dot)?;
                let nodes = branch.chosen(&value);
                self.list(nodes, dot)?
            }
            Node::With(branch) => {
                let value = self.pipeline(&branch.pipeline, dot)?;
                let dot = if is_true(&value) { &value } else { dot };
                self.list(branch.chosen(&value), dot)?
            }
            Node::Range(branch) => self.range(branch, dot)?,
        };
        self.variables.truncate(outer);
        Ok(flow)
    }

    fn range(&mut self, branch: &'v Branch, dot: &Held<'v>) -> Result<Flow, Fault> {
        let pipeline = &branch.pipeline;
        let value = self.commands(pipeline, dot)?;
        let rounds = Rounds::new(value).map_err(|what| Fault::new(pipeline.at, what))?;
        for round in 0..rounds.count {
            let (key, element) = rounds.round(round);
            let outer = self.variables.len();
            if let Some(variables) = &pipeline.variables {
                let values = match variables.names.len() {
                    1 => vec![element.clone()],
                    _ => vec![key, element.clone()],
                };
                for (name, value) in variables.names.iter().zip(values) {
                    self.keep(variables.how, name, value);
                }
            }
            let flow = self.list(&branch.then, &element)?;
            self.variables.truncate(outer);
            if flow == Flow::Break {
                return Ok(Flow::On);
            }
        }
        if rounds.count > 0 {
            return Ok(Flow::On);
        }
        self.list(&branch.otherwise, dot)
    }

    fn keep(&mut self, how: Keep, name: &'v str, value: Held<'v>) {
        let known = self.variables.iter_mut().rev().find(|(n, _)| *n == name);
        match (how, known) {
            (Keep::Set, Some((_, old))) => *old = value,
            _ => self.variables.push((name, value)),
        }
    }

    /// Returns a pipeline's value, and keeps it in the variable that it names.
    fn pipeline(&mut self, pipeline: &'v Pipeline, dot: &Held<'v>) -> Result<Held<'v>, Fault> {
        let value = self.commands(pipeline, dot)?;
        if let Some(variables) = &pipeline.variables
            && let [name] = &variables.names[..]
        {
            self.keep(variables.how, name, value.clone());
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &'v Pipeline, dot: &Held<'v>) -> Result<Held<'v>, Fault> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Held::made(Value::Null)))
    }

    fn command(
        &mut self,
        command: &'v Command,
        dot: &Held<'v>,
        piped: Option<Held<'v>>,
    ) -> Result<Held<'v>, Fault> {
        let (first, rest) = match &command.operands[..] {
            [first, rest @ ..] => (first, rest),
            [] => return Ok(Held::made(Value::Null)),
        };
        match &first.term {
            Term::Function(name) => self.call(name, first.at, rest, dot, piped),
            Term::Nil => Err(Fault::new(first.at, "nil alone is no command")),
            _ if rest.is_empty() && piped.is_none() => self.operand(first, dot),
            _ => Err(Fault::new(
                first.at,
                "this is no function, so it takes no arguments",
            )),
        }
    }

    fn call(
        &mut self,
        name: &'v str,
        at: usize,
        operands: &'v [Operand],
        dot: &Held<'v>,
        piped: Option<Held<'v>>,
    ) -> Result<Held<'v>, Fault> {
        let mut arguments = Vec::new();
        let count = operands.len() + usize::from(piped.is_some());
        for operand in operands {
            let value = self.operand(operand, dot)?;
            // These two look at no more than they need.
            let decided = match name {
                "and" => !is_true(&value),
                "or" => is_true(&value),
                _ => false,
            };
            if decided || matches!(name, "and" | "or") && arguments.len() + 1 == count {
                return Ok(value);
            }
            arguments.push(value);
        }
        arguments.extend(piped);
        match (name, arguments.pop()) {
            ("and" | "or", Some(last)) => Ok(last),
            (_, last) => {
                arguments.extend(last);
                functions::call(name, &arguments, self.mode).map_err(|what| Fault::new(at, what))
            }
        }
    }

    fn operand(&mut self, operand: &'v Operand, dot: &Held<'v>) -> Result<Held<'v>, Fault> {
        let mut value = match &operand.term {
            Term::Dot => dot.clone(),
            Term::Nil => Held::made(Value::Null),
            Term::Literal(value) => Held::of(value, None),
            Term::Variable(name) => self.variable(name),
            Term::Function(name) => self.call(name, operand.at, &[], dot, None)?,
            Term::Nested(pipeline) => self.pipeline(pipeline, dot)?,
        };
        for field in &operand.fields {
            let found = value.field(&field.name);
            value = found.map_err(|what| Fault::new(field.at, what))?;
        }
        Ok(value)
    }

    fn variable(&self, name: &str) -> Held<'v> {
        let known = self.variables.iter().rev().find(|(n, _)| *n == name);
        // The parser lets none pass that is not declared.
        known.map_or(Held::made(Value::Null), |(_, value)| value.clone())
    }
}

impl Branch {
    fn chosen(&self, value: &Value) -> &[Node] {
        if is_true(value) {
            &self.then
        } else {
            &self.otherwise
        }
    }
}

/// What a range goes through, one after the other.
struct Rounds<'v> {
    value: Held<'v>,
    /// Of an object: sorted, as Go does it.
    keys: Vec<String>,
    count: usize,
}

impl<'v> Rounds<'v> {
    fn new(value: Held<'v>) -> Result<Self, String> {
        let mut keys = Vec::new();
        let count = match &*value {
            Value::Null => 0,
            Value::Array(list) => list.len(),
            Value::Object(map) => {
                keys = map.keys().cloned().collect();
                keys.sort_unstable();
                keys.len()
            }
            Value::Number(number) if number.is_i64() => {
                // A negative number is no rounds at all.
                let count = number.as_u64().unwrap_or_default();
                usize::try_from(count).unwrap_or(usize::MAX)
            }
            other => return Err(format!("range cannot go through {}", print::kind(other))),
        };
        Ok(Self { value, keys, count })
    }

    /// Returns key and element; `round` is less than the count.
    fn round(&self, round: usize) -> (Held<'v>, Held<'v>) {
        let key = match &*self.value {
            Value::Object(_) => Value::from(self.keys.get(round).map_or("", String::as_str)),
            _ => Value::from(round),
        };
        let element = self.value.at(&key);
        let key = Held::made(key);
        (key.clone(), element.unwrap_or(key))
    }
}

/// Tells what `if` takes for true: what is not zero and not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}
