//! `lade login`.

use std::convert::Infallible;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use engine::{Kind, LoggedIn, Login, Secret};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, raise};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::failure::{Failure, print, print_lines};
use crate::session::Session;

/// Log in to a registry
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, as HOST[:PORT]; Docker Hub without
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// Password (others on this host see it in the list of processes)
    #[arg(long, short = 'p', value_parser = secret)]
    password: Option<Secret>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// User
    #[arg(long, short = 'u', value_name = "USER")]
    username: Option<String>,
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// The longest password that is read: more than any token that registries give out.
const LONGEST: u64 = 1 << 20;

pub(crate) fn run(args: Args, session: &Session) -> Result<(), Failure> {
    if args.password.is_some() {
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        if args.password_stdin {
            return Err(Failure::new(
                "--password and --password-stdin are mutually exclusive",
            ));
        }
    }
    if args.password_stdin && args.username.as_ref().is_none_or(String::is_empty) {
        return Err(Failure::new(
            "Must provide --username with --password-stdin",
        ));
    }
    let (registries, server) = (session.registries(), args.server.as_deref());
    let login = match (args.username, args.password) {
        (Some(user), Some(password)) => (user, password),
        (Some(user), None) if args.password_stdin => (user, from_stdin(&mut io::stdin().lock())?),
        (None, None) => {
            let kept = registries.kept_login(server)?;
            if let Some(kept) = &kept
                && let Some(done) = again(server, kept, session)?
            {
                return tell(done, session);
            }
            asked(kept.as_ref().and_then(user_of), None, None)?
        }
        (user, password) => {
            let kept = registries.kept_login(server)?;
            asked(kept.as_ref().and_then(user_of), user, password)?
        }
    };
    let (user, password) = login;
    if user.is_empty() || password.expose().is_empty() {
        let missing = if user.is_empty() { "user" } else { "password" };
        return Err(Failure::new(format!("login: the {missing} is empty")));
    }
    let login = Login::Password { user, password };
    tell(registries.login(server, &login)?, session)
}

/// Tries what was kept of an earlier login, as docker does before it asks for another. Nothing where it is refused.
fn again(
    server: Option<&str>,
    kept: &Login,
    session: &Session,
) -> Result<Option<LoggedIn>, Failure> {
    print("Authenticating with existing credentials...\n")?;
    match session.registries().login(server, kept) {
        Ok(done) => Ok(Some(done)),
        Err(error) if matches!(error.kind(), Kind::Unauthorized | Kind::Denied) => {
            session.warn("Stored credentials invalid or expired");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn user_of(login: &Login) -> Option<&str> {
    match login {
        Login::Password { user, .. } | Login::Identity { user, .. } => Some(user),
        Login::Token(_) => None,
    }
}

fn tell(done: LoggedIn, session: &Session) -> Result<(), Failure> {
    if let Some(file) = done.plain {
        let file = file.display();
        let warning = format!("WARNING! Your password will be stored unencrypted in {file}.");
        session.advise(&warning, "name a credential helper there (credsStore)");
    }
    print_lines([done.line])
}

/// Reads the password that a pipe brings. One end of line behind it is not part of it.
fn from_stdin(input: &mut dyn Read) -> Result<Secret, Failure> {
    let mut password = String::new();
    let read = input.take(LONGEST).read_to_string(&mut password);
    read.map_err(|error| Failure::new(format!("read the password from standard input: {error}")))?;
    Ok(Secret::new(without_end(&password)))
}

fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Asks on the terminal for what the line does not say. `known` is who was logged in before.
fn asked(
    known: Option<&str>,
    user: Option<String>,
    password: Option<Secret>,
) -> Result<(String, Secret), Failure> {
    if !io::stdin().is_terminal() {
        let failure = Failure::new("Cannot perform an interactive login from a non TTY device");
        return Err(failure.hint("lade login -u USER --password-stdin < FILE"));
    }
    let user = match user {
        Some(user) => user,
        None => {
            let prompt = known.map(|known| format!("Username ({known}): "));
            let line = ask(prompt.as_deref().unwrap_or("Username: "))?;
            match known {
                Some(known) if line.is_empty() => known.to_owned(),
                _ => line,
            }
        }
    };
    let password = match password {
        Some(password) => password,
        None => {
            let silence = Silence::begin()?;
            let line = ask("Password: ");
            drop(silence);
            // The end of line that was typed was not shown.
            say("\n");
            Secret::new(line?)
        }
    };
    Ok((user, password))
}

fn say(text: &str) {
    let mut err = io::stderr();
    // A terminal that cannot show the question cannot answer it either: that is found out by the reading.
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}

fn ask(prompt: &str) -> Result<String, Failure> {
    say(prompt);
    let mut line = String::new();
    let read = io::stdin().lock().take(LONGEST).read_line(&mut line);
    read.map_err(|error| Failure::new(format!("read from the terminal: {error}")))?;
    Ok(without_end(&line).to_owned())
}

/// A terminal that does not show what is typed, until this goes. A signal that ends the program meanwhile makes it show it again first.
struct Silence {
    before: Termios,
    mask: SigSet,
}

impl Silence {
    fn begin() -> Result<Self, Failure> {
        let refused = |errno: Errno| {
            Failure::new(format!(
                "hide what is typed on the terminal: {}",
                errno.desc()
            ))
        };
        let before = tcgetattr(io::stdin()).map_err(refused)?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        let ending = [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ];
        let ending = SigSet::from_iter(ending);
        let mask = ending
            .thread_swap_mask(SigmaskHow::SIG_BLOCK)
            .map_err(refused)?;
        let begun = Self { before, mask };
        let shown = begun.before.clone();
        set(&silent).map_err(refused)?;
        // It ends with the process: while nothing is hidden, no signal comes to it.
        std::thread::spawn(move || watch(&ending, &shown, &silent));
        Ok(begun)
    }
}

/// Lets each signal do what it does when the terminal is in order.
fn watch(ending: &SigSet, shown: &Termios, silent: &Termios) {
    while let Ok(signal) = ending.wait() {
        let ended = set(shown)
            .and_then(|()| ending.thread_unblock())
            .and_then(|()| raise(signal));
        // Still here: whoever has started this program wants the signal to be passed over.
        let again = ended.and_then(|()| ending.thread_block());
        if again.and_then(|()| set(silent)).is_err() {
            return;
        }
    }
}

fn set(terminal: &Termios) -> nix::Result<()> {
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, terminal)
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal has gone; there is nothing to put back.
        let _ = set(&self.before);
        // What was set before can be set again.
        let _ = self.mask.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_end_of_line_is_no_part_of_a_password() {
        for (piped, password) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" se\ncret \n\n", " se\ncret \n"),
            ("", ""),
        ] {
            let read = from_stdin(&mut piped.as_bytes()).unwrap();
            assert_eq!(read.expose(), password);
        }
        assert!(from_stdin(&mut &b"\xff"[..]).is_err());
    }

    #[test]
    fn a_password_on_the_line_is_not_shown_again() {
        use clap::{Args as _, FromArgMatches};
        let command = Args::augment_args(clap::Command::new("login"));
        let matches = command.get_matches_from(["login", "-u", "ann", "-p", "hunter2"]);
        let args = Args::from_arg_matches(&matches).unwrap();
        assert_eq!(args.password.as_ref().unwrap().expose(), "hunter2");
        assert!(!format!("{args:?}").contains("hunter2"));
    }
}
