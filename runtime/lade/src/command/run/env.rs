//! The variables that a container gets: of files, and then of the line.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// Reads files and options. `here` is what a variable is in lade's own environment.
///
/// A name without a value takes the value that it has here; where it has none, the name alone is left, which takes the variable away.
pub(super) fn all(
    files: &[PathBuf],
    options: &[String],
    here: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for path in files {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|error| {
            Failure::new(format!("--env-file: read {}: {error}", path.display()))
        })?;
        lines(path, &text, here, &mut all)?;
    }
    for option in options {
        if option.is_empty() || option.starts_with('=') {
            return Err(Failure::new(format!(
                "invalid environment variable: {option}"
            )));
        }
        all.push(filled(option, here));
    }
    Ok(all)
}

fn filled(variable: &str, here: &dyn Fn(&str) -> Option<String>) -> String {
    if variable.contains('=') {
        return variable.to_owned();
    }
    match here(variable) {
        Some(value) => format!("{variable}={value}"),
        None => variable.to_owned(),
    }
}

/// Takes the lines of a file, without comments; what is behind the first `=` stays as it is, quotes and all.
fn lines(
    path: &Path,
    text: &str,
    here: &dyn Fn(&str) -> Option<String>,
    all: &mut Vec<String>,
) -> Result<(), Failure> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or(line);
        let wrong = if name.is_empty() {
            Some("has no name".to_owned())
        } else if name.contains(char::is_whitespace) {
            Some(format!("variable '{name}' contains whitespaces"))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let path = path.display();
            return Err(Failure::new(format!(
                "--env-file: {path}, line {}: {wrong}",
                at + 1
            )));
        }
        // What is named only, and is nothing here, is nothing there.
        let variable = filled(line, here);
        if variable.contains('=') {
            all.push(variable);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, options: &[&str], want: Result<&[&str], &str>) {
        let here = |name: &str| (name == "HERE").then(|| "x y".to_owned());
        let mut got = Vec::new();
        let options: Vec<_> = options.iter().map(ToString::to_string).collect();
        let read = lines(Path::new("f"), file, &here, &mut got);
        let read = read.and_then(|()| all(&[], &options, &here));
        let got = read.map(|more| got.into_iter().chain(more).collect::<Vec<_>>());
        match want {
            Ok(want) => assert_eq!(got.unwrap(), want),
            Err(message) => assert_eq!(got.unwrap_err().problems[0].message, message),
        }
    }

    #[test]
    fn variables_are_docker_s() {
        check(
            "",
            &["A=1", "B=", "HERE", "GONE"],
            Ok(&["A=1", "B=", "HERE=x y", "GONE"]),
        );
        check(
            "\u{feff}# no\n\n  A= 'b' #c\nHERE\nGONE\nB=c=d\r\n",
            &["A=2"],
            Ok(&["A= 'b' #c", "HERE=x y", "B=c=d", "A=2"]),
        );
        check(
            "A B=1\n",
            &[],
            Err("--env-file: f, line 1: variable 'A B' contains whitespaces"),
        );
        check("\n=1\n", &[], Err("--env-file: f, line 2: has no name"));
        check("", &["=1"], Err("invalid environment variable: =1"));
        check("", &[""], Err("invalid environment variable: "));
    }
}
