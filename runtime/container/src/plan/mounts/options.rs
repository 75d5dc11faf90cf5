//! What the options of fstab(5), of the specification and of crun mean.

use sys::mount::{Attr, Extent, Propagation};

use super::idmap::{self, Wanted};
use super::{Setting, Symlinks};
use crate::plan::Refusal;
use crate::plan::root::propagation;

/// What an option does.
enum Meaning {
    Nothing,
    Attr(Change, Extent),
    /// A property of the file system, not of the mount.
    Fs(&'static str),
    Bind(Extent),
    Remount,
    Propagate(Propagation, Extent),
    CopyUp,
    TargetNoFollow,
    Source(Symlinks),
    /// Ids are mapped, by the ranges behind the `=` or by those of somebody else.
    Idmap(Extent),
    /// Goes to the file system as it stands.
    Data,
}

/// Attributes of a mount that are given and taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) set: Attr,
    pub(super) clear: Attr,
}

impl Change {
    /// Applies a later change over this one.
    pub(super) fn then(self, later: Self) -> Self {
        // The three access-time modes share one field: the last one named wins.
        let field = |attr: Attr| {
            if attr.intersects(Attr::ATIME_MASK) {
                attr | Attr::ATIME_MASK
            } else {
                attr
            }
        };
        let touched = field(later.set) | field(later.clear);
        Self {
            set: (self.set - touched) | later.set,
            clear: (self.clear - touched) | later.clear,
        }
    }
}

fn change(option: &str) -> Option<Change> {
    let (set, clear) = match option {
        "ro" => (Attr::RDONLY, Attr::empty()),
        "rw" => (Attr::empty(), Attr::RDONLY),
        "nosuid" => (Attr::NOSUID, Attr::empty()),
        "suid" => (Attr::empty(), Attr::NOSUID),
        "nodev" => (Attr::NODEV, Attr::empty()),
        "dev" => (Attr::empty(), Attr::NODEV),
        "noexec" => (Attr::NOEXEC, Attr::empty()),
        "exec" => (Attr::empty(), Attr::NOEXEC),
        "noatime" => (Attr::NOATIME, Attr::empty()),
        "strictatime" => (Attr::STRICTATIME, Attr::empty()),
        // Relatime is the zero of the access-time field: clearing the field chooses it.
        "relatime" | "atime" | "nostrictatime" => (Attr::empty(), Attr::ATIME_MASK),
        // As mount(8) has it: without a mode of its own a mount is relatime all the same.
        "norelatime" => (Attr::empty(), Attr::empty()),
        "nodiratime" => (Attr::NODIRATIME, Attr::empty()),
        "diratime" => (Attr::empty(), Attr::NODIRATIME),
        "nosymfollow" => (Attr::NOSYMFOLLOW, Attr::empty()),
        "symfollow" => (Attr::empty(), Attr::NOSYMFOLLOW),
        _ => return None,
    };
    Some(Change { set, clear })
}

fn meaning(option: &str) -> Meaning {
    if let Some(change) = change(option) {
        return Meaning::Attr(change, Extent::One);
    }
    if let Some(change) = option.strip_prefix('r').and_then(change) {
        return Meaning::Attr(change, Extent::Tree);
    }
    match option {
        // The opposites of superblock flags say what a new file system is anyway.
        "defaults" | "async" | "loud" | "nomand" | "noiversion" | "nolazytime" => Meaning::Nothing,
        // Flags of mount(2) that a file system cannot be given by fsconfig(2): whether the kernel logs a failure, which is reported
        // here; and a counter that each file system that has one keeps by itself (ext4 since Linux 6.1).
        "silent" | "iversion" => Meaning::Nothing,
        "sync" => Meaning::Fs("sync"),
        "dirsync" => Meaning::Fs("dirsync"),
        "lazytime" => Meaning::Fs("lazytime"),
        "mand" => Meaning::Fs("mand"),
        "bind" => Meaning::Bind(Extent::One),
        "rbind" => Meaning::Bind(Extent::Tree),
        "remount" => Meaning::Remount,
        "tmpcopyup" => Meaning::CopyUp,
        "dest-nofollow" => Meaning::TargetNoFollow,
        "src-nofollow" => Meaning::Source(Symlinks::NoFollow),
        "copy-symlink" => Meaning::Source(Symlinks::Copy),
        "idmap" => Meaning::Idmap(Extent::One),
        "ridmap" => Meaning::Idmap(Extent::Tree),
        other if other.starts_with("idmap=") => Meaning::Idmap(Extent::One),
        other if other.starts_with("ridmap=") => Meaning::Idmap(Extent::Tree),
        other => propagation(other).map_or(Meaning::Data, |(propagation, extent)| {
            Meaning::Propagate(propagation, extent)
        }),
    }
}

