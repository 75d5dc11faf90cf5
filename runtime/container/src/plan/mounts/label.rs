//! SELinux labels of mounts.

use std::collections::HashMap;

use super::Setting;
use super::options::Parsed;
use crate::plan::Refusal;

/// crun's annotation that says which of the four contexts `linux.mountLabel` is.
pub(crate) const CONTEXT_TYPE: &str = "run.oci.mount_context_type";
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// The label that new file systems get, where SELinux is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) on: bool,
    pub(crate) setting: Option<Setting>,
}

impl Label {
    /// Says that a label is not applied, as for a process's label, where SELinux is off.
    pub(crate) fn warning(on: bool, label: Option<&str>) -> Option<String> {
        let label = label.filter(|label| !label.is_empty() && !on)?;
        Some(format!(
            "linux.mountLabel: SELinux is off; {label:?} is not applied"
        ))
    }

    /// Takes `linux.mountLabel`, and from the annotations which context it is.
    pub(crate) fn of(
        on: bool,
        label: Option<&str>,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Self, Refusal> {
        let key = annotations.and_then(|all| all.get(CONTEXT_TYPE));
        let key = key.map_or(CONTEXTS[0], String::as_str);
        if !CONTEXTS.contains(&key) {
            return Err(Refusal::new(
                format!("annotations[{CONTEXT_TYPE:?}]"),
                format!("{key:?} is not known; use one of {}", CONTEXTS.join(", ")),
            ));
        }
        let setting = |value: &str| Setting {
            key: key.into(),
            value: Some(value.into()),
        };
        Ok(Self {
            on,
            setting: label.filter(|label| on && !label.is_empty()).map(setting),
        })
    }

    /// Labels a new file system, unless its options do. Without SELinux such options are dropped: they would be refused by the kernel.
    pub(super) fn apply(
        &self,
        fstype: &str,
        parsed: &mut Parsed,
        at: &str,
        warnings: &mut Vec<String>,
    ) {
        let context = |setting: &Setting| CONTEXTS.contains(&setting.key.as_str());
        let given = parsed.settings.iter().any(context);
        if given && !self.on {
            parsed.settings.retain(|setting| !context(setting));
            warnings.push(format!("{at}.options: SELinux is off, context= is ignored"));
        }
        if given {
            for setting in parsed.settings.iter_mut().filter(|s| context(s)) {
                // Engines quote the value, because it may hold commas; fsconfig(2) takes it as it is.
                setting.value = setting.value.take().map(|v| v.trim_matches('"').into());
            }
        } else if takes_label(fstype) && parsed.bind.is_none() && !parsed.remount {
            parsed.settings.extend(self.setting.clone());
        }
    }
}

/// Tells whether a file system can be labelled as a whole: those of the kernel have labels of the policy's.
fn takes_label(fstype: &str) -> bool {
    !matches!(fstype, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies the label `l:l` to a mount and returns its settings.
    fn labelled(on: bool, kind: &str, fstype: &str, given: &str) -> String {
        let annotations = HashMap::from([(CONTEXT_TYPE.to_string(), kind.to_string())]);
        let label = match Label::of(on, Some("l:l"), Some(&annotations)) {
            Ok(label) => label,
            Err(refusal) => return refusal.to_string(),
        };
        let mut parsed = Parsed::default();
        if let Some((key, value)) = given.split_once('=') {
            parsed.settings.push(Setting {
                key: key.into(),
                value: Some(value.into()),
            });
        }
        let mut warnings = Vec::new();
        label.apply(fstype, &mut parsed, "mounts[0]", &mut warnings);
        let setting = |s: &Setting| format!("{}={}", s.key, s.value.as_deref().unwrap_or("-"));
        let all: Vec<_> = parsed
            .settings
            .iter()
            .map(setting)
            .chain(warnings)
            .collect();
        all.join(" ")
    }

    #[test]
    fn new_file_systems_are_labelled_where_selinux_is_on() {
        let check = |on, kind, fstype, given, want: &str| {
            assert_eq!(
                labelled(on, kind, fstype, given),
                want,
                "{on} {kind} {fstype} {given}"
            );
        };
        check(true, "context", "tmpfs", "", "context=l:l");
        check(
            true,
            "rootcontext",
            "tmpfs",
            "size=4k",
            "size=4k rootcontext=l:l",
        );
        check(
            true,
            "context",
            "tmpfs",
            "fscontext=\"x:y:c1,c2\"",
            "fscontext=x:y:c1,c2",
        );
        check(true, "context", "devpts", "", "context=l:l");
        check(true, "context", "proc", "", "");
        check(true, "context", "sysfs", "", "");
        check(false, "context", "tmpfs", "", "");
        let warning = "mounts[0].options: SELinux is off, context= is ignored";
        check(false, "context", "tmpfs", "context=x:y", warning);
        let refused = "config.json: annotations[\"run.oci.mount_context_type\"]: \"other\" is not known; use one of context, fscontext, defcontext, rootcontext";
        check(true, "other", "tmpfs", "", refused);
    }
}
