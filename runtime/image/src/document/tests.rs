use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Returns `text` with single quotes as double ones and `@` as a descriptor of nothing of that type: `@config`, `@layer`, `@manifest`.
fn json(text: &str) -> Vec<u8> {
    let of = |media_type: &str| format!("{{'mediaType':'{media_type}','digest':'{D}','size':0}}");
    text.replace("@config", &of(media::OCI_CONFIG))
        .replace("@layer", &of(media::OCI_LAYER_GZIP))
        .replace("@manifest", &of(media::OCI_MANIFEST))
        .replace("@other", &of("application/x"))
        .replace("OCI", media::OCI_MANIFEST)
        .replace("LIST", media::DOCKER_LIST)
        .replace("INDEX", media::OCI_INDEX)
        .replace("DOCKER", media::DOCKER_MANIFEST)
        .replace('\'', "\"")
        .into_bytes()
}

const READ: &[(Option<&str>, &str, &str)] = &[
    (
        Some(media::OCI_MANIFEST),
        "{'schemaVersion':2,'mediaType':'OCI','config':@config,'layers':[@layer]}",
        media::OCI_MANIFEST,
    ),
    (
        None,
        "{'schemaVersion':2,'mediaType':'DOCKER','config':@config,'layers':[@layer]}",
        media::DOCKER_MANIFEST,
    ),
    (
        Some(media::OCI_MANIFEST),
        "{'schemaVersion':2,'config':@config,'layers':[]}",
        media::OCI_MANIFEST,
    ),
    (
        Some(media::OCI_INDEX),
        "{'schemaVersion':2,'manifests':[@manifest]}",
        media::OCI_INDEX,
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config}",
        media::OCI_MANIFEST,
    ),
    (None, "{'schemaVersion':2,'manifests':[]}", media::OCI_INDEX),
    (
        Some("application/json"),
        "{'schemaVersion':2,'manifests':null}",
        "refused",
    ),
    (
        Some(media::OCI_INDEX),
        "{'schemaVersion':2,'manifests':null}",
        media::OCI_INDEX,
    ),
    (
        Some("text/plain; charset=utf-8"),
        "{'schemaVersion':2,'mediaType':'LIST','manifests':[@manifest]}",
        media::DOCKER_LIST,
    ),
    (
        Some("Application/vnd.oci.image.index.v1+JSON; charset=x"),
        "{'schemaVersion':2,'mediaType':'INDEX','manifests':[]}",
        media::OCI_INDEX,
    ),
    (
        None,
        "{'schemaVersion':2,'mediaType':'','layers':null,'config':@config,'annotations':null,'subject':null,'artifactType':null,'unknown':[{}]}",
        media::OCI_MANIFEST,
    ),
    (
        None,
        "{'schemaVersion':2,'mediaType':'INDEX','layers':null,'manifests':[]}",
        media::OCI_INDEX,
    ),
];

#[test]
fn what_is_read_as_what() {
    for &(declared, text, media_type) in READ {
        let read = Document::parse(&json(text), declared);
        let found = match &read {
            Ok(document) => document.media_type(),
            Err(_) => "refused",
        };
        assert_eq!(found, media_type, "{text}: {read:?}");
    }
}

