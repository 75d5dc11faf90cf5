//! libFuzzer's driver, for the target that `ORLOP_FUZZ` names. Built by hack/fuzz, with instrumentation.
#![no_main]

use std::sync::LazyLock;

use orlop_fuzz::{TARGETS, Target, json};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("ORLOP_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("ORLOP_FUZZ={name:?} is no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));

libfuzzer_sys::fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
    // Half of the time: JSON is a shape that changes of single bytes mostly break.
    if TARGET.json && seed.is_multiple_of(2) {
        if let Some(text) = json::mutate(&bytes[..size], most, seed) {
            bytes[..text.len()].copy_from_slice(&text);
            return text.len();
        }
    }
    libfuzzer_sys::fuzzer_mutate(bytes, size, most)
});

libfuzzer_sys::fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    let crossed = TARGET
        .json
        .then(|| json::cross(one, other, out.len(), seed));
    // Nothing: libFuzzer does something else then.
    crossed.flatten().map_or(0, |text| {
        out[..text.len()].copy_from_slice(&text);
        text.len()
    })
});
