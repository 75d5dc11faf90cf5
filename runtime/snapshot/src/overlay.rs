//! Overlay by the new mount interface: one option per layer (`lowerdir+`, Linux 6.8), so that neither their number nor their names meet a
//! limit before the kernel's own.

use std::borrow::Cow;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use sys::Errno;
use sys::mount::{Attr, Loose, NewFs};

use crate::{Plan, Upper, forget_volatile, old, refused, to_look_at, volatile_mark};

/// The longest value that fsconfig(2) takes.
const LONGEST: usize = 255;

pub(crate) fn mount(plan: &Plan<'_>, userxattr: bool) -> Result<Loose> {
    if let Some(upper) = plan.upper.filter(|upper| upper.volatile) {
        forget_volatile(&upper)?;
    }
    let context = match NewFs::open("overlay") {
        Ok(context) => context,
        Err(Errno::ENOSYS) => return old::mount(plan, userxattr),
        Err(Errno::ENODEV) => {
            bail!("mount an overlay: this kernel has none; load its module (modprobe overlay)")
        }
        Err(errno) => return Err(refused("mount", Path::new("an overlay"), errno)),
    };
    if context.is_by_name() {
        return old::on_stage(context, plan, userxattr);
    }
    match configure(context, plan, userxattr)? {
        Some(context) => finish(context, plan),
        None => old::mount(plan, userxattr),
    }
}

/// Gives the options; `None`: this kernel does not know layers one by one.
fn configure(mut context: NewFs, plan: &Plan<'_>, userxattr: bool) -> Result<Option<NewFs>> {
    // Before Linux 6.5 any name is accepted here, and refused in the end without a reason.
    if context.flag("no such option").is_ok() {
        return Ok(None);
    }
    // What it has written about that would be taken for the reason of a later failure.
    drop(context.complaint());
    // Open until the kernel has looked the names up.
    let mut held = Vec::new();
    for (at, layer) in plan.layers.iter().rev().enumerate() {
        let name = name(layer, &mut held)?;
        match context.set("lowerdir+", &name) {
            Ok(()) => {}
            Err(Errno::EINVAL) if at == 0 => match context.complaint() {
                Some(why) if !why.contains("Unknown parameter") => {
                    bail!("mount layer {}: {why}", layer.display())
                }
                _ => return Ok(None),
            },
            Err(errno) => return Err(explained(&context, "mount layer", layer, errno)),
        }
    }
    if let Some(upper) = plan.upper {
        for (key, path) in [("upperdir", "upper"), ("workdir", "work")] {
            let path = upper.dir.join(path);
            let name = name(&path, &mut held)?;
            let set = context.set(key, &name);
            set.map_err(|errno| explained(&context, "mount over", &path, errno))?;
        }
    }
    for (key, value) in options(plan.upper, userxattr) {
        let set = match value {
            Some(value) => context.set(key, value),
            None => context.flag(key),
        };
        match set {
            // It saves time and nothing else; Linux 5.10.
            Err(Errno::EINVAL) if key == "volatile" => {}
            set => {
                set.map_err(|errno| explained(&context, "set overlay's", Path::new(key), errno))?;
            }
        }
    }
    Ok(Some(context))
}

/// Makes the mount of a context that is configured.
pub(crate) fn finish(context: NewFs, plan: &Plan<'_>) -> Result<Loose> {
    let attr = if plan.upper.is_some() {
        Attr::empty()
    } else {
        to_look_at()
    };
    let mounted = context.mount_or_why(attr);
    mounted.map_err(|(errno, why)| failed(plan, errno, why))
}

/// Says why the kernel did not make the mount.
pub(crate) fn failed(plan: &Plan<'_>, errno: Errno, why: Option<String>) -> anyhow::Error {
    let layers = plan.layers.len();
    if let Some(upper) = plan.upper
        && volatile_mark(&upper).exists()
    {
        return anyhow!(
            "mount {layers} layers below {}: it was last mounted as volatile, so a crash may have left half of it; mount it as volatile, or remove it",
            upper.dir.display()
        );
    }
    let why = why.unwrap_or_else(|| sys::reason(errno));
    match plan.upper {
        Some(upper) => anyhow!("mount {layers} layers below {}: {why}", upper.dir.display()),
        None => anyhow!("mount {layers} layers: {why}"),
    }
}

/// The options beside the directories. What makes an upper directory more than the difference of two trees stays off, since that is what
/// is later packed; redirections in layers, which strangers make, are not followed.
pub(crate) fn options(
    upper: Option<Upper<'_>>,
    userxattr: bool,
) -> Vec<(&'static str, Option<&'static str>)> {
    let mut options = vec![("source", Some("overlay")), ("index", Some("off"))];
    if userxattr {
        // Says the other two by itself, and refuses to hear them.
        options.push(("userxattr", None));
    } else {
        options.extend([
            ("redirect_dir", Some("nofollow")),
            ("metacopy", Some("off")),
        ]);
    }
    if upper.is_some_and(|upper| upper.volatile) {
        options.push(("volatile", None));
    }
    options
}

/// Returns what the kernel is told: the path, or, where it is too long or has what the kernel would take for its own, a descriptor's.
fn name<'a>(path: &'a Path, held: &mut Vec<OwnedFd>) -> Result<Cow<'a, str>> {
    let bytes = path.as_os_str().as_bytes();
    let plain = bytes.len() <= LONGEST && !bytes.iter().any(|byte| b"\\,:\n".contains(byte));
    if let Some(text) = path.to_str().filter(|_| plain) {
        return Ok(Cow::Borrowed(text));
    }
    let fd = sys::fs::open_path(path).map_err(|errno| refused("open", path, errno))?;
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    held.push(fd);
    Ok(Cow::Owned(name))
}

fn explained(context: &NewFs, what: &str, path: &Path, errno: Errno) -> anyhow::Error {
    match context.complaint() {
        Some(why) => anyhow!("{what} {}: {why}", path.display()),
        None => refused(what, path, errno),
    }
}
