//! Mounts that show other owners than their file system holds (`MOUNT_ATTR_IDMAP`, mount_setattr(2)).

use oci_spec::runtime as oci;
use serde::Serialize;
use sys::mount::Extent;

use super::extent_name;
use crate::plan::Refusal;
use crate::plan::ids::{IdMap, ranges};

/// How the owners of a mount's files are changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Idmap {
    pub by: Mapping,
    #[serde(serialize_with = "extent_name")]
    pub extent: Extent,
    /// The JSON path.
    pub at: String,
}

/// Whose ranges are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mapping {
    /// Those of the user namespace that the container joins.
    Joined,
    /// Ids of the file system (`container`), as the host's ids that they are shown as (`host`).
    Ranges { uid: Vec<IdMap>, gid: Vec<IdMap> },
}

/// What an option asks for.
pub(super) struct Wanted {
    extent: Extent,
    ranges: Option<[Vec<Range>; 2]>,
    at: String,
}

/// A range of crun's form; with an `@` its second number is an id of the container.
#[derive(Debug, Clone, Copy)]
struct Range {
    ids: IdMap,
    relative: bool,
}

/// The ids of the container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids<'a> {
    /// Whether it has a user namespace of its own.
    pub(crate) own: bool,
    /// Whether that one is there already, and its maps are only what the configuration says of it.
    pub(crate) joined: bool,
    pub(crate) uid: &'a [IdMap],
    pub(crate) gid: &'a [IdMap],
}

/// Parses what stands behind `idmap=`: `uids=0-1000-10#20-2000-5;gids=0-1000-10`.
pub(super) fn wanted(text: Option<&str>, extent: Extent, at: String) -> Result<Wanted, Refusal> {
    let ranges = match text {
        None => None,
        Some(text) => Some(parse(text).ok_or_else(|| {
            let right =
                "write uids=ON_DISK-SHOWN-SIZE;gids=ON_DISK-SHOWN-SIZE, more ranges behind a #";
            Refusal::new(&at, format!("{text:?} are no ranges of ids; {right}"))
        })?),
    };
    Ok(Wanted { extent, ranges, at })
}

fn parse(text: &str) -> Option<[Vec<Range>; 2]> {
    let [mut uids, mut gids] = [None, None];
    for part in text.split(';') {
        let (name, list) = part.split_once('=')?;
        let ranges = list.split('#').map(range).collect::<Option<Vec<_>>>()?;
        let place = match name {
            "uids" => &mut uids,
            "gids" => &mut gids,
            _ => return None,
        };
        if place.replace(ranges).is_some() {
            return None;
        }
    }
    Some([uids?, gids?])
}

fn range(text: &str) -> Option<Range> {
    let (text, relative) = match text.strip_prefix('@') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    };
    let numbers: Option<Vec<u32>> = text.split('-').map(number).collect();
    let [container, host, size] = numbers?[..] else {
        return None;
    };
    container.checked_add(size)?;
    host.checked_add(size)?;
    let ids = IdMap {
        container,
        host,
        size,
    };
    (size > 0).then_some(Range { ids, relative })
}

/// Decides about one mount: its own ranges, those of its option, or the container's.
pub(super) fn plan(
    mount: &oci::Mount,
    wanted: Option<Wanted>,
    ids: Ids<'_>,
    at: &str,
) -> Result<Option<Idmap>, Refusal> {
    let uid_at = format!("{at}.uidMappings");
    let gid_at = format!("{at}.gidMappings");
    let uid = ranges(mount.uid_mappings().as_ref(), &uid_at)?;
    let gid = ranges(mount.gid_mappings().as_ref(), &gid_at)?;
    let missing = |at| {
        Refusal::new(
            at,
            "missing; ids of users and of groups are mapped together",
        )
    };
    match (uid.is_empty(), gid.is_empty()) {
        (true, false) => return Err(missing(uid_at)),
        (false, true) => return Err(missing(gid_at)),
        (false, false) => {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| wanted.ranges.is_some()) {
                let why = "ranges here and in uidMappings; keep one of them";
                return Err(Refusal::new(&wanted.at, why));
            }
            let extent = wanted.map_or(Extent::One, |wanted| wanted.extent);
            let by = Mapping::Ranges { uid, gid };
            return Ok(Some(Idmap {
                by,
                extent,
                at: uid_at,
            }));
        }
        (true, true) => {}
    }
    let Some(Wanted { extent, ranges, at }) = wanted else {
        return Ok(None);
    };
    let by = match ranges {
        Some([uids, gids]) => Mapping::Ranges {
            uid: absolute(&uids, ids, ids.uid, &at)?,
            gid: absolute(&gids, ids, ids.gid, &at)?,
        },
        None if !ids.own => {
            let why = "no ranges and no user namespace to take them from; add uidMappings and gidMappings";
            return Err(Refusal::new(at, why));
        }
        None if ids.joined => Mapping::Joined,
        None => Mapping::Ranges {
            uid: ids.uid.to_vec(),
            gid: ids.gid.to_vec(),
        },
    };
    Ok(Some(Idmap { by, extent, at }))
}

