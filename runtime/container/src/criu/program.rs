//! Which criu there is, and what it can do on this kernel.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sys::fs;

use super::proto::Message;
use super::rpc::{Criu, Kind, Response, Setup};
use super::{Dump, Options, Restoring};

/// The oldest criu that tells by messages when its page server is ready, joins pid namespaces and knows the freezer of cgroup v2.
const OLDEST: u64 = 31500;
/// The oldest one that takes another LSM profile at a restore.
const OLDEST_LSM: u64 = 31600;
/// The oldest one that can do without iptables.
const OLDEST_LOCK: u64 = 31700;

/// Finds criu: by PATH, then where programs for the administrator are.
pub(crate) fn find(search: Option<&str>) -> Result<PathBuf> {
    let places = [
        search.unwrap_or_default(),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ];
    let candidates = places
        .iter()
        .flat_map(|path| path.split(':'))
        .map(Path::new);
    let found = candidates
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("criu"));
    let executable =
        |path: &PathBuf| path.is_file() && fs::may_execute(fs::AT_FDCWD, path.as_path()).is_ok();
    found
        .into_iter()
        .find(executable)
        .context("criu not found in PATH; install criu")
}

/// Refuses a criu that is too old, and one that lacks on this kernel what is asked for.
pub(crate) fn check(
    program: &Path,
    options: &Options,
    dump: Option<&Dump>,
    restoring: Option<&Restoring>,
) -> Result<()> {
    let setup = Setup {
        program,
        path: options.search.as_deref(),
        dirs: &[],
        fds: &[],
        root: None,
    };
    let mut criu = Criu::start(setup)?;
    let wanted = [
        dump.is_some_and(|dump| dump.pre_dump || dump.parent.is_some()),
        options.lazy_pages,
    ];
    let any = wanted != [false, false];
    criu.ask(Kind::Version, &Message::default(), any)?;
    let version = answer(&mut criu, Kind::Version)?.version;
    let needs = |least: u64, what: &str| {
        if version >= least {
            return Ok(());
        }
        let text = |version: u64| format!("{}.{}", version / 10000, version / 100 % 100);
        bail!(
            "criu {} is too old for {what}; install {} or newer",
            text(version),
            text(least)
        )
    };
    needs(OLDEST, "this")?;
    if options.network_lock.is_some() {
        needs(OLDEST_LOCK, "--network-lock")?;
    }
    if restoring.is_some_and(|restoring| restoring.lsm_profile.is_some()) {
        needs(OLDEST_LSM, "--lsm-profile")?;
    }
    if restoring.is_some_and(|restoring| restoring.lsm_mount_context.is_some()) {
        needs(OLDEST_LSM, "--lsm-mount-context")?;
    }
    if any {
        let mut features = Message::default();
        features.switch(1, wanted[0]).switch(2, wanted[1]);
        let mut extra = Message::default();
        criu.ask(Kind::Features, extra.message(5, &features), false)?;
        let got = answer(&mut criu, Kind::Features)?.features;
        let lack = wanted[0] && !got[0];
        if lack {
            bail!(
                "criu: this kernel does not track changes of memory; do without --pre-dump and --parent-path"
            );
        }
        if wanted[1] && !got[1] {
            bail!(
                "criu: this kernel has no userfaultfd that criu can use; do without --lazy-pages"
            );
        }
    }
    Ok(())
}

/// Waits for the answer to a question about criu itself.
fn answer(criu: &mut Criu, kind: Kind) -> Result<Response> {
    let (response, _) = criu.hear()?;
    if response.kind != kind as u64 || !response.success {
        bail!("criu: no answer to the question {kind:?}; look at what `criu check` says");
    }
    Ok(response)
}
