//! Makes a tree of a template's pieces.

use serde_json::Value;

use super::lex::{self, Kind, Piece, Token};
use super::tree::{Branch, Command, Field, Keep, Node, Operand, Pipeline, Term, Variables};
use super::{Fault, functions};

/// How deep branches and parentheses may be in one another: nobody writes that, and the stack is not endless.
const DEEPEST: usize = 100;

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser {
        pieces: lex::pieces(text)?.into_iter(),
        variables: vec!["$".to_owned()],
        depth: 0,
        ranges: 0,
        end: text.len(),
    };
    let (nodes, stop) = parser.list()?;
    match stop {
        Stop::Text => Ok(nodes),
        Stop::End(at) => Err(Fault::new(at, "\"end\" closes nothing")),
        Stop::Else(action) => Err(Fault::new(
            action.at,
            "\"else\" belongs to no if, with or range",
        )),
    }
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
    /// Those that are declared here, the innermost last.
    variables: Vec<String>,
    depth: usize,
    /// How many ranges are around.
    ranges: usize,
    /// Where the text ends.
    end: usize,
}

/// Why a list of nodes ended.
enum Stop {
    Text,
    End(usize),
    /// What follows the word is still to be read.
    Else(Action),
}

/// The tokens of one action that are still to be read.
struct Action {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    at: usize,
}

impl Action {
    fn peek(&mut self) -> Option<&Kind> {
        self.tokens.peek().map(|token| &token.kind)
    }

    /// Takes the next token if it is this word.
    fn word(&mut self, word: &str) -> bool {
        let is = |token: &Token| matches!(&token.kind, Kind::Word(found) if found == word);
        self.tokens.next_if(is).is_some()
    }

    fn done(&mut self) -> Result<(), Fault> {
        match self.tokens.next() {
            Some(token) => Err(unexpected(&token)),
            None => Ok(()),
        }
    }
}

fn unexpected(token: &Token) -> Fault {
    let what = match &token.kind {
        Kind::Dot => ".".to_owned(),
        Kind::Field(name) => format!(".{name}"),
        Kind::Variable(name) | Kind::Word(name) => name.clone(),
        Kind::Literal(value) => value.to_string(),
        Kind::Pipe => "|".to_owned(),
        Kind::Comma => ",".to_owned(),
        Kind::Declare => ":=".to_owned(),
        Kind::Set => "=".to_owned(),
        Kind::Open => "(".to_owned(),
        Kind::Close => ")".to_owned(),
    };
    Fault::new(token.at, format!("`{what}` is not expected here"))
}

