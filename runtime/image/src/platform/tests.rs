use super::*;

#[test]
fn spellings() {
    for (text, normal) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64/v8"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/8", "linux/arm64/v8"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("linux/riscv64", "linux/riscv64"),
        ("macos/arm64", "darwin/arm64/v8"),
    ] {
        let platform: Platform = text.parse().unwrap();
        assert_eq!(platform.to_string(), normal, "{text}");
        assert_eq!(platform.normal(), platform, "{text}");
    }
    let host = Platform::host();
    assert_eq!("linux".parse::<Platform>().unwrap(), host);
    let arm: Platform = "arm64".parse().unwrap();
    assert_eq!(arm.to_string(), "linux/arm64/v8");
    for text in [
        "",
        "/",
        "linux/",
        "pdp11",
        "linux/arm/v7/x",
        "linux/a b",
        "linux/\u{e9}",
    ] {
        let error = text.parse::<Platform>().unwrap_err().to_string();
        assert!(error.contains("looks like linux/amd64"), "{error}");
    }
}

/// Makes an index's entry of `linux/arm/v7`, of `-` (no platform), of `attestation`, of `artifact`, of `linux/amd64+feature`.
fn entry(text: &str, number: usize) -> Descriptor {
    let mut entry = Descriptor::of(media::OCI_MANIFEST, number.to_string().as_bytes());
    let (platform, feature) = match text.split_once('+') {
        Some((platform, feature)) => (platform, Some(feature)),
        None => (text, None),
    };
    let parts: Vec<&str> = platform.split('/').collect();
    match parts[..] {
        ["-"] => {}
        ["layer"] => media::OCI_LAYER.clone_into(&mut entry.media_type),
        ["artifact"] => entry.artifact_type = Some("application/x".to_owned()),
        [os, architecture] | [os, architecture, _] => {
            entry.platform = Some(Platform {
                architecture: architecture.to_owned(),
                os: os.to_owned(),
                variant: parts.get(2).map(ToString::to_string),
                os_features: feature.map(str::to_owned).into_iter().collect(),
                os_version: None,
            });
        }
        _ => panic!("{text} is no entry"),
    }
    entry
}

const CHOICES: &[(&str, &str, &str)] = &[
    ("linux/amd64", "linux/arm64 linux/amd64", "linux/amd64"),
    ("linux/amd64", "linux/arm64/v8 windows/amd64", ""),
    ("linux/amd64", "linux/x86_64", "linux/x86_64"),
    ("linux/amd64", "linux/amd64/v3 linux/amd64/v2", ""),
    ("linux/amd64", "linux/amd64/v3 linux/amd64", "linux/amd64"),
    (
        "linux/amd64/v3",
        "linux/amd64 linux/amd64/v2 linux/amd64/v4",
        "linux/amd64/v2",
    ),
    ("linux/amd64", "linux/386 linux/amd64", "linux/amd64"),
    ("linux/amd64", "linux/386", "linux/386"),
    ("linux/386", "linux/amd64", ""),
    ("linux/arm64", "linux/arm/v7 linux/arm64", "linux/arm64"),
    ("linux/arm64", "linux/aarch64", "linux/aarch64"),
    (
        "linux/arm64",
        "linux/arm/v6 linux/arm/v7 linux/arm/v5",
        "linux/arm/v7",
    ),
    ("linux/arm64", "linux/arm64/v9 linux/arm64/v8.1", ""),
    (
        "linux/arm64/v8.2",
        "linux/arm64/v8.1 linux/arm64/v8 linux/arm64/v8.3",
        "linux/arm64/v8.1",
    ),
    (
        "linux/arm64/v9",
        "linux/arm64/v8.6 linux/arm64/v8.5",
        "linux/arm64/v8.5",
    ),
    (
        "linux/arm/v7",
        "linux/arm/v5 linux/arm/v6 linux/arm/v8",
        "linux/arm/v6",
    ),
    ("linux/arm/v7", "linux/arm/v6 linux/arm", "linux/arm"),
    ("linux/arm/v6", "linux/arm linux/arm/v7", ""),
    ("linux/arm/v6", "linux/arm/vx linux/arm/v5", "linux/arm/v5"),
    ("linux/riscv64", "linux/riscv64/rva22", ""),
    ("linux/riscv64", "linux/riscv64", "linux/riscv64"),
    ("linux/amd64", "unknown/unknown linux/amd64", "linux/amd64"),
    ("linux/amd64", "unknown/unknown", ""),
    ("linux/amd64", "linux/amd64+x linux/amd64", "linux/amd64"),
    ("linux/amd64", "linux/amd64+x", ""),
    ("linux/amd64", "artifact layer -", "-"),
    ("linux/amd64", "- linux/amd64", "linux/amd64"),
    ("linux/amd64", "artifact layer", ""),
    ("linux/amd64", "", ""),
];

#[test]
fn the_best_of_an_index() {
    for &(wanted, entries, chosen) in CHOICES {
        let names: Vec<&str> = entries.split_whitespace().collect();
        let candidates: Vec<Descriptor> = names
            .iter()
            .enumerate()
            .map(|(number, name)| entry(name, number))
            .collect();
        let wanted: Platform = wanted.parse().unwrap();
        let found = choose(&candidates, &wanted).map_or("", |found| {
            names[candidates.iter().position(|c| c == found).unwrap()]
        });
        assert_eq!(found, chosen, "{wanted} of {entries}");
    }
}

#[test]
fn attestations_are_known_by_their_annotation_too() {
    let mut attestation = entry("linux/amd64", 0);
    attestation.annotations.insert(
        "vnd.docker.reference.type".to_owned(),
        "attestation-manifest".to_owned(),
    );
    assert_eq!(
        choose(&[attestation], &"linux/amd64".parse().unwrap()),
        None
    );
}
