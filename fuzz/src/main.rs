//! One target under libFuzzer, chosen by the variable `FUZZ_TARGET`; see `make fuzz`.
#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names = TARGETS.each_ref().map(|target| target.name);
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET {name:?} must be one of {names:?}"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.run(data));
