//! Docker's default profile is a template: which rules it holds depends on capabilities, architecture and kernel. This resolves it.

use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};

/// The capabilities of a container that Docker starts without options.
pub(crate) const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What a template is resolved for.
pub(crate) struct Target<'a> {
    pub(crate) capabilities: &'a [&'a str],
    pub(crate) arch: Arch,
    /// Major and minor version.
    pub(crate) kernel: (u32, u32),
}

/// Docker's defaults on x86_64 with a kernel that has everything.
pub(crate) const DOCKER: Target = Target {
    capabilities: &DEFAULT_CAPABILITIES,
    arch: Arch::ScmpArchX86_64,
    kernel: (6, 18),
};

/// Returns Docker's default profile as a container's config.json would hold it.
pub(crate) fn docker(target: &Target) -> LinuxSeccomp {
    resolve(
        include_str!("../../../../tests/data/seccomp-default.json"),
        target,
    )
}

fn resolve(template: &str, target: &Target) -> LinuxSeccomp {
    let template: Value = serde_json::from_str(template).expect("the template is JSON");
    let family = list(&template["archMap"])
        .iter()
        .find(|family| family["architecture"] == json!(target.arch));
    let family = family.expect("the template knows the architecture");
    let mut architectures = vec![family["architecture"].clone()];
    architectures.extend_from_slice(list(&family["subArchitectures"]));
    let mut syscalls = Vec::new();
    for rule in list(&template["syscalls"]) {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let (included, excluded) = (matches(includes, target), matches(excludes, target));
        let wanted = included.iter().all(|part| part.all)
            && !excluded.iter().any(|part| part.given && part.any);
        if wanted {
            let mut rule = rule.as_object().expect("a rule is an object").clone();
            rule.retain(|key, _| matches!(key.as_str(), "names" | "action" | "args" | "errnoRet"));
            syscalls.push(Value::Object(rule));
        }
    }
    let resolved = json!({
        "defaultAction": template["defaultAction"],
        "defaultErrnoRet": template["defaultErrnoRet"],
        "architectures": architectures,
        "syscalls": syscalls,
    });
    serde_json::from_value(resolved).expect("the resolved template is a profile")
}

/// How one criterion of a rule meets the target.
struct Part {
    given: bool,
    all: bool,
    any: bool,
}

fn matches(filter: &Value, target: &Target) -> [Part; 3] {
    let has = |key: &str, test: &dyn Fn(&str) -> bool| {
        let wanted: Vec<&str> = list(&filter[key])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        // Of several architectures one is enough, of several capabilities all are needed.
        let any = wanted.iter().any(|item| test(item));
        let all = if key == "arches" {
            wanted.is_empty() || any
        } else {
            wanted.iter().all(|item| test(item))
        };
        Part {
            given: !wanted.is_empty(),
            all,
            any,
        }
    };
    let kernel = filter["minKernel"]
        .as_str()
        .map(|version| target.kernel >= parse_kernel(version));
    [
        has("caps", &|name| target.capabilities.contains(&name)),
        has("arches", &|name| name == docker_name(target.arch)),
        Part {
            given: kernel.is_some(),
            all: kernel.unwrap_or(true),
            any: kernel.unwrap_or(false),
        },
    ]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Reads major and minor out of a kernel's version.
pub(crate) fn parse_kernel(version: &str) -> (u32, u32) {
    let mut numbers = version
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The name of an architecture in the template's rules, which differs from the one in its map.
fn docker_name(arch: Arch) -> &'static str {
    match arch {
        Arch::ScmpArchX86_64 => "amd64",
        Arch::ScmpArchAarch64 => "arm64",
        Arch::ScmpArchS390x => "s390x",
        Arch::ScmpArchRiscv64 => "riscv64",
        Arch::ScmpArchPpc64le => "ppc64le",
        _ => "other",
    }
}
