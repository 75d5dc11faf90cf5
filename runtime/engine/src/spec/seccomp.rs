//! Docker's default profile, `seccomp.json`, whose rules depend on capabilities, architecture and kernel, resolved for one container.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const PROFILE: &str = include_str!("seccomp.json");

/// What the profile is resolved for.
pub(super) struct Target<'a> {
    pub(super) capabilities: &'a [&'a str],
    /// As Rust calls it.
    pub(super) architecture: &'a str,
    /// Major and minor version.
    pub(super) kernel: (u32, u32),
}

/// The name of an architecture in Rust, in the profile's rules, and in its map.
const ARCHITECTURES: [(&str, &str, &str); 9] = [
    ("x86_64", "amd64", "SCMP_ARCH_X86_64"),
    ("x86", "x86", "SCMP_ARCH_X86"),
    ("aarch64", "arm64", "SCMP_ARCH_AARCH64"),
    ("arm", "arm", "SCMP_ARCH_ARM"),
    ("mips64", "mips64", "SCMP_ARCH_MIPS64"),
    ("s390x", "s390x", "SCMP_ARCH_S390X"),
    ("powerpc64", "ppc64le", "SCMP_ARCH_PPC64LE"),
    ("riscv64", "riscv64", "SCMP_ARCH_RISCV64"),
    ("loongarch64", "loong64", "SCMP_ARCH_LOONGARCH64"),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    default_action: &'a str,
    default_errno_ret: Option<u32>,
    #[serde(borrow)]
    arch_map: Vec<Family<'a>>,
    syscalls: Vec<Rule<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family<'a> {
    architecture: &'a str,
    #[serde(borrow)]
    sub_architectures: Option<Vec<&'a str>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    #[serde(borrow)]
    names: Vec<&'a str>,
    action: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Value>,
    #[serde(default, skip_serializing)]
    includes: Filter<'a>,
    #[serde(default, skip_serializing)]
    excludes: Filter<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter<'a> {
    #[serde(borrow, default)]
    caps: Vec<&'a str>,
    #[serde(default)]
    arches: Vec<&'a str>,
    min_kernel: Option<&'a str>,
}

/// Returns the profile as config.json holds it.
pub(super) fn profile(target: &Target<'_>) -> Result<Value> {
    let profile: Profile<'_> =
        serde_json::from_str(PROFILE).context("read the built-in seccomp profile")?;
    let known = ARCHITECTURES
        .iter()
        .find(|(ours, ..)| *ours == target.architecture);
    let (rules_name, map_name) = known.map_or(("", ""), |(_, rules, map)| (*rules, *map));
    let family = profile
        .arch_map
        .iter()
        .find(|family| family.architecture == map_name);
    let architectures = family.map(|family| {
        let sub = family.sub_architectures.iter().flatten();
        [family.architecture].iter().chain(sub).copied().collect()
    });
    let mut rules: Vec<Rule<'_>> = Vec::new();
    for rule in profile.syscalls {
        if !rule.includes.all(target, rules_name) || rule.excludes.any(target, rules_name) {
            continue;
        }
        // One rule for all calls that are treated alike: a shorter config.json, which the runtime reads at each start.
        let alike = rules.iter_mut().find(|other| {
            rule.args.is_none()
                && other.args.is_none()
                && (other.action, other.errno_ret) == (rule.action, rule.errno_ret)
        });
        match alike {
            Some(other) => other.names.extend(rule.names),
            None => rules.push(rule),
        }
    }
    let mut resolved = json!({ "defaultAction": profile.default_action, "syscalls": rules });
    if let Some(errno) = profile.default_errno_ret {
        resolved["defaultErrnoRet"] = json!(errno);
    }
    let architectures: Option<Vec<&str>> = architectures;
    if let Some(architectures) = architectures {
        resolved["architectures"] = json!(architectures);
    }
    Ok(resolved)
}

impl Filter<'_> {
    /// Of several architectures one is enough, of several capabilities all are needed.
    fn all(&self, target: &Target<'_>, architecture: &str) -> bool {
        let has = |name: &&str| target.capabilities.contains(name);
        let arches = self.arches.is_empty() || self.arches.contains(&architecture);
        let kernel = self
            .min_kernel
            .is_none_or(|least| target.kernel >= version(least));
        arches && kernel && self.caps.iter().all(has)
    }

    fn any(&self, target: &Target<'_>, architecture: &str) -> bool {
        let has = |name: &&str| target.capabilities.contains(name);
        let kernel = self
            .min_kernel
            .is_some_and(|least| target.kernel >= version(least));
        self.arches.contains(&architecture) || kernel || self.caps.iter().any(has)
    }
}

/// Reads major and minor out of a kernel's version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or_default());
    (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxSeccomp;
    use serde_json::Value;

    use super::{Target, profile};
    use crate::spec::CAPABILITIES;

    /// Says for each call whether it is allowed, without regard to its arguments.
    fn check(target: &Target<'_>, calls: &[(&str, bool)]) -> Value {
        let profile = profile(target).expect("a profile");
        let typed: LinuxSeccomp = serde_json::from_value(profile.clone()).expect("a valid one");
        assert_eq!(typed.default_errno_ret(), Some(1));
        let rules = profile["syscalls"].as_array().expect("rules");
        for (call, want) in calls {
            let allowed = rules.iter().any(|rule| {
                rule["action"] == "SCMP_ACT_ALLOW"
                    && rule["args"].is_null()
                    && rule["names"]
                        .as_array()
                        .is_some_and(|names| names.iter().any(|name| name == call))
            });
            assert_eq!(allowed, *want, "{call}");
        }
        profile
    }

    #[test]
    fn rules_depend_on_what_the_container_may() {
        let mut target = Target {
            capabilities: &CAPABILITIES,
            architecture: "x86_64",
            kernel: (6, 1),
        };
        let profile = check(
            &target,
            &[
                ("read", true),
                ("chroot", true),
                ("ptrace", true),
                ("mount", false),
                ("bpf", false),
                ("clone", false),
                ("arch_prctl", true),
                ("s390_runtime_instr", false),
            ],
        );
        assert_eq!(
            profile["architectures"],
            serde_json::json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"])
        );
        target.kernel = (4, 4);
        check(&target, &[("ptrace", false)]);
        target.architecture = "s390x";
        check(
            &target,
            &[("s390_runtime_instr", true), ("arch_prctl", false)],
        );
        target.capabilities = &["CAP_SYS_ADMIN", "CAP_BPF"];
        check(
            &target,
            &[
                ("mount", true),
                ("bpf", true),
                ("clone", true),
                ("chroot", false),
            ],
        );
    }
}
