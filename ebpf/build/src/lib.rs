//! Finds a compiler for the BPF target and builds the kernel programs with it.
//!
//! Used by `agent/build.rs`, which embeds the object file, and by `cargo xtask setup`, which installs what [`find`] reports as
//! missing. `aya-build` does the same job for a rustup nightly only, and once per host profile. Here Debian's own compiler works,
//! too (there are build machines that no nightly reaches), and all profiles share one build.
//!
//! Bias: an explanation. If something is missing, the error says what was looked for, what was found instead, and which command
//! installs it. Nothing is ever skipped silently.

mod compile;
mod compiler;
mod linker;
mod toolchain;

pub use compile::{BuildError, build};
pub use compiler::{Compiler, MIN_RUSTC, Origin, compilers};
pub use linker::{LINKER_LLVM, LINKER_VERSION, Linker, cache_dir, linker};
pub use toolchain::{Missing, Toolchain, find};
