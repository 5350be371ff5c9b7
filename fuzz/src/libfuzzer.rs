//! Runs libFuzzer on one target. `scripts/fuzz` builds and starts it.
//!
//! - `HAYLOFT_FUZZ_TARGET` names the target.
//! - The file `input` in the temporary folder holds the input that runs. It is what is left of one that overflows its
//!   stack, where libFuzzer writes no file.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs, process};

use hayloft_fuzz::{Target, guarded, target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("HAYLOFT_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("HAYLOFT_FUZZ_TARGET: expected the name of a target, got {name:?}"))
});

static INPUT: LazyLock<PathBuf> = LazyLock::new(|| env::temp_dir().join("input"));

fuzz_target!(|input: &[u8]| {
    fs::write(&*INPUT, input).unwrap_or_else(|error| panic!("{}: {error}", INPUT.display()));
    if let Err(failure) = guarded(&TARGET, input) {
        eprintln!("panicked at {}: {}", failure.place, failure.message);
        process::abort();
    }
});
