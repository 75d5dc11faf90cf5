//! The program, its environment, its place and its rights.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{CAPABILITIES, Request, User};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn make(request: &Request<'_>, user: &User) -> Result<Value> {
    let mut capabilities = json!({ "bounding": CAPABILITIES });
    if user.uid == 0 {
        capabilities["effective"] = json!(CAPABILITIES);
        capabilities["permitted"] = json!(CAPABILITIES);
    }
    let groups = if request.host.groups {
        user.groups.as_slice()
    } else {
        &[]
    };
    Ok(json!({
        "terminal": request.options.terminal,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": groups },
        "args": args(request)?,
        "env": env(request)?,
        "cwd": cwd(request)?,
        "capabilities": capabilities,
        "oomScoreAdj": 0,
    }))
}

/// An entrypoint of the user's takes the image's command away, too, which is made of arguments for the image's.
fn args(request: &Request<'_>) -> Result<Vec<String>> {
    let (image, options) = (request.config.config.as_ref(), request.options);
    let of_image =
        |words: fn(&image::Process) -> &Vec<String>| image.map(words).cloned().unwrap_or_default();
    let (mut args, command) = match &options.entrypoint {
        Some(program) => (vec![program.clone()], Vec::new()),
        None => (
            of_image(|process| &process.entrypoint),
            of_image(|process| &process.cmd),
        ),
    };
    // As an option or in an image: a single empty word says that there is none.
    if args == [""] {
        args.clear();
    }
    if options.command.is_empty() {
        args.extend(command);
    } else {
        args.extend_from_slice(&options.command);
    }
    if args.is_empty() {
        bail!("No command specified");
    }
    let nul = args.iter().find(|word| word.contains('\0'));
    if let Some(word) = nul {
        bail!("argument {word:?} has a NUL byte, which no program can be given");
    }
    Ok(args)
}

/// The defaults; over them what the user says, then what the image says of the rest.
fn env(request: &Request<'_>) -> Result<Vec<String>> {
    let options = request.options;
    let wrong = |one: &&String| name(one).is_empty() || one.contains('\0');
    if let Some(one) = options.env.iter().find(wrong) {
        bail!("invalid environment variable: {one}");
    }
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={}", request.hostname())];
    if options.terminal {
        env.push("TERM=xterm".to_owned());
    }
    let process = request.config.config.as_ref();
    let of_image = process.map(|process| &process.env).into_iter().flatten();
    let said = |one: &&String| !options.env.iter().any(|other| name(other) == name(one));
    for variable in options.env.iter().chain(of_image.filter(said)) {
        let known = env.iter().position(|one| name(one) == name(variable));
        match (variable.contains('='), known) {
            // The last of several counts, as for the shell.
            (true, Some(at)) => env[at].clone_from(variable),
            (true, None) => env.push(variable.clone()),
            (false, Some(at)) => drop(env.remove(at)),
            (false, None) => {}
        }
    }
    Ok(env)
}

fn name(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

fn cwd(request: &Request<'_>) -> Result<String> {
    let image = request.config.config.as_ref();
    let of_image = image.map(|process| process.working_dir.as_str());
    let said = request.options.working_dir.as_deref();
    let path = said
        .or(of_image)
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    if said.is_some() && !path.starts_with('/') {
        bail!("the working directory '{path}' is invalid, it needs to be an absolute path");
    }
    Ok(clean(path))
}

/// Returns the path from `/`, without steps that lead nowhere or back.
fn clean(path: &str) -> String {
    let mut steps = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    format!("/{}", steps.join("/"))
}
