//! Finds a compiler and a linker that work together, or reports what is missing.

use std::fmt;

use crate::{
    compiler::{Compiler, SYSTEM_RUSTC, compilers},
    linker::{Linker, linker},
};

/// A compiler and a linker that work together.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The linker.
    pub linker: Linker,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.compiler, self.linker.path.display())
    }
}

/// The reasons why there is no toolchain for the kernel programs: one text for each missing part.
#[derive(Clone, Debug)]
pub struct Missing(Vec<String>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the kernel programs cannot be built here ({}): run `cargo xtask setup`",
            self.0.join("; ")
        )
    }
}

impl std::error::Error for Missing {}

/// Finds the toolchain for the kernel programs.
///
/// # Errors
/// [`Missing`] lists everything that is missing, not only the first item.
pub fn find() -> Result<Toolchain, Missing> {
    let linker = linker();
    let mut reasons = Vec::new();
    let mut chosen = None;
    for compiler in compilers() {
        match compiler.objection(linker.as_ref()) {
            None => {
                chosen = Some(compiler);
                break;
            }
            Some(objection) => reasons.push(objection),
        }
    }
    if chosen.is_none() && reasons.is_empty() {
        reasons.push(format!("no rustup nightly and no {SYSTEM_RUSTC} found"));
    }
    match (chosen, linker) {
        (Some(compiler), Some(linker)) => Ok(Toolchain { compiler, linker }),
        (chosen, linker) => {
            if chosen.is_some() {
                reasons.clear();
            }
            if linker.is_none() {
                reasons.push("no bpf-linker".to_owned());
            }
            Err(Missing(reasons))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_names_the_command_that_gets_it() {
        let missing = Missing(vec!["no bpf-linker".to_owned()]).to_string();
        assert!(
            missing.ends_with("(no bpf-linker): run `cargo xtask setup`"),
            "{missing}"
        );
    }
}