/// Every option that has a meaning here, for the `features` document.
pub(in crate::plan) const KNOWN: [&str; 65] = [
    "async",
    "atime",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dev",
    "diratime",
    "dirsync",
    "exec",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "strictatime",
    "suid",
    "symfollow",
    "sync",
    "tmpcopyup",
    "unbindable",
];

/// The options of one mount, sorted by what they are about.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) one: Change,
    pub(super) tree: Change,
    pub(super) bind: Option<Extent>,
    pub(super) remount: bool,
    pub(super) propagation: Option<(Propagation, Extent)>,
    pub(super) copy_up: bool,
    pub(super) target_nofollow: bool,
    pub(super) symlinks: Option<Symlinks>,
    pub(super) idmap: Option<Wanted>,
    pub(super) settings: Vec<Setting>,
}

pub(super) fn parse(options: &[String], at: &str) -> Result<Parsed, Refusal> {
    let mut parsed = Parsed::default();
    for (index, option) in options.iter().enumerate() {
        match meaning(option) {
            Meaning::Nothing => {}
            Meaning::Attr(change, Extent::One) => parsed.one = parsed.one.then(change),
            Meaning::Attr(change, Extent::Tree) => parsed.tree = parsed.tree.then(change),
            Meaning::Fs(name) => parsed.settings.push(Setting {
                key: name.into(),
                value: None,
            }),
            Meaning::Bind(extent) => parsed.bind = Some(extent),
            Meaning::Remount => parsed.remount = true,
            Meaning::Propagate(propagation, extent) => {
                parsed.propagation = Some((propagation, extent))
            }
            Meaning::CopyUp => parsed.copy_up = true,
            Meaning::TargetNoFollow => parsed.target_nofollow = true,
            Meaning::Source(symlinks) => parsed.symlinks = Some(symlinks),
            Meaning::Idmap(extent) => {
                let ranges = option.split_once('=').map(|(_, ranges)| ranges);
                let at = format!("{at}.options[{index}]");
                parsed.idmap = Some(idmap::wanted(ranges, extent, at)?);
            }
            Meaning::Data => {
                let (key, value) = option
                    .split_once('=')
                    .map_or((option.as_str(), None), |(key, value)| (key, Some(value)));
                parsed.settings.push(Setting {
                    key: key.into(),
                    value: value.map(String::from),
                });
            }
        }
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &str, want: &str) {
        let options: Vec<_> = options.split_whitespace().map(String::from).collect();
        let got = match parse(&options, "mounts[0]") {
            Err(refusal) => format!("{}: {}", refusal.at, refusal.why),
            Ok(parsed) => {
                let settings: Vec<_> = parsed
                    .settings
                    .iter()
                    .map(|s| format!("{}={}", s.key, s.value.as_deref().unwrap_or("-")))
                    .collect();
                format!(
                    "{:?} {:?} {:?} {:?} {settings:?}",
                    parsed.one.set, parsed.one.clear, parsed.bind, parsed.propagation
                )
            }
        };
        assert_eq!(got, want, "{options:?}");
    }

    #[test]
    fn options_mean_what_mount_8_says() {
        check("rbind ro", "Attr(RDONLY) Attr(0x0) Some(Tree) None []");
        check("ro rw", "Attr(0x0) Attr(RDONLY) None None []");
        check("rro", "Attr(0x0) Attr(0x0) None None []");
        check(
            "noatime strictatime",
            "Attr(STRICTATIME) Attr(0x0) None None []",
        );
        check(
            "noatime relatime",
            "Attr(0x0) Attr(ATIME_MASK) None None []",
        );
        check(
            "rslave size=64k newinstance",
            "Attr(0x0) Attr(0x0) None Some((Slave, Tree)) [\"size=64k\", \"newinstance=-\"]",
        );
    }

    #[test]
    fn recursive_options_are_their_own_set() {
        let check = |options: &str, set: Attr, clear: Attr| {
            let options: Vec<_> = options.split_whitespace().map(String::from).collect();
            let tree = parse(&options, "mounts[0]").ok().map(|parsed| parsed.tree);
            assert_eq!(tree, Some(Change { set, clear }), "{options:?}");
        };
        let none = Attr::empty();
        check(
            "rro rnosuid rnodev",
            Attr::RDONLY | Attr::NOSUID | Attr::NODEV,
            none,
        );
        check("rro rrw", none, Attr::RDONLY);
        check("rnoatime rstrictatime", Attr::STRICTATIME, none);
        check("rnoatime rrelatime", none, Attr::ATIME_MASK);
        check(
            "rnosymfollow rdiratime",
            Attr::NOSYMFOLLOW,
            Attr::NODIRATIME,
        );
        check("rnorelatime ro", none, none);
    }

    #[test]
    fn every_known_option_has_a_meaning() {
        for option in KNOWN {
            assert!(!matches!(meaning(option), Meaning::Data), "{option}");
        }
        assert!(KNOWN.is_sorted());
    }
}