const REFUSED: &[(Option<&str>, &str, &str)] = &[
    (None, "", "cannot be read"),
    (None, "[]", "cannot be read"),
    (None, "[2,'OCI']", "cannot be read"),
    (None, "{}", "neither an image manifest nor an index"),
    (
        None,
        "{'schemaVersion':1,'name':'a','fsLayers':[],'history':[]}",
        "schema 1",
    ),
    (
        Some(media::DOCKER_SCHEMA1_SIGNED),
        "{'schemaVersion':2}",
        "schema 1",
    ),
    (
        Some(media::OCI_MANIFEST),
        "{'mediaType':'application/vnd.docker.distribution.manifest.v1+json'}",
        "schema 1",
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config,'layers':[@layer],'manifests':[@manifest]}",
        "has config beside",
    ),
    (
        Some(media::OCI_MANIFEST),
        "{'schemaVersion':2,'config':@config,'layers':[],'manifests':[]}",
        "has manifests beside",
    ),
    (
        Some(media::OCI_INDEX),
        "{'schemaVersion':2,'manifests':[],'layers':[]}",
        "has layers beside",
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config,'fsLayers':[]}",
        "has fsLayers beside",
    ),
    (
        None,
        "{'schemaVersion':2,'manifests':[],'Manifests':[]}",
        "key \"Manifests\" must be \"manifests\"",
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config,'manife\u{17f}ts':[]}",
        "must be \"manifests\"",
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config,'layers':[],'layers':[@layer]}",
        "duplicate field",
    ),
    (
        Some(media::OCI_INDEX),
        "{'schemaVersion':2,'mediaType':'OCI','config':@config}",
        "it was sent as \"application/vnd.oci.image.index",
    ),
    (
        Some(media::DOCKER_MANIFEST),
        "{'schemaVersion':2,'mediaType':'OCI','config':@config}",
        "it was sent as",
    ),
    (
        Some(media::DOCKER_MANIFEST),
        "{'schemaVersion':2,'config':@config}",
        "mediaType is missing",
    ),
    (
        None,
        "{'schemaVersion':2,'mediaType':'application/vnd.oci.artifact.manifest.v1+json'}",
        "artifact.manifest.v1+json\", neither",
    ),
    (
        Some("text/html"),
        "{'schemaVersion':2,'config':@config}",
        "\"text/html\", neither",
    ),
    (
        None,
        "{'schemaVersion':3,'config':@config}",
        "schemaVersion is 3",
    ),
    (None, "{'config':@config}", "schemaVersion is missing"),
    (
        None,
        "{'schemaVersion':2.0,'config':@config}",
        "cannot be read",
    ),
    (
        None,
        "{'schemaVersion':2,'mediaType':'OCI','layers':[@layer]}",
        "missing field `config`",
    ),
    (
        None,
        "{'schemaVersion':2,'mediaType':'OCI','config':null}",
        "cannot be read",
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config,'layers':[{'digest':'sha256:00','size':1}]}",
        "as many digits",
    ),
    (
        None,
        "{'schemaVersion':2,'config':@config,'layers':[{'digest':'SHA','size':-1}]}",
        "no algorithm",
    ),
    (
        None,
        "{'schemaVersion':2,'config':{'digest':'D','size':1}} x",
        "cannot be read",
    ),
];

#[test]
fn what_is_refused_and_why() {
    for &(declared, text, why) in REFUSED {
        let error = Document::parse(&json(text), declared)
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains('\n') && error.len() < 500, "{error}");
    }
}

#[test]
fn sizes_are_counts() {
    for (size, right) in [
        ("0", true),
        ("9223372036854775807", true),
        ("9223372036854775808", false),
        ("-1", false),
        ("1.5", false),
        ("1e3", false),
        ("'1'", false),
        ("null", false),
    ] {
        let text = format!("{{'schemaVersion':2,'config':{{'digest':'{D}','size':{size}}}}}");
        let read = Document::parse(&json(&text), None);
        assert_eq!(read.is_ok(), right, "{size}: {read:?}");
    }
}

#[test]
fn bounds() {
    let of = |layers: usize| {
        let layers = vec!["@layer"; layers].join(",");
        json(&format!(
            "{{'schemaVersion':2,'config':@config,'layers':[{layers}]}}"
        ))
    };
    assert!(Document::parse(&of(500), None).is_ok());
    assert!(matches!(
        Document::parse(&of(501), None),
        Err(DocumentError::TooMany { count: 501, .. })
    ));
    let mut padded = of(1);
    padded.resize(Document::MOST_BYTES, b' ');
    assert!(Document::parse(&padded, None).is_ok());
    padded.push(b' ');
    assert!(matches!(
        Document::parse(&padded, None),
        Err(DocumentError::TooLarge { .. })
    ));
    let deep = "[".repeat(1 << 20);
    let error = Document::parse(deep.as_bytes(), None).unwrap_err();
    assert!(matches!(error, DocumentError::Json(_)), "{error}");
    let deep = format!("{{'x':{deep}");
    assert!(Document::parse(&json(&deep), None).is_err());
}

