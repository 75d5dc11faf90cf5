//! `lade completion`, and what it asks for while a line is typed.

use clap::Command;
use engine::List;

use crate::failure::{Failure, print, print_lines};
use crate::session::Session;

/// Print a script that completes lade's lines in a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = shell)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

fn shell(text: &str) -> Result<Shell, &'static str> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("bash, zsh and fish are known"),
    }
}

// The words come from `lade internal complete`, so the scripts know nothing that could grow old.

const BASH: &str = r#"# Completion of lade's lines in bash: . <(lade completion bash)
_lade() {
    local line=${COMP_LINE:0:COMP_POINT} words last
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=("")
    last=${words[${#words[@]}-1]}
    local IFS=$'\n'
    COMPREPLY=($(command "${words[0]}" internal complete -- "${words[@]:1}" 2>/dev/null))
    # bash takes a colon for the end of a word.
    [[ $last == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${last%"${last##*:}"}"}")
}
complete -o default -F _lade lade
"#;

/// Read by a shell, or found by its name, `_lade`, in one of the directories of `fpath`: then it is run at once.
const ZSH: &str = r#"#compdef lade
# Completion of lade's lines in zsh: . <(lade completion zsh)
_lade() {
    local -a found
    found=(${(f)"$(command $words[1] internal complete -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)"})
    if (( $#found )); then
        compadd -- $found
    else
        _files
    fi
}
compdef _lade lade
if [[ $funcstack[1] == _lade ]]; then _lade; fi
"#;

const FISH: &str = r#"# Completion of lade's lines in fish: lade completion fish | source
function __lade_words
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    command $words[1] internal complete -- $words[2..-1] "$last" 2>/dev/null
end
complete -c lade -a '(__lade_words)'
"#;

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match args.shell {
        Shell::Bash => print(BASH),
        Shell::Zsh => print(ZSH),
        Shell::Fish => print(FISH),
    }
}

/// Prints what the last of the words may become.
pub(super) fn complete(words: &[String], session: &Session) -> Result<(), Failure> {
    let root = crate::commands();
    let (before, last) = match words.split_last() {
        Some((last, before)) => (before, last.as_str()),
        None => (words, ""),
    };
    let mut found = choices(&root, before, last);
    if found.iter().any(|word| word == IMAGES) {
        found.retain(|word| word != IMAGES);
        // Looking must not make a store.
        if session.settings.data_root.exists() {
            let images = session.engine()?.images(&List::default())?;
            let names = images.into_iter().flat_map(|image| image.names);
            found.extend(names.filter(|name| name.starts_with(last)));
        }
    }
    print_lines(found)
}

/// Stands for the names of images.
const IMAGES: &str = "IMAGE";

/// Returns the commands or options that begin so, or [`IMAGES`].
fn choices(root: &Command, before: &[String], last: &str) -> Vec<String> {
    let mut command = root;
    for word in before {
        if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        }
    }
    if last.starts_with('-') {
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let longs = shown.filter_map(|arg| Some(format!("--{}", arg.get_long()?)));
        let all = longs.chain(["--help".to_owned()]);
        return all.filter(|flag| flag.starts_with(last)).collect();
    }
    if command.has_subcommands() {
        let shown = command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set());
        let names = shown.map(|inner| inner.get_name().to_owned());
        return names.filter(|name| name.starts_with(last)).collect();
    }
    let takes_image = |arg: &clap::Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| {
            name.contains("IMAGE") || name.starts_with("NAME") || name.starts_with("REPOSITORY")
        })
    };
    let takes = command.get_positionals().any(takes_image);
    takes.then(|| IMAGES.to_owned()).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_completed() {
        let check = |line: &str, want: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            let (last, before) = words.split_last().unwrap();
            assert_eq!(
                choices(&crate::commands(), before, last).join(" "),
                want,
                "{line}"
            );
        };
        check("pu", "pull push");
        check("image r", "rm");
        check("image rm ", "IMAGE");
        check("--data-root /x image unm", "unmount");
        check("images --no", "--no-trunc");
        check("pull --h", "--help");
        check("push b", "IMAGE");
        check("version ", "");
        check("int", "");
    }
}
