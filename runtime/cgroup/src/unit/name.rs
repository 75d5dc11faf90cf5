//! `linux.cgroupsPath` as systemd's driver takes it, `slice:prefix:name`: which unit, and where in the tree its cgroup lies.

use std::path::PathBuf;

use crate::error::Refusal;

const JSON_PATH: &str = "linux.cgroupsPath";
const SLICE: &str = ".slice";

/// A unit that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// The slice that it lies in.
    pub(crate) slice: String,
    /// Its cgroup, relative to the manager's.
    pub(crate) path: PathBuf,
}

impl Place {
    /// Parses a `cgroupsPath`; without one, the container gets a scope named after `prefix` and its id, in the slice `default`.
    pub(crate) fn parse(
        cgroups_path: Option<&str>,
        id: &str,
        prefix: &str,
        default: &str,
    ) -> Result<Self, Refusal> {
        let given = cgroups_path.filter(|path| !path.is_empty());
        let [slice, prefix, name] = match given {
            None => ["", prefix, id],
            Some(text) => {
                let parts: Vec<&str> = text.split(':').collect();
                parts.try_into().map_err(|_| {
                    let message = format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead; such \
                         as \"system.slice:{prefix}:{id}\", or use --cgroup-manager cgroupfs"
                    );
                    Refusal::new(JSON_PATH, message)
                })?
            }
        };
        let slice = if slice.is_empty() { default } else { slice };
        let mut path = below(slice)?;
        let name = match (name.ends_with(SLICE), prefix) {
            (true, _) => name.to_owned(),
            (false, "") => format!("{name}.scope"),
            (false, prefix) => format!("{prefix}-{name}.scope"),
        };
        check(&name)?;
        if name.ends_with(SLICE) {
            // Where a slice lies is decided by its name alone.
            let own = below(&name)?;
            if own.parent() != Some(&path) {
                let message = format!(
                    "{name} does not lie in {slice}; a slice is named after the one it lies in, such as a-b.slice in a.slice"
                );
                return Err(Refusal::new(JSON_PATH, message));
            }
            path = own;
        } else {
            path.push(&name);
        }
        Ok(Self {
            name,
            slice: slice.to_owned(),
            path,
        })
    }

    pub(crate) fn is_slice(&self) -> bool {
        self.name.ends_with(SLICE)
    }
}

/// Returns the cgroup of a slice: `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn below(slice: &str) -> Result<PathBuf, Refusal> {
    let refuse = || {
        let message =
            format!("invalid slice name: {slice:?}; use one such as system.slice or a-b.slice");
        Refusal::new(JSON_PATH, message)
    };
    let stem = slice.strip_suffix(SLICE).ok_or_else(refuse)?;
    if stem == "-" {
        return Ok(PathBuf::new());
    }
    if stem.is_empty() {
        return Err(refuse());
    }
    check(slice)?;
    let mut path = PathBuf::new();
    let mut name = String::new();
    for component in stem.split('-') {
        if component.is_empty() {
            return Err(refuse());
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(component);
        path.push(format!("{name}{SLICE}"));
    }
    Ok(path)
}

/// Checks the characters and the length of a unit's name (systemd.unit(5)); one with an `@` would be an instance of a template.
fn check(name: &str) -> Result<(), Refusal> {
    let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let why = if let Some(c) = name.chars().find(|c| !known(*c)) {
        format!("has {c:?} in it, and may have letters, digits and :-_.\\@")
    } else if name.len() > 255 {
        "has more than 255 bytes".to_owned()
    } else if stem.is_empty() || stem.starts_with('@') {
        "has no name before its suffix".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::new(JSON_PATH, format!("unit name {name:?} {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_units_in_slices() {
        let check = |text: &str, want: &str| {
            let found = match Place::parse(Some(text), "id", "runc", "system.slice") {
                Ok(place) => format!("{} {} {}", place.name, place.slice, place.path.display()),
                Err(refusal) => refusal.message,
            };
            assert!(found.starts_with(want), "{text}: {found}");
        };
        check("", "runc-id.scope system.slice system.slice/runc-id.scope");
        check("::x", "x.scope system.slice system.slice/x.scope");
        check(
            ":docker:x",
            "docker-x.scope system.slice system.slice/docker-x.scope",
        );
        check(
            "a-b-c.slice:cri:x",
            "cri-x.scope a-b-c.slice a.slice/a-b.slice/a-b-c.slice/cri-x.scope",
        );
        check("-.slice:p:x", "p-x.scope -.slice p-x.scope");
        check("a.slice::a-b.slice", "a-b.slice a.slice a.slice/a-b.slice");
        check("-.slice:p:a.slice", "a.slice -.slice a.slice");
        check(
            "system.slice::a.slice",
            "a.slice does not lie in system.slice",
        );
        check(
            "/a/b",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead",
        );
        check("a:b", "expected cgroupsPath to be of format");
        check("a:b:c:d", "expected cgroupsPath to be of format");
        for bad in [
            "a",
            "a.scope",
            ".slice",
            "a--b.slice",
            "-a.slice",
            "a-.slice",
            "a.slices",
        ] {
            check(
                &format!("{bad}:p:x"),
                &format!("invalid slice name: {bad:?}"),
            );
        }
        check("a/b.slice:p:x", "unit name \"a/b.slice\" has '/' in it");
        check("a.slice:p:../x", "unit name \"p-../x.scope\" has '/' in it");
        check("a.slice:p:x y", "unit name \"p-x y.scope\" has ' ' in it");
        check("a.slice::", "unit name \".scope\" has no name");
        check(&format!("::{}", "x".repeat(250)), "unit name");
    }

    #[test]
    fn without_a_path_it_is_named_after_the_container() {
        let place = Place::parse(None, "id", "orlop", "user.slice").expect("a place");
        assert_eq!(place.path.to_str(), Some("user.slice/orlop-id.scope"));
    }
}
