//! Command lines, one word on each line of the input.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use orlop::Invocation;
use orlop::argv::{Options, normalize};
use orlop::command;

use crate::is_message;

pub(crate) fn run(bytes: &[u8]) {
    let words = bytes.split(|byte| *byte == b'\n');
    let line: Vec<OsString> = [OsString::from("orlop")]
        .into_iter()
        .chain(words.map(|word| OsString::from_vec(word.to_vec())))
        .collect();
    let invocation = match Invocation::parse("orlop", &line) {
        Ok(Ok(invocation)) => invocation,
        Ok(Err(text)) => return is_message(&text),
        Err(message) => return is_message(&message),
    };
    // What stands behind the command is somebody else's to read.
    assert!(line.ends_with(&invocation.line));
    let Ok((known, options)) = command::options(&invocation) else {
        return;
    };
    let normal = match normalize(&known, &invocation.line, options) {
        Ok(normal) => normal,
        Err(message) => return is_message(&message),
    };
    kept(&invocation.line, &normal, options);
    assert_eq!(
        normalize(&known, &normal, options).as_ref(),
        Ok(&normal),
        "normal is normal"
    );
    let read = match command::read(&invocation) {
        Ok(Ok(read)) => read,
        Ok(Err(text)) => return is_message(&text),
        Err(failure) => return is_message(&failure.message),
    };
    match invocation.command.as_str() {
        "update" => drop(command::update::change(&read)),
        "exec" => drop(command::exec::changes(&read).map(|changes| {
            assert!(!changes.args.is_empty());
            for id in changes
                .user
                .iter()
                .flat_map(|(uid, gid)| [Some(*uid), *gid])
                .flatten()
            {
                assert_ne!(id, u32::MAX);
            }
        })),
        _ => {}
    }
}

/// Nothing of a line is made up or changed: every word, and every value of an option, is one of the words or the end of one.
fn kept(line: &[OsString], normal: &[OsString], options: Options) {
    for word in normal {
        let whole = line.contains(word) || word == "--";
        let value = word.as_bytes().iter().position(|byte| *byte == b'=');
        let value = value.map(|at| &word.as_bytes()[at + 1..]);
        let ends = |word: &OsString| value.is_some_and(|value| word.as_bytes().ends_with(value));
        let switch = word.as_bytes().starts_with(b"-") && value.is_none();
        assert!(
            whole || switch || line.iter().any(ends),
            "{word:?} comes from nowhere"
        );
    }
    let end = |words: &[OsString]| words.iter().position(|word| word == OsStr::new("--"));
    if let (Options::BeforeOperands, Some(at)) = (options, end(normal)) {
        let tail = &normal[at + 1..];
        assert!(line.ends_with(tail), "{tail:?} is not the end of the line");
    }
}
