//! Whatever a registry does: a pull succeeds or says why in one line, never hangs, and never keeps what is wrong.

mod parts;

use orlop_tests::registry::image::{OCI_INDEX, OCI_MANIFEST, index, noise};
use orlop_tests::registry::{Auth, Fault, Image, Layer, Registry, Rule, What, digest};
use orlop_tests::{Lade, Must, complaint};
use serde_json::json;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How a case has to end.
#[derive(Debug, Clone, Copy)]
enum End {
    Fine,
    /// Failure, with these words in its line.
    Refused(&'static [&'static str]),
    /// Either, but in time and with nothing wrong kept.
    Either,
}

use End::{Either, Fine, Refused};

struct Case {
    name: &'static str,
    set: fn(&Registry, &Image),
    end: End,
}

/// The longest that any case may take: patience with a registry that says nothing has an end.
const LIMIT: Duration = Duration::from_secs(200);

fn case(name: &'static str, end: End, set: fn(&Registry, &Image)) -> Case {
    Case { name, set, end }
}

/// The part of a path that stands for the first layer alone.
fn layer(image: &Image) -> String {
    image.layers[0].digest()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn connections() -> Vec<Case> {
    use Fault::{Close, DropAt, Garbage, Silence, Slow, StallAt, Trickle};
    vec![
        case("blob: dropped at byte 0", Fine, |registry, image| {
            registry.fault(Rule::once(What::Blob, DropAt(0)).only(&layer(image)))
        }),
        case("blob: dropped at byte 1", Fine, |registry, image| {
            registry.fault(Rule::once(What::Blob, DropAt(1)).only(&layer(image)))
        }),
        case("blob: dropped in the middle", Fine, |registry, image| {
            registry.fault(Rule::once(What::Blob, DropAt(150_000)).only(&layer(image)))
        }),
        case("blob: dropped at the last byte", Fine, |registry, image| {
            registry.fault(
                Rule::once(What::Blob, DropAt(image.layers[0].blob.len() - 1)).only(&layer(image)),
            )
        }),
        case(
            "blob: dropped at once, always",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Blob, DropAt(0))),
        ),
        case("blob: closed without a word, once", Fine, |registry, _| {
            registry.fault(Rule::once(What::Blob, Close))
        }),
        case(
            "blob: closed without a word, always",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Blob, Close)),
        ),
        case(
            "manifest: closed without a word, once",
            Fine,
            |registry, _| registry.fault(Rule::once(What::Manifest, Close)),
        ),
        case(
            "manifest: dropped in the middle, once",
            Fine,
            |registry, _| registry.fault(Rule::once(What::Manifest, DropAt(100))),
        ),
        case(
            "everything: no HTTP",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Any, Garbage)),
        ),
        case("blob: a trickle", Fine, |registry, _| {
            registry.fault(Rule::always(
                What::Blob,
                Trickle(20_000, Duration::from_millis(100)),
            ))
        }),
        case("blob: stalls once", Fine, |registry, image| {
            registry.fault(Rule::once(What::Blob, StallAt(100_000)).only(&layer(image)))
        }),
        case(
            "blob: silence, always",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Blob, Silence)),
        ),
        case(
            "manifest: byte by byte, and never silent",
            Refused(&["127.0.0.1", "has not come whole"]),
            |registry, image| {
                // Large enough to be many times as much as a server must give within its silence.
                let large = image.clone().edited(|manifest| {
                    manifest["annotations"] = json!({"long": "x".repeat(300_000)});
                });
                registry.serve("thing:one", &large);
                registry.fault(Rule::always(
                    What::Manifest,
                    Trickle(100, Duration::from_millis(50)),
                ));
            },
        ),
        case(
            "manifest: a refusal that has no end in time",
            Refused(&["403", "127.0.0.1"]),
            |registry, _| {
                registry.fault(Rule::always(
                    What::Manifest,
                    Slow(403, Duration::from_millis(20)),
                ));
            },
        ),
        case(
            "manifest: silence, always",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Any, Silence)),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn contents() -> Vec<Case> {
    use Fault::{
        Body, DigestHeader, Encoded, Endless, Flipped, Longer, MediaType, NoLength, Shorter,
    };
    vec![
        case(
            "blob: one bit wrong",
            Refused(&["sha256:", "digest|differ|content"]),
            |registry, image| registry.fault(Rule::always(What::Blob, Flipped).only(&layer(image))),
        ),
        case("blob: one bit wrong, once", Either, |registry, image| {
            registry.fault(Rule::once(What::Blob, Flipped).only(&layer(image)))
        }),
        case(
            "blob: shorter than it should be",
            Refused(&["sha256:"]),
            |registry, image| {
                registry.fault(Rule::always(What::Blob, Shorter(1000)).only(&layer(image)))
            },
        ),
        case(
            "blob: longer than it should be",
            Refused(&["sha256:"]),
            |registry, image| {
                registry.fault(Rule::always(What::Blob, Longer(1000)).only(&layer(image)))
            },
        ),
        case("blob: endless", Refused(&["sha256:"]), |registry, image| {
            registry.fault(Rule::always(What::Blob, Endless).only(&layer(image)))
        }),
        case("blob: without a length", Fine, |registry, _| {
            registry.fault(Rule::always(What::Blob, NoLength))
        }),
        case("blob: packed once more", Either, |registry, _| {
            registry.fault(Rule::always(What::Blob, Encoded))
        }),
        case(
            "config: one bit wrong",
            Refused(&["sha256:"]),
            |registry, image| registry.fault(Rule::always(What::Blob, Flipped).only(&image.id())),
        ),
        case(
            "config: garbage",
            Refused(&["sha256:"]),
            |registry, image| {
                registry.fault(Rule::always(What::Blob, Body(b"{".to_vec())).only(&image.id()))
            },
        ),
        case(
            "manifest: garbage",
            Refused(&["manifest|JSON|json"]),
            |registry, _| {
                registry.fault(Rule::always(What::Manifest, Body(b"<html>hello".to_vec())))
            },
        ),
        case("manifest: empty", Refused(&["127.0.0.1"]), |registry, _| {
            registry.fault(Rule::always(What::Manifest, Body(Vec::new())))
        }),
        case("manifest: huge", Refused(&["127.0.0.1"]), |registry, _| {
            registry.fault(Rule::always(What::Manifest, Body(noise(3, 30 << 20))))
        }),
        case(
            "manifest: endless",
            Refused(&["127.0.0.1"]),
            |registry, _| registry.fault(Rule::always(What::Manifest, Endless)),
        ),
        case(
            "manifest: another media type",
            Refused(&["media type|mediaType|index"]),
            |registry, _| registry.fault(Rule::always(What::Manifest, MediaType(OCI_INDEX))),
        ),
        case("manifest: text/html", Either, |registry, _| {
            registry.fault(Rule::always(What::Manifest, MediaType("text/html")))
        }),
        case(
            "manifest: schema 1",
            Refused(&["schema 1|schema version 1|schema1"]),
            |registry, _| {
                registry.put(
                    "thing",
                    "one",
                    "application/vnd.docker.distribution.manifest.v1+prettyjws",
                    SCHEMA_1.as_bytes(),
                )
            },
        ),
        case(
            "manifest: a digest header that lies",
            Either,
            |registry, _| {
                registry.fault(Rule::always(What::Manifest, DigestHeader(digest(b"lie"))))
            },
        ),
        case(
            "manifest: layers and manifests at once",
            Refused(&["layers|manifests"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    manifest["manifests"] = json!([])
                })
            },
        ),
        case(
            "manifest: a layer that nobody has",
            Refused(&["sha256:", "not found|unknown|404"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    manifest["layers"][0]["digest"] = digest(b"nobody").into()
                })
            },
        ),
        case(
            "manifest: a layer of another size",
            Refused(&["sha256:|size"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    manifest["layers"][0]["size"] = 5.into()
                })
            },
        ),
        case(
            "manifest: a digest that is a path",
            Refused(&["digest"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    manifest["layers"][0]["digest"] = "sha256:../../../../../../etc/passwd".into()
                })
            },
        ),
        case(
            "manifest: a negative size",
            Refused(&["127.0.0.1|size|manifest"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    manifest["layers"][0]["size"] = (-1).into()
                })
            },
        ),
        case(
            "manifest: too many layers",
            Refused(&["layers"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    let layer = manifest["layers"][0].clone();
                    manifest["layers"] = vec![layer; 1000].into();
                })
            },
        ),
        case(
            "manifest: fewer layers than the config has",
            Refused(&["layers|diff"]),
            |registry, image| {
                edited(registry, image, |manifest| {
                    manifest["layers"] = json!([manifest["layers"][0]])
                })
            },
        ),
        case(
            "config: other diff ids than the layers have",
            Refused(&["sha256:"]),
            |registry, image| {
                let wrong = Image::with(image.layers.clone(), |config| {
                    config["rootfs"]["diff_ids"][0] = digest(b"other").into()
                });
                registry.serve("thing:one", &wrong);
            },
        ),
        case(
            "index: itself, again and again",
            Refused(&["index|deep|nested|sha256:"]),
            |registry, _| {
                let mut list = index(&[
                    json!({"mediaType": OCI_MANIFEST, "size": 2, "digest": digest(b"{}")}),
                ]);
                for _ in 0..30 {
                    let entry = json!({"mediaType": OCI_INDEX, "size": list.len(), "digest": digest(&list)});
                    list = index(&[entry]);
                    registry.put("thing", "one", OCI_INDEX, &list);
                }
            },
        ),
        case(
            "layer: no gzip, whatever it says",
            Refused(&["gzip|packed|magic|compress"]),
            |registry, _| {
                let tar = Layer::noise(5, 100).tar;
                registry.serve(
                    "thing:one",
                    &Image::new(vec![Layer::of(
                        tar,
                        b"this is no gzip at all".to_vec(),
                        "+gzip",
                    )]),
                );
            },
        ),
        case(
            "layer: half a gzip",
            Refused(&["gzip|end|truncated|sha256|incomplete"]),
            |registry, _| {
                let layer = Layer::noise(5, 100_000);
                let half = layer.blob[..layer.blob.len() / 2].to_vec();
                registry.serve(
                    "thing:one",
                    &Image::new(vec![Layer::of(layer.tar, half, "+gzip")]),
                );
            },
        ),
        case(
            "layer: half a tar",
            Refused(&["end|truncated|tar|short"]),
            |registry, _| {
                let tar = Layer::noise(5, 100_000).tar[..50_000].to_vec();
                let blob = orlop_tests::registry::image::gzip(&tar);
                registry.serve(
                    "thing:one",
                    &Image::new(vec![Layer::of(tar, blob, "+gzip")]),
                );
            },
        ),
    ]
}

