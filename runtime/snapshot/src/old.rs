//! Overlay by mount(2), for kernels whose fsconfig(2) does not take layers one by one (before 6.8).
//!
//! All options are one page of text there. The working directory is `/proc/self/fd`, so that a layer is called by the number of its
//! descriptor: 500 of them fit, and no name in a path is taken for a separator. A working directory is all threads', unless one has left
//! the mount namespace: hence a thread of its own, whose namespace, and the mount in it, end with it; a copy of the mount stays.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use sys::Errno;
use sys::fs::{Mode, OFlag};
use sys::mount::{Extent, Loose, MsFlags, NewFs};
use sys::process::Namespaces;

use crate::overlay::{failed, finish, options};
use crate::{Plan, refused};

const NUMBERS: &str = "/proc/self/fd";

/// Makes the mount in a namespace that ends at once.
pub(crate) fn mount(plan: &Plan<'_>, userxattr: bool) -> Result<Loose> {
    in_thread(|| apart(plan, userxattr))
}

/// Makes a mount to look at in its place. What is seen there is never more than that: it is whole, and all its flags are set, at once.
pub(crate) fn mount_on(plan: &Plan<'_>, userxattr: bool, at: &Path) -> Result<()> {
    in_thread(|| {
        sys::process::own_directory()
            .map_err(|errno| anyhow!("leave the working directory: {}", sys::reason(errno)))?;
        let open_at = || sys::fs::open_path(at).map_err(|errno| refused("open", at, errno));
        let target = open_at()?;
        let mut opened = Opened::new(plan)?;
        if opened.layers.len() == 1 {
            // An overlay without changes has two layers at least: below the only one, the directory itself, which is empty.
            opened.layers.push(open_at()?);
        }
        enter_numbers()?;
        let point = number(&target);
        let mounted = attempt(
            &opened.data(plan, userxattr, false),
            plan,
            Path::new(&point),
        );
        mounted.map_err(|errno| failed(plan, errno, None))
    })
}

fn in_thread<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, body);
        let thread = thread.context("start a thread to mount in")?;
        // Only a panic is no answer, and it is passed on as one.
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn apart(plan: &Plan<'_>, userxattr: bool) -> Result<Loose> {
    let none = None::<&str>;
    sys::process::unshare(Namespaces::MOUNT)
        .and_then(|()| {
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            sys::mount::mount(none, "/", none, private, none)
        })
        .map_err(|errno| anyhow!("leave the mount namespace: {}", sys::reason(errno)))?;
    // Seen by nobody, so any directory will do.
    let point = *plan.layers.first().context("an image of no layers")?;
    let opened = Opened::new(plan)?;
    enter_numbers()?;
    let mount = |volatile| attempt(&opened.data(plan, userxattr, volatile), plan, point);
    let mounted = match mount(true) {
        // It saves time and nothing else; Linux 5.10.
        Err(Errno::EINVAL) if plan.upper.is_some_and(|upper| upper.volatile) => mount(false),
        other => other,
    };
    mounted.map_err(|errno| failed(plan, errno, None))?;
    match sys::mount::clone_path(point, Extent::One) {
        Ok(loose) if !loose.is_promise() => Ok(loose),
        Ok(_) | Err(Errno::ENOSYS) => bail!(
            "mount {} layers: {}",
            plan.layers.len(),
            sys::reason(Errno::ENOSYS)
        ),
        Err(errno) => Err(refused("copy the mount of", point, errno)),
    }
}

fn attempt(data: &str, plan: &Plan<'_>, point: &Path) -> Result<(), Errno> {
    let flags = if plan.upper.is_some() {
        MsFlags::empty()
    } else {
        MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV
    };
    let overlay = Some("overlay");
    sys::mount::mount(overlay, point, overlay, flags, Some(data))
}

fn enter_numbers() -> Result<()> {
    sys::fs::chdir(NUMBERS).map_err(|errno| refused("enter", Path::new(NUMBERS), errno))
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    sys::fs::open(path, flags, Mode::empty()).map_err(|errno| refused("open layer", path, errno))
}

/// Makes the mount on the stage, in a mount namespace that the caller has said to be its own.
pub(crate) fn on_stage(mut context: NewFs, plan: &Plan<'_>, userxattr: bool) -> Result<Loose> {
    let opened = Opened::new(plan)?;
    let mut set = |key: &str, value: Option<&str>| {
        let set = match value {
            Some(value) => context.set(key, value),
            None => context.flag(key),
        };
        set.map_err(|errno| refused("set overlay's", Path::new(key), errno))
    };
    for layer in &opened.layers {
        set("lowerdir+", Some(&number(layer)))?;
    }
    for (key, fd) in opened.upper() {
        set(key, Some(&number(fd)))?;
    }
    for (key, value) in options(plan.upper, userxattr) {
        set(key, value)?;
    }
    let here = Path::new(".");
    let back = sys::fs::open_path(here).map_err(|errno| refused("open", here, errno))?;
    enter_numbers()?;
    let mounted = finish(context, plan);
    sys::fs::fchdir(&back).map_err(|errno| refused("go back to", here, errno))?;
    mounted
}

/// The directories, opened.
struct Opened {
    /// The topmost first, as the kernel wants them.
    layers: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

impl Opened {
    fn new(plan: &Plan<'_>) -> Result<Self> {
        let layers = plan.layers.iter().rev().map(|layer| open(layer));
        let upper = plan.upper.map(|upper| {
            let (upper, work) = (upper.dir.join("upper"), upper.dir.join("work"));
            anyhow::Ok((open(&upper)?, open(&work)?))
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            upper: upper.transpose()?,
        })
    }

    fn upper(&self) -> impl Iterator<Item = (&'static str, &OwnedFd)> {
        let both = self.upper.iter();
        both.flat_map(|(upper, work)| [("upperdir", upper), ("workdir", work)])
    }

    fn data(&self, plan: &Plan<'_>, userxattr: bool, volatile: bool) -> String {
        let layers: Vec<String> = self.layers.iter().map(number).collect();
        let mut data = format!("lowerdir={}", layers.join(":"));
        for (key, fd) in self.upper() {
            data += &format!(",{key}={}", number(fd));
        }
        for (key, value) in options(plan.upper, userxattr) {
            match (key, value) {
                ("source", _) => {}
                ("volatile", _) if !volatile => {}
                (key, Some(value)) => data += &format!(",{key}={value}"),
                (key, None) => data += &format!(",{key}"),
            }
        }
        data
    }
}

fn number(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
}
