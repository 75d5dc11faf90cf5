//! Platforms: for which machine an image is, and which of several is for this one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Descriptor, Malformed, lenient, media, quoted};

/// A kind of machine, in Go's words: `linux/amd64`, `linux/arm/v7`. Displays and parses as that.
///
/// As a document gave it, it may be spelt in several ways; [`Platform::normal`] returns the one that comparisons use.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor: `amd64`, `arm64`, `riscv64`.
    #[serde(default, deserialize_with = "lenient::null")]
    pub architecture: String,
    /// The kernel: `linux`.
    #[serde(default, deserialize_with = "lenient::null")]
    pub os: String,
    /// Which version of the kernel; only Windows has that.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// What the kernel must be able to do.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "lenient::null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Which kind of the processor: `v7`.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub variant: Option<String>,
}

impl Platform {
    /// Returns the platform that this program was built for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            os: std::env::consts::OS.to_owned(),
            ..Self::default()
        }
        .normal()
    }

    /// Returns the same platform in its one spelling: lower case, `amd64` for `x86_64`, `arm64/v8` for `aarch64`, `arm/v7` where
    /// arm says no more.
    pub fn normal(&self) -> Self {
        let mut variant = self.variant.as_ref().map(|text| text.to_ascii_lowercase());
        let architecture = match self.architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" | "amd64" => {
                variant = variant.filter(|variant| variant != "v1");
                "amd64".to_owned()
            }
            "i386" | "i486" | "i586" | "i686" | "x86" | "386" => {
                variant = None;
                "386".to_owned()
            }
            "aarch64" | "arm64" => {
                let text = variant.as_deref().unwrap_or("v8");
                variant = Some(match text {
                    "8" | "8.0" | "v8.0" => "v8".to_owned(),
                    "9" | "9.0" | "v9.0" => "v9".to_owned(),
                    other => other.to_owned(),
                });
                "arm64".to_owned()
            }
            "armhf" => {
                variant = Some("v7".to_owned());
                "arm".to_owned()
            }
            "armel" => {
                variant = Some("v6".to_owned());
                "arm".to_owned()
            }
            "arm" => {
                let text = variant.as_deref().unwrap_or("v7");
                variant = Some(match text {
                    "5" | "6" | "7" | "8" => format!("v{text}"),
                    other => other.to_owned(),
                });
                "arm".to_owned()
            }
            other => other.to_owned(),
        };
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        Self {
            architecture,
            os,
            variant,
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
    }

    /// Tells whether Go knows such a kernel and such a processor, spelt like this.
    pub fn is_known(&self) -> bool {
        let normal = self.normal();
        is_os(&self.os)
            && is_architecture(&self.architecture)
            && (normal.os, normal.architecture) == (self.os.clone(), self.architecture.clone())
    }

    /// Tells whether an image for `image` runs on this machine, as far as the architecture says. Which processor of amd64 this is, nobody knows
    /// here.
    pub fn runs(&self, image: &Self) -> bool {
        let mut image = image.normal();
        if image.architecture == "amd64" {
            image.variant = None;
        }
        self.fits(&image).is_some()
    }

    /// Tells how well an image for `image` runs on this machine: nothing if not at all, and the more the better.
    fn fits(&self, image: &Self) -> Option<Fit> {
        let (host, image) = (self.normal(), image.normal());
        let features = |feature: &String| host.os_features.contains(feature);
        if host.os != image.os || !image.os_features.iter().all(features) {
            return None;
        }
        if host.os_version.is_some() && image.os_version != host.os_version {
            return None;
        }
        let variant = image.version()?;
        match (host.architecture.as_str(), image.architecture.as_str()) {
            (host_arch, image_arch) if host_arch == image_arch => {
                let same = host.variant == image.variant;
                let lower = host.has_versions() && variant.runs_on(host.version()?);
                (same || lower).then_some(Fit {
                    native: true,
                    variant,
                })
            }
            // What every 64-bit processor of the kind can run, and what Docker takes, too, where there is nothing else.
            ("amd64", "386") | ("arm64", "arm") => Some(Fit {
                native: false,
                variant,
            }),
            _ => None,
        }
    }

    /// Tells whether a later variant of this architecture runs what was made for an earlier one.
    fn has_versions(&self) -> bool {
        matches!(self.architecture.as_str(), "amd64" | "arm" | "arm64")
    }

    /// Returns the number in the variant; of an architecture without numbers always the same; nothing if it is not a number.
    fn version(&self) -> Option<Version> {
        if !self.has_versions() {
            return Some(Version(1, 0));
        }
        let Some(variant) = &self.variant else {
            return Some(Version(1, 0));
        };
        let number = variant.strip_prefix('v')?;
        let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// How well an image fits: native before emulated by the processor, then the highest variant.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    native: bool,
    variant: Version,
}

