//! What the kernel's security modules are to confine a process by.

use super::Refusal;
use crate::Host;

/// The AppArmor profile; where the kernel has no AppArmor a warning, as everybody's default profile is meant for hosts that have it.
pub(super) fn apparmor(
    profile: Option<&String>,
    host: &Host,
    at: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, Refusal> {
    /// The name of having no profile.
    const UNCONFINED: &str = "unconfined";
    let at = format!("{at}.apparmorProfile");
    let Some(profile) = text(profile, &at)? else {
        return Ok(None);
    };
    if host.apparmor {
        return Ok(Some(profile));
    }
    if profile != UNCONFINED {
        warnings.push(format!(
            "{at}: this kernel has no AppArmor; {profile:?} is not applied"
        ));
    }
    Ok(None)
}

/// The SELinux label; where SELinux is off a warning, for configurations outlive a boot.
pub(super) fn selinux(
    label: Option<&String>,
    host: &Host,
    at: &str,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, Refusal> {
    let at = format!("{at}.selinuxLabel");
    let label = text(label, &at)?;
    if let (Some(label), false) = (&label, host.selinux) {
        warnings.push(format!("{at}: SELinux is off; {label:?} is not applied"));
    }
    Ok(label.filter(|_| host.selinux))
}

/// An empty name counts as none. What the kernel's files take as an end would make another name of it.
fn text(given: Option<&String>, at: &str) -> Result<Option<String>, Refusal> {
    match given.filter(|text| !text.is_empty()) {
        Some(text) if text.contains(['\0', '\n']) => {
            Err(Refusal::new(at, format!("{text:?} has more than one line")))
        }
        other => Ok(other.cloned()),
    }
}