impl Parser {
    /// Reads nodes up to the end of their branch or of the text.
    fn list(&mut self) -> Result<(Vec<Node>, Stop), Fault> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (tokens, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action { tokens, at } => (tokens.into_iter().peekable(), at),
            };
            let mut action = Action { tokens, at };
            if action.word("end") {
                action.done()?;
                return Ok((nodes, Stop::End(at)));
            }
            if action.word("else") {
                return Ok((nodes, Stop::Else(action)));
            }
            nodes.push(self.node(action)?);
        }
        Ok((nodes, Stop::Text))
    }

    fn node(&mut self, mut action: Action) -> Result<Node, Fault> {
        for (word, node) in [("break", Node::Break), ("continue", Node::Continue)] {
            if action.word(word) {
                if self.ranges == 0 {
                    return Err(Fault::new(action.at, format!("\"{word}\" is in no range")));
                }
                action.done()?;
                return Ok(node);
            }
        }
        for word in ["define", "template", "block"] {
            if action.word(word) {
                let what = format!("\"{word}\" is not known here, where one template is all");
                return Err(Fault::new(action.at, what));
            }
        }
        if action.word("if") {
            self.branch(action, "if").map(Node::If)
        } else if action.word("with") {
            self.branch(action, "with").map(Node::With)
        } else if action.word("range") {
            self.branch(action, "range").map(Node::Range)
        } else {
            let pipeline = self.pipeline(&mut action, 1)?;
            action.done()?;
            Ok(Node::Action(pipeline))
        }
    }

    /// Reads a branch from behind its word to its end. What is declared in it ends with it.
    fn branch(&mut self, mut action: Action, word: &str) -> Result<Branch, Fault> {
        let (at, outer, is_range) = (action.at, self.variables.len(), word == "range");
        self.deeper(at)?;
        let pipeline = self.pipeline(&mut action, if is_range { 2 } else { 1 })?;
        action.done()?;
        let own = self.variables.len();
        self.ranges += usize::from(is_range);
        let (then, stop) = self.list()?;
        self.ranges -= usize::from(is_range);
        self.variables.truncate(own);
        let otherwise = match stop {
            Stop::End(_) => Vec::new(),
            Stop::Else(action) => self.otherwise(action, word)?,
            Stop::Text => return Err(Fault::new(at, format!("\"{word}\" has no \"end\""))),
        };
        self.variables.truncate(outer);
        self.depth -= 1;
        Ok(Branch {
            pipeline,
            then,
            otherwise,
        })
    }

    /// Reads what follows `else`: a list, or for `else if` and `else with` a branch that shares our end.
    fn otherwise(&mut self, mut action: Action, word: &str) -> Result<Vec<Node>, Fault> {
        if word == "if" && action.word("if") {
            return Ok(vec![Node::If(self.branch(action, "if")?)]);
        }
        if word == "with" && action.word("with") {
            return Ok(vec![Node::With(self.branch(action, "with")?)]);
        }
        let at = action.at;
        action.done()?;
        match self.list()? {
            (nodes, Stop::End(_)) => Ok(nodes),
            (_, Stop::Else(action)) => Err(Fault::new(action.at, "this is a second \"else\"")),
            (_, Stop::Text) => Err(Fault::new(at, "\"else\" has no \"end\"")),
        }
    }

    fn deeper(&mut self, at: usize) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            let what = format!("more than {DEEPEST} levels are not read");
            return Err(Fault::new(at, what));
        }
        Ok(())
    }

    /// Reads a pipeline up to what cannot belong to it. At most `most` variables may stand at its start.
    fn pipeline(&mut self, action: &mut Action, most: usize) -> Result<Pipeline, Fault> {
        let at = action.tokens.peek().map_or(self.end, |token| token.at);
        let variables = self.variables(action, most)?;
        let mut commands = Vec::new();
        loop {
            let at = action.tokens.peek().map_or(action.at, |token| token.at);
            let operands = self.operands(action)?;
            match operands.first() {
                None => return Err(Fault::new(at, "a value is missing")),
                Some(first) if !commands.is_empty() && !may_take(first) => {
                    return Err(Fault::new(
                        first.at,
                        "only a function can stand after \"|\"",
                    ));
                }
                Some(_) => {}
            }
            commands.push(Command { operands });
            if action.tokens.next_if(|t| t.kind == Kind::Pipe).is_none() {
                break;
            }
        }
        if let Some(variables) = &variables
            && variables.how == Keep::Declare
        {
            self.variables.extend_from_slice(&variables.names);
        }
        Ok(Pipeline {
            variables,
            commands,
            at,
        })
    }

    /// Reads `$x :=`, `$x =` or, for a range, `$i, $x :=`; nothing if the variable is a value.
    fn variables(&self, action: &mut Action, most: usize) -> Result<Option<Variables>, Fault> {
        let ahead: Vec<Token> = action.tokens.clone().take(4).collect();
        let kinds: Vec<&Kind> = ahead.iter().map(|token| &token.kind).collect();
        let (names, sign) = match kinds[..] {
            [Kind::Variable(one), sign @ (Kind::Declare | Kind::Set), ..] => (vec![one], sign),
            [
                Kind::Variable(one),
                Kind::Comma,
                Kind::Variable(two),
                sign @ (Kind::Declare | Kind::Set),
            ] => (vec![one, two], sign),
            _ => return Ok(None),
        };
        if names.len() > most {
            return Err(Fault::new(ahead[0].at, "only a range sets two variables"));
        }
        let how = if *sign == Kind::Set {
            Keep::Set
        } else {
            Keep::Declare
        };
        let unknown = names.iter().find(|name| !self.variables.contains(name));
        if let (Keep::Set, Some(name)) = (how, unknown) {
            return Err(Fault::new(ahead[0].at, format!("{name} is not declared")));
        }
        let names: Vec<String> = names.into_iter().cloned().collect();
        // Names and commas, then the sign.
        action.tokens.by_ref().take(names.len() * 2).for_each(drop);
        Ok(Some(Variables { how, names }))
    }

    fn operands(&mut self, action: &mut Action) -> Result<Vec<Operand>, Fault> {
        let mut operands: Vec<Operand> = Vec::new();
        while let Some(token) = action.tokens.peek() {
            if matches!(token.kind, Kind::Pipe | Kind::Close) {
                break;
            }
            if !operands.is_empty() && !token.spaced {
                return Err(unexpected(token));
            }
            operands.push(self.operand(action)?);
        }
        Ok(operands)
    }

    fn operand(&mut self, action: &mut Action) -> Result<Operand, Fault> {
        let Some(token) = action.tokens.next() else {
            return Err(Fault::new(action.at, "a value is missing"));
        };
        let (at, mut fields) = (token.at, Vec::new());
        let term = match token.kind {
            Kind::Dot => Term::Dot,
            Kind::Field(name) => {
                fields.push(Field { name, at });
                Term::Dot
            }
            Kind::Literal(value) => Term::Literal(value),
            Kind::Variable(name) if self.variables.contains(&name) => Term::Variable(name),
            Kind::Variable(name) => {
                return Err(Fault::new(at, format!("{name} is not declared")));
            }
            Kind::Word(word) => match word.as_str() {
                "true" => Term::Literal(Value::Bool(true)),
                "false" => Term::Literal(Value::Bool(false)),
                "nil" => Term::Nil,
                _ if functions::is_known(&word) => Term::Function(word),
                _ => {
                    let known = functions::names();
                    let what = format!("there is no function {word:?}; there are {known}");
                    return Err(Fault::new(at, what));
                }
            },
            Kind::Open => {
                self.deeper(at)?;
                let pipeline = self.pipeline(action, 1)?;
                self.depth -= 1;
                if action.tokens.next_if(|t| t.kind == Kind::Close).is_none() {
                    return Err(Fault::new(at, "\"(\" has no \")\""));
                }
                Term::Nested(pipeline)
            }
            _ => return Err(unexpected(&token)),
        };
        while let Some(Kind::Field(_)) = action.peek() {
            let Some(token) = action.tokens.next_if(|token| !token.spaced) else {
                break;
            };
            let bare = matches!(term, Term::Dot) && fields.is_empty();
            if bare || matches!(term, Term::Literal(_) | Term::Function(_) | Term::Nil) {
                return Err(unexpected(&token));
            }
            if let Kind::Field(name) = token.kind {
                let at = token.at;
                fields.push(Field { name, at });
            }
        }
        Ok(Operand { term, fields, at })
    }
}

/// Tells whether something may be piped into this; what is no function is found out when it runs, as by Go.
fn may_take(operand: &Operand) -> bool {
    !matches!(operand.term, Term::Literal(_) | Term::Nil | Term::Dot if operand.fields.is_empty())
}