/// `v8.2` as (8, 2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u8, u8);

impl Version {
    /// Tells whether a processor of version `host` runs this one's programs. Arm's v9.0 is v8.5 and more, v9.1 is v8.6 and so on.
    fn runs_on(self, host: Self) -> bool {
        match (self, host) {
            (Self(8, minor), Self(9, of_host)) => minor <= of_host.saturating_add(5),
            _ => self <= host,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Malformed;

    /// Takes `OS/ARCHITECTURE[/VARIANT]`, or one of the first two alone with the rest as on this machine.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        let wrong = |why: &str| {
            let text = quoted(text);
            Malformed(format!(
                "platform {text}: {why}; a platform looks like linux/amd64 or linux/arm/v7"
            ))
        };
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
        };
        if !parts.iter().all(|part| is_word(part)) {
            return Err(wrong("a part is empty or no plain word"));
        }
        let host = Self::host();
        let (os, architecture, variant) = match parts[..] {
            [one] if is_os(one) => (one, host.architecture.as_str(), host.variant.as_deref()),
            [one] if is_architecture(one) => (host.os.as_str(), one, None),
            [_] => return Err(wrong("this is neither a kernel nor a processor")),
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(wrong("it has more than three parts")),
        };
        Ok(Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            ..Self::default()
        }
        .normal())
    }
}

fn is_os(text: &str) -> bool {
    let known = [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "ios",
        "js",
        "linux",
        "macos",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
    ];
    known.contains(&text.to_ascii_lowercase().as_str())
}

fn is_architecture(text: &str) -> bool {
    let known = [
        "386", "aarch64", "amd64", "arm", "arm64", "armel", "armhf", "i386", "loong64", "mips",
        "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm", "x86-64",
        "x86_64",
    ];
    known.contains(&text.to_ascii_lowercase().as_str())
}

/// Returns the one of an index's entries that fits `wanted` best: its own variant, else the highest lower one, else what the
/// processor can run besides (386 on amd64, arm on arm64); of equals the first.
///
/// Passed over are attestations (`unknown/unknown`), artifacts, and what needs features of the kernel that `wanted` does not name.
/// An entry that names no platform is taken where nothing else fits: what it is for is then in its own document.
pub fn choose<'a>(candidates: &'a [Descriptor], wanted: &Platform) -> Option<&'a Descriptor> {
    let images = || {
        candidates
            .iter()
            .filter(|candidate| is_choosable(candidate))
    };
    let mut best: Option<(Fit, &Descriptor)> = None;
    for candidate in images() {
        let fit = candidate
            .platform
            .as_ref()
            .and_then(|platform| wanted.fits(platform));
        if let Some(fit) = fit
            && best.as_ref().is_none_or(|(so_far, _)| fit > *so_far)
        {
            best = Some((fit, candidate));
        }
    }
    let unnamed = || images().find(|candidate| candidate.platform.is_none());
    best.map(|(_, candidate)| candidate).or_else(unnamed)
}

fn is_choosable(candidate: &Descriptor) -> bool {
    let unknown = |platform: &Platform| platform.os == "unknown" || platform.os.is_empty();
    let attestation = candidate
        .annotations
        .contains_key("vnd.docker.reference.type");
    (media::is_manifest(&candidate.media_type) || media::is_index(&candidate.media_type))
        && candidate.artifact_type.is_none()
        && !attestation
        && !candidate.platform.as_ref().is_some_and(unknown)
}

#[cfg(test)]
mod tests;
