//! Finds a compiler for the BPF target and builds the kernel programs with it.
//!
//! `agent/build.rs` uses this crate to build the object file that it embeds. `cargo xtask setup` uses this crate to
//! install what [`find`] reports as missing. `aya-build` does a similar job, but for a rustup nightly only, and once
//! per host profile. This crate also works with Debian's compiler (some build machines cannot download a nightly), and
//! all profiles share one build.
//!
//! Bias: errors explain. If something is missing, the error says what was looked for, what was found, and which command
//! installs the missing part. No step is ever skipped silently.

mod compile;
mod compiler;
mod linker;
mod toolchain;

pub use compile::{BuildError, build};
pub use compiler::{Compiler, MIN_RUSTC, Origin, compilers};
pub use linker::{LINKER_LLVM, LINKER_VERSION, Linker, cache_dir, linker};
pub use toolchain::{Missing, Toolchain, find};
