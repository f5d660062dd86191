//! What the fuzzers run, and the first bytes they begin with.
//!
//! A target is a function of any bytes that panics where something cannot be. The programs in `fuzz/` only
//! hand them on, so that an ordinary test can run the same.

mod arrivals;
mod conversation;
mod http1_requests;
mod http1_responses;
mod http2_conversation;
mod http2_frames;

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, that of its program.
    pub name: &'static str,
    /// Tries these bytes.
    pub run: fn(&[u8]),
    /// Bytes to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const ALL: [Target; 5] = [
    http1_requests::TARGET,
    http1_responses::TARGET,
    conversation::TARGET,
    http2_frames::TARGET,
    http2_conversation::TARGET,
];

/// The one of this name.
pub fn named(name: &str) -> Target {
    *ALL.iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no target is called {name}"))
}
