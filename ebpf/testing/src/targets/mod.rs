//! The functions that the fuzzers run, and their first inputs.
//!
//! A target is a function that takes any bytes, and panics at an impossible result. The programs in `fuzz/` only call
//! this function, so that an ordinary test can run it, too.

mod conversation;
mod http1_requests;
mod http1_responses;
mod http2_conversation;
mod http2_frames;
mod packets;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target and of its program.
    pub name: &'static str,
    /// Runs the target with these bytes as input.
    pub run: fn(&[u8]),
    /// Returns the first inputs of the fuzzer.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const ALL: [Target; 5] = [
    http1_requests::TARGET,
    http1_responses::TARGET,
    conversation::TARGET,
    http2_frames::TARGET,
    http2_conversation::TARGET,
];

/// Returns the target of this name.
pub fn named(name: &str) -> Target {
    *ALL.iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no target is called {name}"))
}