/// Turns ranges that name ids of the container into such that name the host's; one may fall into several.
fn absolute(list: &[Range], ids: Ids<'_>, map: &[IdMap], at: &str) -> Result<Vec<IdMap>, Refusal> {
    let mut all = Vec::new();
    for Range {
        ids: range,
        relative,
    } in list
    {
        if !relative || !ids.own {
            all.push(*range);
            continue;
        }
        let mut done = 0;
        while done < range.size {
            let from = range.host + done;
            let part = map
                .iter()
                .find(|part| from >= part.container && from - part.container < part.size);
            let Some(part) = part else {
                let why = format!("{from} is no id of the container, by its user namespace's maps");
                return Err(Refusal::new(at, why));
            };
            let offset = from - part.container;
            let size = (part.size - offset).min(range.size - done);
            all.push(IdMap {
                container: range.container + done,
                host: part.host + offset,
                size,
            });
            done += size;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [IdMap; 2] = [
        IdMap {
            container: 0,
            host: 0,
            size: 1,
        },
        IdMap {
            container: 1,
            host: 2,
            size: 9,
        },
    ];

    /// Plans one option for a container with or without a user namespace.
    fn check(option: &str, own: bool, joined: bool, want: &str) {
        let ids = Ids {
            own,
            joined,
            uid: &MAP,
            gid: &MAP,
        };
        let text = option.split_once('=').map(|(_, text)| text);
        let planned = wanted(text, Extent::One, "mounts[0].options[0]".into())
            .and_then(|wanted| plan(&oci::Mount::default(), Some(wanted), ids, "mounts[0]"));
        let list = |map: &[IdMap]| {
            let text = |r: &IdMap| format!("{}-{}-{}", r.container, r.host, r.size);
            map.iter().map(text).collect::<Vec<_>>().join("#")
        };
        let got = match planned {
            Err(refusal) => refusal.why,
            Ok(None) => "nothing".to_string(),
            Ok(Some(Idmap {
                by: Mapping::Joined,
                ..
            })) => "joined".to_string(),
            Ok(Some(Idmap {
                by: Mapping::Ranges { uid, gid },
                ..
            })) => format!("{};{}", list(&uid), list(&gid)),
        };
        assert_eq!(got, want, "{option}");
    }

    #[test]
    fn ranges_of_an_option() {
        check(
            "idmap=uids=0-1000-10#20-30-1;gids=0-5-1",
            false,
            false,
            "0-1000-10#20-30-1;0-5-1",
        );
        check(
            "idmap=gids=@1-3-4;uids=@0-0-2",
            true,
            false,
            "0-0-1#1-2-1;1-4-4",
        );
        check("idmap=uids=@0-3-1;gids=0-0-1", false, false, "0-3-1;0-0-1");
        check("idmap", true, false, "0-0-1#1-2-9;0-0-1#1-2-9");
        check("idmap", true, true, "joined");
    }

    #[test]
    fn ranges_that_make_no_sense() {
        for text in [
            "",
            "uids=0-0-1",
            "uids=0-0-1;gids=0-0",
            "uids=0-0-0;gids=0-0-1",
            "uids=+0-0-1;gids=0-0-1",
            "x=0-0-1;gids=0-0-1",
            "uids=0-4294967295-2;gids=0-0-1",
            "uids=0-0-1;gids=0-0-1;gids=0-0-1",
        ] {
            let refused = wanted(Some(text), Extent::One, String::new()).is_err();
            assert!(refused, "{text}");
        }
        check(
            "idmap=uids=@0-9-5;gids=0-0-1",
            true,
            false,
            "10 is no id of the container, by its user namespace's maps",
        );
        check(
            "idmap",
            false,
            false,
            "no ranges and no user namespace to take them from; add uidMappings and gidMappings",
        );
    }
}
