//! Finds a compiler for the BPF target and builds the kernel programs with it.
//!
//! Used by `agent/build.rs`, which embeds the object, and by `cargo xtask setup`, which installs what
//! [`find`] misses. `aya-build` does the same job for a rustup nightly only, and once per host
//! profile; here Debian's own compiler serves too (there are build machines that no nightly
//! reaches), and all profiles share one build.
//!
//! Bias: an answer in words. Whatever is missing, the error says what was looked for, what was
//! found instead, and the command that mends it; nothing is ever skipped silently.

mod compile;
mod compiler;
mod linker;
mod toolchain;

pub use compile::{BuildError, build};
pub use compiler::{Compiler, MIN_RUSTC, Origin, compilers};
pub use linker::{LINKER_LLVM, LINKER_VERSION, Linker, cache_dir, linker};
pub use toolchain::{Missing, Toolchain, find};
