//! Runs the fuzz targets on their seeds, and on inputs that the fuzzers have found before.

#![allow(
    clippy::expect_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

use std::{fs, path::Path};

use ebb_parser_testing::targets::{ALL, Target};

/// Returns the contents of all files in a folder. The result is empty if there is no folder.
fn files(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
    paths
        .map(|path| fs::read(path).expect("a file can be read"))
        .collect()
}

/// Approximate number of prefixes that are tried for each input.
const BEGINNINGS: usize = 32;

/// Runs a target on these bytes and on prefixes of them.
fn run(target: Target, bytes: &[u8]) {
    for end in (0..bytes.len()).step_by(1 + bytes.len() / BEGINNINGS) {
        (target.run)(&bytes[..end]);
    }
    (target.run)(bytes);
}

#[test]
fn what_the_fuzzers_begin_with() {
    for target in ALL {
        for seed in (target.seeds)() {
            run(target, &seed);
        }
    }
}

#[test]
fn what_they_have_found() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/found");
    for target in ALL {
        for bytes in files(&found.join(target.name)) {
            run(target, &bytes);
        }
    }
}