#[test]
fn embedded_content_is_checked() {
    let five = Digest::of(b"hello");
    for (data, digest, size, why) in [
        ("aGVsbG8=", five, 5, ""),
        ("", five, 5, ""),
        ("aGVsbG8=", five, 6, "another size"),
        ("aGVsbG8=", Digest::of(b"other"), 5, "another digest"),
        ("aGVsbG8", five, 5, "not base64"),
        ("aGVs\\nbG8=", five, 5, "not base64"),
    ] {
        let entry =
            format!("{{'mediaType':'x','digest':'{digest}','size':{size},'data':'{data}'}}");
        for text in [
            format!("{{'schemaVersion':2,'config':{entry}}}"),
            format!("{{'schemaVersion':2,'config':@config,'layers':[{entry}]}}"),
            format!("{{'schemaVersion':2,'config':@config,'subject':{entry}}}"),
            format!("{{'schemaVersion':2,'manifests':[@manifest,{entry}]}}"),
        ] {
            match Document::parse(&json(&text), None) {
                Ok(document) if why.is_empty() => {
                    let Document::Manifest(manifest) = document else {
                        continue;
                    };
                    let content = manifest.config.content();
                    assert!(content.is_none_or(|content| content == b"hello"));
                }
                Ok(_) => panic!("{text} is read"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!why.is_empty() && error.contains(why), "{text}: {error}");
                }
            }
        }
    }
}

#[test]
fn images_and_artifacts() {
    for (text, image) in [
        (
            "{'schemaVersion':2,'config':@config,'layers':[@layer]}",
            true,
        ),
        ("{'schemaVersion':2,'config':@config,'layers':[]}", true),
        (
            "{'schemaVersion':2,'config':@config,'layers':[@other]}",
            false,
        ),
        (
            "{'schemaVersion':2,'config':@other,'layers':[@layer]}",
            false,
        ),
        (
            "{'schemaVersion':2,'mediaType':'DOCKER','config':{'mediaType':'application/octet-stream','digest':'D','size':1},'layers':[@layer]}",
            true,
        ),
        (
            "{'schemaVersion':2,'config':{'mediaType':'application/octet-stream','digest':'D','size':1},'layers':[@layer]}",
            false,
        ),
    ] {
        let text = text.replace("'D'", &format!("'{D}'"));
        let Document::Manifest(manifest) = Document::parse(&json(&text), None).unwrap() else {
            panic!("{text} is no manifest");
        };
        assert_eq!(manifest.is_image(), image, "{text}");
    }
}

#[test]
fn written_as_oci_orders_it() {
    let mut config = Descriptor::of(media::OCI_CONFIG, b"{}");
    config.data = Some("e30=".to_owned());
    let mut manifest = Manifest::new(config, vec![Descriptor::of(media::OCI_LAYER_GZIP, b"")]);
    manifest.annotations.insert("b".to_owned(), "2".to_owned());
    manifest.annotations.insert("a".to_owned(), "1".to_owned());
    manifest.artifact_type = Some("application/x".to_owned());
    let text = "{'schemaVersion':2,'mediaType':'OCI','artifactType':'application/x','config':{\
        'mediaType':'application/vnd.oci.image.config.v1+json',\
        'digest':'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a','size':2,'data':'e30='},\
        'layers':[@layer],'annotations':{'a':'1','b':'2'}}";
    let expected = String::from_utf8(json(text)).unwrap();
    assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), expected);
    let read = Document::parse(&manifest.to_bytes(), None).unwrap();
    assert_eq!(read, Document::Manifest(manifest));

    let mut entry = Descriptor::of(media::OCI_MANIFEST, b"");
    entry.platform = Some("linux/arm/v7".parse().unwrap());
    let index = Index::new(vec![entry]);
    let expected = json(
        "{'schemaVersion':2,'mediaType':'INDEX','manifests':[{'mediaType':'OCI','digest':'DIGEST','size':0,\
        'platform':{'architecture':'arm','os':'linux','variant':'v7'}}]}",
    );
    let expected = String::from_utf8(expected).unwrap().replace("DIGEST", D);
    assert_eq!(String::from_utf8(index.to_bytes()).unwrap(), expected);
    let read = Document::parse(&index.to_bytes(), Some(media::OCI_INDEX)).unwrap();
    assert_eq!(read.links().len(), 1);
    assert_eq!(read, Document::Index(index));
}
