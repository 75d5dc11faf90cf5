//! Which cgroup hierarchies exist, where they are mounted, and where in them this process is.
//!
//! Everything comes from `/proc/self/mountinfo` and `/proc/self/cgroup`: the second lists the hierarchies of this kernel with
//! their controllers, the first says where each can be reached. Names of folders mean nothing (a folder `net_cls` in
//! `/sys/fs/cgroup` need not be a controller).

use std::path::{Component, Path, PathBuf};

use crate::error::Error;
use crate::file;

/// The cgroup hierarchies that this process can reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// cgroup v1 hierarchies, in the order of the kernel's hierarchy numbers.
    pub v1: Vec<Hierarchy>,
    /// The cgroup v2 hierarchy; [`Layout::parse`] leaves its controllers empty, because only a file in the mount lists them.
    pub unified: Option<Hierarchy>,
}

/// One hierarchy, by the mount that shows most of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// As the kernel spells it: `cpu,cpuacct`, `name=systemd`; `unified` for cgroup v2.
    pub name: String,
    /// The controllers in it, without `name=…`.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// This process's cgroup, relative to the mount point.
    pub own: PathBuf,
}

/// What sort of host this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    V1,
    /// Controllers on v1 hierarchies, and cgroup v2 mounted beside them.
    Hybrid,
    V2,
    /// No cgroup hierarchy is mounted.
    None,
}

impl Layout {
    /// Reads the layout of this process.
    pub fn probe() -> Result<Self, Error> {
        let read = |path: &Path| file::read(path).map_err(|errno| Error::call("read", path, errno));
        let mut layout = Self::parse(
            &read(Path::new("/proc/self/mountinfo"))?,
            &read(Path::new("/proc/self/cgroup"))?,
        );
        if let Some(unified) = &mut layout.unified {
            let controllers = read(&unified.mount.join("cgroup.controllers"))?;
            unified.controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    /// Works out the layout from the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    ///
    /// A hierarchy that is mounted more than once, or bind-mounted in parts, counts once; one that is covered by another mount
    /// does not count.
    #[must_use]
    pub fn parse(mountinfo: &str, self_cgroup: &str) -> Self {
        // Not `lines`: a name may end with a carriage return.
        let mounts: Vec<Mount> = mountinfo.split('\n').filter_map(Mount::parse).collect();
        let mut lines: Vec<(u32, &str, &str)> = self_cgroup
            .split('\n')
            .filter_map(parse_membership)
            .collect();
        lines.sort_by_key(|(number, ..)| *number);
        let mut layout = Self::default();
        for (number, names, own) in lines {
            if number == 0 {
                layout.unified = find(&mounts, "cgroup2", &[])
                    .map(|found| reach(&mounts, &found, own))
                    .map(|(mount, own)| Hierarchy {
                        name: "unified".to_owned(),
                        controllers: Vec::new(),
                        mount,
                        own,
                    });
                continue;
            }
            let names_list: Vec<&str> = names.split(',').collect();
            if let Some(found) = find(&mounts, "cgroup", &names_list) {
                let (mount, own) = reach(&mounts, &found, own);
                let controllers = names_list
                    .iter()
                    .filter(|n| !n.starts_with("name="))
                    .map(|n| (*n).to_owned())
                    .collect();
                layout.v1.push(Hierarchy {
                    name: names.to_owned(),
                    controllers,
                    mount,
                    own,
                });
            }
        }
        layout
    }

    /// Returns what sort of host this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let v1_controllers = self.v1.iter().any(|h| !h.controllers.is_empty());
        match (v1_controllers, &self.unified) {
            (true, Some(_)) => Kind::Hybrid,
            (true, None) => Kind::V1,
            // A v1 hierarchy without controllers (name=systemd) beside v2 takes nothing away from v2.
            (false, Some(_)) => Kind::V2,
            (false, None) if self.v1.is_empty() => Kind::None,
            (false, None) => Kind::V1,
        }
    }
}

/// Splits a line of `/proc/self/cgroup`: `4:memory:/a/b`; version 2 is number 0, and alone has no name.
fn parse_membership(line: &str) -> Option<(u32, &str, &str)> {
    let (number, rest) = line.split_once(':')?;
    let (names, path) = rest.split_once(':')?;
    let number = number.parse().ok()?;
    ((number == 0) == names.is_empty()).then_some((number, names, path))
}

/// The fields of a mountinfo line that matter here (proc_pid_mountinfo(5)).
#[derive(Debug)]
struct Mount<'a> {
    id: u32,
    parent: u32,
    root: &'a str,
    point: &'a str,
    fstype: &'a str,
    super_options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(' ');
        let (id, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let (_device, root, point) = (fields.next()?, fields.next()?, fields.next()?);
        // Optional fields end with a single hyphen.
        fields.find(|field| *field == "-")?;
        let (fstype, _source, super_options) = (fields.next()?, fields.next()?, fields.next()?);
        // Anything else would lead out of the hierarchy.
        let whole = root.starts_with('/') && point.starts_with('/');
        whole.then_some(Self {
            id,
            parent,
            root,
            point,
            fstype,
            super_options,
        })
    }

