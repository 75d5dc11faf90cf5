//! What a user namespace keeps from mounts, and what stands in for it.

use sys::mount::Extent;
use sys::process::Namespaces;

use super::{Idmap, Parsed, Setting, Surroundings};
use crate::plan::Refusal;
use crate::plan::ids::on_host;

/// Has the host's own bound in the place of a file system that shows a namespace which is not the container's: the kernel lets no user
/// namespace mount it. Returns the path.
pub(super) fn stand_in(
    fstype: &str,
    parsed: &mut Parsed,
    around: &Surroundings<'_>,
    at: &str,
    warnings: &mut Vec<String>,
) -> Option<&'static str> {
    let (shown, path) = match fstype {
        "sysfs" => (Namespaces::NETWORK, "/sys"),
        "proc" => (Namespaces::PID, "/proc"),
        _ => return None,
    };
    let new_user = around.ids.own && !around.ids.joined;
    if !new_user || around.own.contains(shown) || parsed.bind.is_some() || parsed.remount {
        return None;
    }
    parsed.bind = Some(Extent::Tree);
    warnings.push(format!(
        "{at}.type: {fstype} cannot be mounted in a user namespace that shares with the host what it shows; {path} of the host is bound"
    ));
    Some(path)
}

/// Refuses what the kernel lets nobody do who has no say over the file system.
pub(super) fn refuse_idmap(
    idmap: Option<&Idmap>,
    around: &Surroundings<'_>,
) -> Result<(), Refusal> {
    match idmap {
        Some(idmap) if !around.host.mounts => {
            let why = "mapping the ids of a mount takes privileges on the host; remove it, or run as root";
            Err(Refusal::new(&idmap.at, why))
        }
        _ => Ok(()),
    }
}

/// Takes owners out of a devpts's options that the container does not have: engines give terminals to group 5 without looking.
pub(super) fn drop_unmapped(
    fstype: &str,
    settings: &mut Vec<Setting>,
    around: &Surroundings<'_>,
    at: &str,
    warnings: &mut Vec<String>,
) {
    if fstype != "devpts" || !around.ids.own || around.ids.joined {
        return;
    }
    settings.retain(|setting| {
        let map = match setting.key.as_str() {
            "uid" => around.ids.uid,
            "gid" => around.ids.gid,
            _ => return true,
        };
        let id = setting.value.as_ref().and_then(|id| id.parse().ok());
        let known = id.is_none_or(|id| on_host(map, id).is_some());
        if !known {
            let value = setting.value.as_deref().unwrap_or_default();
            warnings.push(format!(
                "{at}.options: {}={value} is no id of the container, by its user namespace's maps; ignored",
                setting.key
            ));
        }
        known
    });
}
