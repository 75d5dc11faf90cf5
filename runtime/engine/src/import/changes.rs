//! Instructions of a Dockerfile that change nothing but an image's config.

use std::collections::BTreeMap;

use image::{Healthcheck, Process};

use crate::{Error, Result};

/// What may be changed so.
const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME, WORKDIR";

/// Applies instructions, one after the other, to an empty config.
pub(super) fn apply(changes: &[String]) -> Result<Process> {
    let mut process = Process::default();
    for change in changes {
        let text = change.trim();
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        one(&mut process, &name.to_ascii_uppercase(), rest.trim())
            .map_err(|why| Error::invalid(format!("change {text:?}: {why}")))?;
    }
    Ok(process)
}

fn one(process: &mut Process, name: &str, rest: &str) -> std::result::Result<(), String> {
    if rest.is_empty() {
        return Err(format!("{name} needs an argument"));
    }
    match name {
        "CMD" => process.cmd = command(rest, &process.shell)?,
        "ENTRYPOINT" => process.entrypoint = command(rest, &process.shell)?,
        "ENV" => env(process, rest)?,
        "EXPOSE" => {
            for port in words(rest)? {
                process.exposed_ports.insert(port_of(&port)?);
            }
        }
        "HEALTHCHECK" => process.healthcheck = Some(healthcheck(rest, &process.shell)?),
        "LABEL" => process.labels.extend(pairs(rest)?),
        "ONBUILD" => process.on_build.push(rest.to_string()),
        "SHELL" => process.shell = array(rest).ok_or("SHELL needs a JSON array of strings")?,
        "STOPSIGNAL" => process.stop_signal = Some(rest.to_string()),
        "USER" => process.user = rest.to_string(),
        "VOLUME" => {
            let volumes = array(rest).map_or_else(|| words(rest), Ok)?;
            if volumes.iter().any(|volume| volume.trim().is_empty()) {
                return Err("VOLUME specified can not be an empty string".to_string());
            }
            process.volumes.extend(volumes);
        }
        "WORKDIR" => process.working_dir = workdir(&process.working_dir, &unquoted(rest)?),
        _ => {
            return Err(format!(
                "{name} is not a valid change command; there are {KNOWN}"
            ));
        }
    }
    Ok(())
}

/// A JSON array of strings, if it is one.
fn array(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// A command: the words of a JSON array, or a line for the shell.
fn command(text: &str, shell: &[String]) -> std::result::Result<Vec<String>, String> {
    if let Some(words) = array(text) {
        return Ok(words);
    }
    let mut words = shell.to_vec();
    if words.is_empty() {
        words = vec!["/bin/sh".to_string(), "-c".to_string()];
    }
    words.push(text.to_string());
    Ok(words)
}

fn env(process: &mut Process, text: &str) -> std::result::Result<(), String> {
    for (name, value) in pairs(text)? {
        let same = |other: &String| other.split('=').next() == Some(name.as_str());
        let line = format!("{name}={value}");
        match process.env.iter().position(same) {
            Some(at) => process.env[at] = line,
            None => process.env.push(line),
        }
    }
    Ok(())
}

/// `a=1 b="two words"`, or the old form `name all the rest`.
fn pairs(text: &str) -> std::result::Result<Vec<(String, String)>, String> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    if !first.contains('=') {
        if rest.is_empty() {
            return Err(format!("{first} has no value: it should be {first}=VALUE"));
        }
        return Ok(vec![(first.to_string(), rest.trim().to_string())]);
    }
    let mut found: Vec<(String, String)> = Vec::new();
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for word in words(text)? {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")
        })?;
        if name.is_empty() {
            return Err("names can not be blank".to_string());
        }
        if let Some(known) = at.get(name) {
            found[*known].1 = value.to_string();
            continue;
        }
        at.insert(name.to_string(), found.len());
        found.push((name.to_string(), value.to_string()));
    }
    Ok(found)
}

/// Splits at blanks that are neither quoted nor escaped, and takes the quotes away.
fn words(text: &str) -> std::result::Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let inner = word.get_or_insert_with(String::new);
        match (quote, letter) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None | Some('"'), '\\') => match letters.next() {
                Some(next) if quote.is_none() || matches!(next, '"' | '\\' | '$') => {
                    inner.push(next)
                }
                Some(next) => inner.extend(['\\', next]),
                None => inner.push('\\'),
            },
            (None, blank) if blank.is_whitespace() => {
                let done = word.take().unwrap_or_default();
                if !done.is_empty() {
                    words.push(done);
                }
            }
            (_, other) => inner.push(other),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a quote {open} is not closed"));
    }
    words.extend(word);
    Ok(words)
}

