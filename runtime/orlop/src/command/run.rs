//! `run`: create, start, and stand in for the container until it ends.

use anyhow::{Context, Result};
use clap::Parser;
use container::foreground::Foreground;
use container::launch::{Created, When};
use container::notify::Notify;
use container::timing::Phase;
use container::{ContainerId, StateRoot, Timing, verbs};

use super::create::{Common, Prepared, Terminal};
use super::timings::Timings;
use super::{Done, Failure, with};
use crate::global::Invocation;

#[derive(Debug, Parser)]
pub(super) struct Run {
    #[command(flatten)]
    common: Common,
    /// Return as soon as the program runs
    #[arg(long, short)]
    detach: bool,
    /// Keep the container's state after it has ended
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(invocation: &Invocation) -> Result<Done, Failure> {
    with(invocation, |args: Run| {
        if args.detach {
            detached(invocation, &args)
        } else {
            foreground(invocation, &args)
        }
    })
}

fn detached(invocation: &Invocation, args: &Run) -> Result<Done> {
    let mut timings = Timings::wanted(args.common.timings.as_deref())?;
    let prepared = Prepared::new(invocation, &args.common, Terminal::Handed, &mut timings)?;
    let done = let_go(prepared, &timings.timing);
    timings.finish(done)
}

fn let_go(prepared: Prepared, timing: &Timing) -> Result<Done> {
    let (root, id) = (prepared.root.clone(), prepared.id.clone());
    let (created, done) = prepared.launch(When::AtOnce, timing)?;
    if let Some(notify) = &created.notify {
        notify.wait(created.child.pid.as_raw(), &created.child.handle)?;
    }
    poststart(&root, &id, &created)?;
    Ok(done)
}

fn foreground(invocation: &Invocation, args: &Run) -> Result<Done> {
    let mut timings = Timings::wanted(args.common.timings.as_deref())?;
    let prepared = Prepared::new(invocation, &args.common, Terminal::Ours, &mut timings)?;
    let done = stand_in(prepared, args, &timings.timing);
    timings.finish(done)
}

/// Makes the container and attends to it until it ends.
fn stand_in(prepared: Prepared, args: &Run, timing: &Timing) -> Result<Done> {
    let (root, id) = (prepared.root.clone(), prepared.id.clone());
    // Before the container exists: a signal that comes early is for it.
    let foreground = Foreground::begin(!args.common.no_subreaper)?;
    let (mut created, mut done) = prepared.launch(When::AtOnce, timing)?;
    poststart(&root, &id, &created)?;
    let attended = match created.notify.take() {
        Some(notify) => forward(&notify, &created),
        None => Ok(()),
    }
    .and_then(|()| foreground.attend(&created.child, created.terminal.take()));
    // Nobody would know of a container that runs on after this command has failed.
    let exit = attended.or_else(|error| verbs::delete(&root, &id, true).and(Err(error)))?;
    timing.parent(Phase::Attend);
    if !args.keep {
        let warnings = verbs::discard(&root, &id, &created.record, timing)?;
        done.warnings.extend(warnings);
    }
    done.code = u8::try_from(exit.code()).unwrap_or(u8::MAX);
    Ok(done)
}

/// Runs the poststart hooks; a container whose hook failed is taken away again.
fn poststart(root: &StateRoot, id: &ContainerId, created: &Created) -> Result<()> {
    verbs::poststart(&created.record, &created.child.handle).or_else(|error| {
        verbs::delete(root, id, true)?;
        Err(error)
    })
}

/// Waits for the container's message in a process of its own: this one has the container to attend to, and reaps that one too.
fn forward(notify: &Notify, created: &Created) -> Result<()> {
    let pid = created.child.pid.as_raw();
    let body = || i32::from(notify.wait(pid, &created.child.handle).is_err());
    sys::process::clone3(sys::process::Birth::default(), body)
        .context("clone the process that forwards NOTIFY_SOCKET")?;
    Ok(())
}