const SCHEMA_1: &str = r#"{"schemaVersion":1,"name":"thing","tag":"one","architecture":"amd64","fsLayers":[],"history":[],"signatures":[]}"#;

fn edited(registry: &Registry, image: &Image, edit: fn(&mut serde_json::Value)) {
    registry.serve("thing:one", &image.clone().edited(edit));
}

/// Runs a case; returns what is wrong.
fn attempt(case: &Case) -> Vec<String> {
    let (lade, registry) = (Lade::new(), Registry::new());
    let image = Image::noise(1, 2, 300_000);
    let name = registry.serve("thing:one", &image);
    (case.set)(&registry, &image);
    let begin = Instant::now();
    // A minute of silence is waited for again and again; here once will do.
    let retries = if case.name.contains("silence") {
        "1"
    } else {
        "5"
    };
    let pull = lade.cmd(&["pull", &name]).env("LADE_RETRIES", retries);
    let done = pull.limit(LIMIT).run();
    let took = begin.elapsed();
    let mut wrong = Vec::new();
    let ended = match case.end {
        Fine => (done.rc != 0).then(|| "wanted success".to_owned()),
        Refused(parts) => complaint(&done, &[1], parts),
        Either if done.rc == 0 => None,
        Either => complaint(&done, &[1], &[]),
    };
    wrong.extend(ended.map(|why| format!("{why} ({took:.1?})\n{done}")));
    let ids = lade.ids();
    if done.rc == 0 && !matches!(case.end, Refused(_)) && ids != [image.id()] {
        wrong.push(format!("another image is here: {ids:?}"));
    }
    if done.rc != 0 && !ids.is_empty() {
        wrong.push(format!(
            "an image is here although the pull failed: {ids:?}"
        ));
    }
    let check = lade.cmd(&["system", "check"]).run();
    if check.rc != 0 {
        wrong.push(check.to_string());
    }
    for id in ids {
        let verified = lade.cmd(&["image", "verify", &id]).run();
        if verified.rc != 0 {
            wrong.push(verified.to_string());
        }
    }
    // With an honest registry all is well again, at once.
    registry.mend();
    registry.empty();
    registry.change(|manner| *manner = orlop_tests::registry::Manner::default());
    registry.serve("thing:one", &image);
    let again = lade.cmd(&["pull", &name]).run();
    if again.rc != 0 {
        wrong.push(format!("afterwards, with an honest registry:\n{again}"));
    }
    wrong
}

/// Tries cases side by side: most of their time is waiting.
fn table(cases: &[Case]) {
    let (queue, failures) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().must("the queue").next();
                    let Some(case) = next else { break };
                    let tried = std::panic::catch_unwind(|| attempt(case));
                    let wrong = tried.unwrap_or_else(|_| vec!["see the panic above".to_owned()]);
                    if !wrong.is_empty() {
                        let text = format!("== {}\n{}", case.name, wrong.join("\n"));
                        failures.lock().must("the list").push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().must("the list");
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n\n")
    );
}

#[test]
fn connections_that_break_or_say_nothing() {
    table(&connections());
}

#[test]
fn contents_that_are_not_what_they_should_be() {
    table(&contents());
}

#[test]
fn parts_statuses_challenges_and_redirects() {
    table(&parts::cases());
}