fn unquoted(text: &str) -> std::result::Result<String, String> {
    Ok(words(text)?.join(" "))
}

/// A port with its protocol, tcp if it has none.
fn port_of(text: &str) -> std::result::Result<String, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let number = |text: &str| text.parse::<u16>().is_ok();
    let (first, last) = port.split_once('-').unwrap_or((port, port));
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("{text}: the protocol is none of tcp, udp, sctp"));
    }
    if !number(first) || !number(last) {
        return Err(format!("Invalid containerPort: {port}"));
    }
    Ok(format!("{port}/{protocol}"))
}

/// A relative path goes on from the one before.
fn workdir(before: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_string()
    } else {
        format!("{before}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(text: &str, shell: &[String]) -> std::result::Result<Healthcheck, String> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, behind) = option
            .split_once(char::is_whitespace)
            .unwrap_or((option, ""));
        rest = behind.trim_start();
        let (name, value) = option
            .split_once('=')
            .ok_or_else(|| format!("--{option} has no value"))?;
        let wrong = || format!("--{name}: {value:?} is not what it takes");
        let time = || crate::time::nanoseconds(value).ok_or_else(wrong);
        match name {
            "interval" => check.interval = time()?,
            "timeout" => check.timeout = time()?,
            "start-period" => check.start_period = time()?,
            "start-interval" => check.start_interval = time()?,
            "retries" => check.retries = value.parse().map_err(|_| wrong())?,
            _ => return Err(format!("HEALTHCHECK has no option --{name}")),
        }
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("NONE", "") => vec!["NONE".to_string()],
        ("CMD", command) if !command.is_empty() => match array(command) {
            Some(words) => std::iter::once("CMD".to_string()).chain(words).collect(),
            None if shell.is_empty() => vec!["CMD-SHELL".to_string(), command.to_string()],
            None => {
                let words = shell.iter().cloned().chain([command.to_string()]);
                std::iter::once("CMD".to_string()).chain(words).collect()
            }
        },
        _ => return Err("HEALTHCHECK is NONE, or CMD and a command".to_string()),
    };
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<String> {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        Ok(serde_json::to_string(&apply(&changes)?).unwrap())
    }

    #[test]
    fn instructions_change_the_config() {
        for (changes, json) in [
            (vec!["CMD echo hi"], r#"{"Cmd":["/bin/sh","-c","echo hi"]}"#),
            (vec![r#"cmd ["a","b c"]"#], r#"{"Cmd":["a","b c"]}"#),
            (
                vec![r#"SHELL ["/bin/bash"]"#, "ENTRYPOINT x"],
                r#"{"Entrypoint":["/bin/bash","x"],"Shell":["/bin/bash"]}"#,
            ),
            (
                vec!["ENV a=1 b=\"x y\" c=d\\ e", "ENV a=2"],
                r#"{"Env":["a=2","b=x y","c=d e"]}"#,
            ),
            (
                vec!["ENV name all the rest"],
                r#"{"Env":["name=all the rest"]}"#,
            ),
            (
                vec!["EXPOSE 80 53/UDP"],
                r#"{"ExposedPorts":{"53/udp":{},"80/tcp":{}}}"#,
            ),
            (
                vec!["LABEL a=b 'c d'=e"],
                r#"{"Labels":{"a":"b","c d":"e"}}"#,
            ),
            (
                vec!["WORKDIR /a/b", "WORKDIR ../c"],
                r#"{"WorkingDir":"/a/c"}"#,
            ),
            (
                vec!["VOLUME /a /b", r#"VOLUME ["/c d"]"#],
                r#"{"Volumes":{"/a":{},"/b":{},"/c d":{}}}"#,
            ),
            (
                vec!["USER 1:2", "STOPSIGNAL SIGINT"],
                r#"{"User":"1:2","StopSignal":"SIGINT"}"#,
            ),
            (
                vec!["HEALTHCHECK --interval=5s --retries=2 CMD true"],
                r#"{"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":2}}"#,
            ),
        ] {
            assert_eq!(changed(&changes).unwrap(), json, "{changes:?}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused_by_name() {
        for (change, message) in [
            ("RUN true", "RUN is not a valid change command"),
            ("CMD", "CMD needs an argument"),
            ("ENV a", "a has no value"),
            ("ENV a=1 b", "can't find = in \"b\""),
            ("ENV a='x", "a quote ' is not closed"),
            ("EXPOSE x", "Invalid containerPort: x"),
            ("EXPOSE 1/icmp", "none of tcp"),
            ("HEALTHCHECK --often=1 CMD x", "no option --often"),
        ] {
            let error = changed(&[change]).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
