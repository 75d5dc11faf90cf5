//! libFuzzer's driver, for the target that `ORLOP_FUZZ` names. Built by hack/fuzz, with instrumentation.
#![no_main]

use std::sync::LazyLock;

use orlop_fuzz::{Shape, TARGETS, Target, json, tar};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ORLOP_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("ORLOP_FUZZ={name:?} is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));

libfuzzer_sys::fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
    // Half of the time: JSON and tar are shapes that changes of single bytes mostly break.
    let changed = match TARGET.shape {
        Shape::Json if seed.is_multiple_of(2) => json::mutate(&bytes[..size], most, seed),
        Shape::Tar if seed.is_multiple_of(2) => tar::mutate(&bytes[..size], most, seed),
        _ => None,
    };
    if let Some(text) = changed {
        bytes[..text.len()].copy_from_slice(&text);
        return text.len();
    }
    let size = libfuzzer_sys::fuzzer_mutate(bytes, size, most);
    if TARGET.shape == Shape::Tar && seed % 4 == 1 {
        tar::mend(&mut bytes[..size]);
    }
    size
});

libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    let crossed = match TARGET.shape {
        Shape::Json => json::cross(one, other, out.len(), seed),
        Shape::Tar => tar::cross(one, other, out.len(), seed),
        Shape::Text => None,
    };
    // Nothing: libFuzzer does something else then.
    crossed.map_or(0, |text| {
        out[..text.len()].copy_from_slice(&text);
        text.len()
    })
});