    fn has_all(&self, names: &[&str]) -> bool {
        names
            .iter()
            .all(|name| self.super_options.split(',').any(|option| option == *name))
    }
}

/// Finds the visible mounts of the hierarchy with these controllers.
fn find(mounts: &[Mount], fstype: &str, names: &[&str]) -> Option<Vec<usize>> {
    let of_it = |m: &Mount| m.fstype == fstype && m.has_all(names);
    let found: Vec<usize> = (0..mounts.len())
        .filter(|i| of_it(&mounts[*i]) && !is_covered(mounts, &mounts[*i]))
        .collect();
    (!found.is_empty()).then_some(found)
}

/// Whether another mount lies over this one or over a mount on the way to it.
fn is_covered(mounts: &[Mount], mount: &Mount) -> bool {
    if mounts
        .iter()
        .any(|m| m.parent == mount.id && m.point == mount.point)
    {
        return true;
    }
    let mut current = mount;
    // Bounded, should a damaged table have a round in it.
    for _ in 0..mounts.len() {
        // What is mounted over `/` itself is not met: a lookup starts below it.
        let mut beside = mounts
            .iter()
            .filter(|m| m.parent == current.parent && m.id != current.id && m.point != "/");
        if beside.any(|m| is_at_or_below(current.point, m.point)) {
            return true;
        }
        match mounts.iter().find(|m| m.id == current.parent) {
            Some(parent) => current = parent,
            None => return false,
        }
    }
    false
}

/// Compares paths as the kernel prints them, which are clean.
fn is_at_or_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Chooses the mount that shows most and contains our own cgroup, and says where in it we are.
fn reach(mounts: &[Mount], found: &[usize], own: &str) -> (PathBuf, PathBuf) {
    // With a `..` in it, our cgroup is outside of our cgroup namespace.
    let nameable = |path: &&Path| path.components().all(|c| c != Component::ParentDir);
    let inside = |i: &usize| {
        Path::new(own)
            .strip_prefix(mounts[*i].root)
            .ok()
            .filter(nameable)
            .map(Path::to_path_buf)
    };
    let best = found
        .iter()
        .filter(|i| inside(i).is_some())
        .min_by_key(|i| mounts[**i].root.len());
    // A bind mount of some other part of the tree (or one from above our cgroup namespace's root, shown as `/..`) does not
    // tell where we are; its top is what we can see.
    let chosen = best.unwrap_or(&found[0]);
    (
        unescape(mounts[*chosen].point),
        inside(chosen).unwrap_or_default(),
    )
}

/// Undoes the octal escapes of mountinfo: space, tab, newline and backslash.
fn unescape(field: &str) -> PathBuf {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    let mut text = field.to_owned();
    for (escaped, plain) in escapes {
        if text.contains(escaped) {
            text = text.replace(escaped, plain);
        }
    }
    PathBuf::from(text)
}
