//! Names of images, digests, platforms and times: each line as each of them.

use std::str::FromStr;

use image::{Digest, Platform, Reference, Repository, Time};

use crate::is_line;

pub(crate) fn run(bytes: &[u8]) {
    // More only takes longer.
    for line in String::from_utf8_lossy(bytes).split('\n').take(8) {
        reference(line);
        digest(line);
        platform(line);
        time(line);
    }
}

fn read<T>(text: &str) -> Option<T>
where
    T: FromStr<Err: ToString>,
{
    let read = text.parse::<T>();
    read.map_err(|error| is_line(&error.to_string())).ok()
}

fn reference(text: &str) {
    let repository = read::<Repository>(text);
    let Some(name) = read::<Reference>(text) else {
        return assert_eq!(repository, None);
    };
    let bare = name.tag.is_none() && name.digest.is_none();
    assert_eq!(repository, bare.then(|| name.repository.clone()));
    for (spelt, what) in [
        (name.to_string(), "familiar"),
        (name.canonical(), "canonical"),
    ] {
        assert_eq!(
            read::<Reference>(&spelt).as_ref(),
            Some(&name),
            "{what} {spelt}"
        );
    }
    let canonical = name.canonical();
    assert!(canonical.is_ascii() && !canonical.contains(char::is_control));
    for spelt in [name.repository.to_string(), name.repository.canonical()] {
        assert_eq!(read::<Repository>(&spelt).as_ref(), Some(&name.repository));
    }
    let Repository { host, path } = &name.repository;
    assert!(!host.is_empty() && !host.contains('/'), "{host:?}");
    // They are parts of addresses, and of names of files.
    let climbs = |part: &str| part.is_empty() || part.starts_with('.');
    assert!(!path.split('/').any(climbs), "{path:?}");
    assert!(
        !name
            .tag
            .as_deref()
            .is_some_and(|tag| climbs(tag) || tag.contains('/'))
    );
    let latest = name.clone().or_latest();
    assert!(latest.tag.is_some() || latest.digest.is_some());
    assert_eq!(latest.clone().or_latest(), latest);
    assert_eq!(bare, latest != name);
    if let Some(tag) = &name.tag {
        let tagged = name.with_tag(tag).expect("a tag that was read");
        assert_eq!((tagged.tag.as_ref(), tagged.digest), (Some(tag), None));
    }
}

fn digest(text: &str) {
    let Some(digest) = read::<Digest>(text) else {
        return;
    };
    assert_eq!(digest.to_string(), text, "one content has two names");
    assert_eq!(digest.bytes().len(), digest.algorithm().length());
    assert!(digest.hex().starts_with(&digest.short()));
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(digest.file_name().bytes().all(plain));
}

fn platform(text: &str) {
    let Some(platform) = read::<Platform>(text) else {
        return;
    };
    assert_eq!(platform.normal(), platform);
    let spelt = platform.to_string();
    assert_eq!(
        read::<Platform>(&spelt).as_ref(),
        Some(&platform),
        "{spelt}"
    );
    let upper = text.to_ascii_uppercase();
    assert_eq!(read::<Platform>(&upper), Some(platform), "{upper}");
}

fn time(text: &str) {
    let Some(time) = read::<Time>(text) else {
        return;
    };
    let spelt = time.to_string();
    assert_eq!(read::<Time>(&spelt), Some(time), "{spelt}");
    assert_eq!(Time::new(time.seconds(), time.nanoseconds()), time);
}
