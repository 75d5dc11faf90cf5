//! A manifest, an index or a config of an image; which of the three is for each parser to find out.

use image::{Config, Descriptor, Document, Platform, chain_ids, media};

use crate::is_line;

pub(crate) fn run(bytes: &[u8]) {
    for declared in [None, Some(media::OCI_INDEX), Some(media::DOCKER_MANIFEST)] {
        let read = Document::parse(bytes, declared).map_err(|error| error.to_string());
        let again = Document::parse(bytes, declared).map_err(|error| error.to_string());
        assert_eq!(read, again);
        match read {
            Ok(document) => check(&document, bytes, declared),
            Err(message) => is_line(&message),
        }
    }
    let read = Config::parse(bytes).map_err(|error| error.to_string());
    let again = Config::parse(bytes).map_err(|error| error.to_string());
    assert_eq!(read, again);
    match read {
        Ok(read) => config(&read, bytes),
        Err(message) => is_line(&message),
    }
}

/// What is a list is nothing that has names.
fn is_object(bytes: &[u8]) {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    assert_eq!(first, Some(&b'{'), "no object was taken");
}

fn check(document: &Document, bytes: &[u8], declared: Option<&str>) {
    is_object(bytes);
    let written = match document {
        Document::Manifest(manifest) => manifest.to_bytes(),
        Document::Index(index) => index.to_bytes(),
    };
    // With or without what was declared: the type is written in it.
    for declared in [None, declared] {
        assert_eq!(
            Document::parse(&written, declared).as_ref().ok(),
            Some(document)
        );
    }
    let manifest = media::is_manifest(document.media_type());
    assert_eq!(matches!(document, Document::Manifest(_)), manifest);
    for link in document.links() {
        let Some(content) = link.content() else {
            assert_eq!(link.data, None, "what is embedded is what it should be");
            continue;
        };
        let own = Descriptor::of("", &content);
        assert_eq!(own.size, link.size);
        assert!(own.digest == link.digest || link.digest.algorithm() != own.digest.algorithm());
    }
    if let Document::Index(index) = document {
        for wanted in [
            "linux/amd64",
            "linux/arm64/v8",
            "linux/arm/v6",
            "windows/amd64",
        ] {
            choose(&index.manifests, &wanted.parse().expect("a platform"));
        }
    }
}

/// The chosen one is of the list, is meant to be run, and nothing else in the list is better.
fn choose(all: &[Descriptor], wanted: &Platform) {
    let Some(chosen) = image::choose(all, wanted) else {
        // More only takes longer.
        for one in all.iter().take(20) {
            assert_eq!(image::choose(std::slice::from_ref(one), wanted), None);
        }
        return;
    };
    assert!(all.iter().any(|one| std::ptr::eq(one, chosen)));
    assert!(media::is_manifest(&chosen.media_type) || media::is_index(&chosen.media_type));
    if let Some(platform) = &chosen.platform {
        assert_eq!(platform.normal().os, wanted.os);
    }
    for other in all.iter().take(20) {
        let pair = [chosen.clone(), other.clone()];
        assert_eq!(image::choose(&pair, wanted), Some(chosen));
    }
}

fn config(config: &Config, bytes: &[u8]) {
    is_object(bytes);
    let written = config.to_bytes();
    assert_eq!(Config::parse(&written).as_ref().ok(), Some(config));
    let platform = config.platform();
    assert_eq!(platform.normal(), platform);
    let (diff_ids, chain) = (&config.rootfs.diff_ids, chain_ids(&config.rootfs.diff_ids));
    assert_eq!(
        (chain.len(), chain.first()),
        (diff_ids.len(), diff_ids.first())
    );
    if let [below @ .., _] = &diff_ids[..] {
        assert!(
            chain.starts_with(&chain_ids(below)),
            "a layer has changed what is below it"
        );
    }
}
