use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// What is given, what it stands for, how it is shown; `HEX` is 64 hexadecimal digits.
const NAMES: &[(&str, &str, &str)] = &[
    ("busybox", "docker.io/library/busybox", "busybox"),
    (
        "busybox:1.36",
        "docker.io/library/busybox:1.36",
        "busybox:1.36",
    ),
    ("library/busybox", "docker.io/library/busybox", "busybox"),
    ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
    (
        "index.docker.io/busybox",
        "docker.io/library/busybox",
        "busybox",
    ),
    (
        "index.docker.io/library/busybox",
        "docker.io/library/busybox",
        "busybox",
    ),
    (
        "docker.io/library/a/b",
        "docker.io/library/a/b",
        "library/a/b",
    ),
    ("team/app", "docker.io/team/app", "team/app"),
    ("localhost/app", "localhost/app", "localhost/app"),
    ("localhost", "docker.io/library/localhost", "localhost"),
    (
        "localhost:5000",
        "docker.io/library/localhost:5000",
        "localhost:5000",
    ),
    (
        "localhost:5000/app",
        "localhost:5000/app",
        "localhost:5000/app",
    ),
    (
        "127.0.0.1:5000/a/b/c:v",
        "127.0.0.1:5000/a/b/c:v",
        "127.0.0.1:5000/a/b/c:v",
    ),
    (
        "[::1]:5000/app:v1",
        "[::1]:5000/app:v1",
        "[::1]:5000/app:v1",
    ),
    (
        "[2001:db8::1]/app",
        "[2001:db8::1]/app",
        "[2001:db8::1]/app",
    ),
    (
        "ghcr.io/owner/app",
        "ghcr.io/owner/app",
        "ghcr.io/owner/app",
    ),
    ("my.name/app", "my.name/app", "my.name/app"),
    (
        "docker.io/my.name/app",
        "docker.io/my.name/app",
        "docker.io/my.name/app",
    ),
    (
        "docker.io/localhost/app",
        "docker.io/localhost/app",
        "docker.io/localhost/app",
    ),
    ("HOST/app", "HOST/app", "HOST/app"),
    (
        "Host.Example:443/app",
        "Host.Example:443/app",
        "Host.Example:443/app",
    ),
    ("a.b", "docker.io/library/a.b", "a.b"),
    ("a__b/c---d", "docker.io/a__b/c---d", "a__b/c---d"),
    ("app:_x.Y-z", "docker.io/library/app:_x.Y-z", "app:_x.Y-z"),
    ("sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"),
    (
        "app@sha256:HEX",
        "docker.io/library/app@sha256:HEX",
        "app@sha256:HEX",
    ),
    (
        "app:1@sha256:HEX",
        "docker.io/library/app:1@sha256:HEX",
        "app:1@sha256:HEX",
    ),
    (
        "h:5000/app:1@sha256:HEX",
        "h:5000/app:1@sha256:HEX",
        "h:5000/app:1@sha256:HEX",
    ),
    (
        "docker.io/HEX",
        "docker.io/library/HEX",
        "docker.io/library/HEX",
    ),
];

#[test]
fn names_as_docker_normalises_them() {
    for row in NAMES {
        let [text, canonical, familiar] =
            [row.0, row.1, row.2].map(|text| text.replace("HEX", HEX));
        let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(reference.canonical(), canonical, "{text}");
        assert_eq!(reference.to_string(), familiar, "{text}");
        assert_eq!(
            familiar.parse::<Reference>().unwrap(),
            reference,
            "{text} again"
        );
        assert_eq!(
            canonical.parse::<Reference>().unwrap(),
            reference,
            "{text} again"
        );
    }
}

#[test]
fn what_is_refused_and_why() {
    let path = |length: usize| format!("h.io/{}", "a".repeat(length));
    assert!(path(255).parse::<Reference>().is_ok());
    let tag = |length: usize| format!("app:{}", "a".repeat(length));
    assert!(tag(128).parse::<Reference>().is_ok());
    for (text, why) in [
        ("", "empty"),
        (HEX, "an image's id"),
        ("https://ghcr.io/app", "it is an address"),
        ("App", "upper case is not allowed, \"app\" would be"),
        ("Bad Name", "\"Bad Name\" is not a-z and 0-9"),
        ("team/App", "upper case"),
        ("h.io/Team/app", "upper case"),
        ("app:", "tag \"\""),
        ("app:.x", "tag \".x\""),
        ("app:-x", "tag \"-x\""),
        ("app:a:b", "tag \"a:b\""),
        ("app:a b", "tag \"a b\""),
        (&tag(129), "longer than 128"),
        (&path(256), "longer than 255"),
        (&"a".repeat(2000), "longer than 1024"),
        (&format!("{}.io/a", "a".repeat(300)), "longer than 255"),
        ("app@", "algorithm"),
        ("app@sha256:00", "as many digits"),
        ("app@md5:00", "not known"),
        ("/app", "component of its path is empty"),
        ("app/", "component of its path is empty"),
        ("a//b", "component of its path is empty"),
        ("h.io/", "component of its path is empty"),
        ("a..b", "\"a..b\""),
        ("a___b", "\"a___b\""),
        ("a._b", "\"a._b\""),
        ("-a", "\"-a\""),
        ("a-", "\"a-\""),
        ("a/../b", "\"..\""),
        ("a b", "\"a b\""),
        ("a\nb", "\"a\\nb\""),
        ("é", "\"é\""),
        ("-h.io/a", "no host"),
        ("h..io/a", "no host"),
        ("h_.io/a", "no host"),
        ("../a", "no host"),
        ("h:/a", "a port"),
        ("h:0/a", "a port"),
        ("h:65536/a", "a port"),
        ("h:+80/a", "a port"),
        ("h:80:80/a", "a port"),
        ("[::1/a", "no closing bracket"),
        ("[::x]/a", "no IPv6"),
        ("[::1]x/a", "after its bracket"),
        ("[::1]:x/a", "a port"),
        ("::1/a", "no host"),
        ("[::1]", "\"[\""),
    ] {
        let error = text.parse::<Reference>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains('\n') && error.len() < 600, "{error}");
    }
    assert!("app:1".parse::<Repository>().is_err());
}

#[test]
fn latest_only_where_nothing_is_said() {
    let d = format!("sha256:{HEX}");
    for (text, latest) in [
        ("app", "app:latest"),
        ("app:1", "app:1"),
        (&format!("app@{d}"), &format!("app@{d}")),
    ] {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.or_latest().to_string(), latest);
    }
    let reference: Reference = "h:1/app:1".parse().unwrap();
    assert_eq!(reference.with_tag("2").unwrap().to_string(), "h:1/app:2");
    assert!(reference.with_tag("no tag").is_err());
    assert_eq!(
        reference.with_digest(Digest::of(b"")).to_string(),
        format!("h:1/app@{d}")
    );
}
