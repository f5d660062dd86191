//! Finds the compilers for the BPF target.
//!
//! Two kinds of compilers are known to work: a rustup nightly with its `rust-src` component, and a distribution's
//! `/usr/bin/rustc` with its library sources (Debian: `rustc-web`, `rust-web-src`). A rustup nightly is preferred: it
//! does not need root.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::linker::Linker;

/// The oldest compiler known to build the kernel programs: 1.96, which Debian 12 ships.
pub const MIN_RUSTC: (u32, u32) = (1, 96);

/// Environment variable that chooses the compiler instead of [`find`]: the name of a rustup toolchain, or `system`.
const CHOICE: &str = "EBB_BPF_TOOLCHAIN";

/// The distribution's compiler. It is not looked up on `PATH`, where rustup's proxy usually hides it.
pub(crate) const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// A candidate for building the kernel programs. It may be too old, or lack a part that the build needs.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The source of the compiler: rustup or the system.
    pub origin: Origin,
    /// Version of the compiler as `rustc -vV` prints it, for example `1.97.0-nightly`.
    pub release: String,
    /// Major version of the compiler's LLVM; 0 if `rustc -vV` prints none.
    pub llvm: u32,
    /// True if the sources of `core` are installed, which `-Z build-std` compiles.
    pub has_sources: bool,
}

/// How a compiler is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A rustup toolchain, started with `rustup run NAME`.
    Rustup(String),
    /// A `rustc` outside rustup, used with the cargo that is running.
    System(PathBuf),
}

impl Compiler {
    fn probe(origin: Origin) -> Option<Self> {
        let rustc = |args: &[&str]| {
            let mut command = match &origin {
                Origin::Rustup(name) => {
                    let mut command = Command::new("rustup");
                    command.args(["run", name, "rustc"]);
                    command
                }
                Origin::System(rustc) => Command::new(rustc),
            };
            output(command.args(args))
        };
        let about = rustc(&["-vV"])?;
        let field = |name: &str| {
            about
                .lines()
                .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        let llvm = field("LLVM version:").and_then(|version| {
            version
                .split('.')
                .next()
                .and_then(|major| major.parse().ok())
        });
        let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?.trim());
        Some(Self {
            release: field("release:")?,
            llvm: llvm.unwrap_or(0),
            // `-Z build-std` needs the sources of the standard library. Cargo, too, finds them by this `Cargo.lock`.
            has_sources: sysroot
                .join("lib/rustlib/src/rust/library/Cargo.lock")
                .is_file(),
            origin,
        })
    }

    /// Returns whether the compiler is at least as new as [`MIN_RUSTC`].
    #[must_use]
    pub fn is_new_enough(&self) -> bool {
        version(&self.release) >= MIN_RUSTC
    }

    /// Returns the reason why this compiler cannot be used with `linker`, or `None` if it can be used.
    #[must_use]
    pub fn objection(&self, linker: Option<&Linker>) -> Option<String> {
        if !self.is_new_enough() {
            return Some(format!(
                "{self} is older than {}.{}",
                MIN_RUSTC.0, MIN_RUSTC.1
            ));
        }
        if !self.has_sources {
            return Some(format!("{self} lacks the sources of the core library"));
        }
        let linked = linker.and_then(|linker| linker.llvm)?;
        (self.llvm > linked).then(|| {
            format!(
                "{self} writes LLVM {} bitcode, but bpf-linker reads at most LLVM {linked}",
                self.llvm
            )
        })
    }

    /// Returns a `cargo` command that uses this compiler, without the variables that an outer cargo has set for its own
    /// compiler.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut command = match &self.origin {
            Origin::Rustup(name) => {
                let mut command = Command::new("rustup");
                command.args(["run", name, "cargo"]);
                command
            }
            Origin::System(_) => {
                Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            }
        };
        for name in [
            "RUSTC",
            "RUSTDOC",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "CARGO_BUILD_TARGET",
        ] {
            command.env_remove(name);
        }
        if let Origin::System(rustc) = &self.origin {
            // A stable compiler accepts `-Z build-std` only if `RUSTC_BOOTSTRAP` is set.
            command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Rustup(name) => write!(f, "rustup's {name} (rustc {})", self.release),
            Origin::System(path) => write!(f, "{} ({})", path.display(), self.release),
        }
    }
}

/// Returns all candidate compilers, the preferred one first.
#[must_use]
pub fn compilers() -> Vec<Compiler> {
    let choice = env::var(CHOICE).ok().filter(|choice| !choice.is_empty());
    let mut origins = Vec::new();
    match choice.as_deref() {
        Some("system") => {}
        Some(name) => origins.push(Origin::Rustup(name.to_owned())),
        None => {
            let listed = output(Command::new("rustup").args(["toolchain", "list", "--quiet"]));
            let mut names: Vec<_> = listed
                .iter()
                .flat_map(|list| list.lines())
                .filter(|name| name.starts_with("nightly"))
                .map(str::to_owned)
                .collect();
            // Dated nightlies come before undated ones, because a user has pinned them. Newer ones come before older
            // ones.
            names.sort_by(|a, b| b.cmp(a));
            names.sort_by_key(|name| !name.starts_with("nightly-2"));
            origins.extend(names.into_iter().map(Origin::Rustup));
        }
    }
    if choice.is_none_or(|choice| choice == "system") && Path::new(SYSTEM_RUSTC).is_file() {
        origins.push(Origin::System(SYSTEM_RUSTC.into()));
    }
    origins.into_iter().filter_map(Compiler::probe).collect()
}

/// Returns the major and the minor version. If the text is not a version, returns (0, 0), which is older than every
/// version.
fn version(release: &str) -> (u32, u32) {
    let mut parts = release.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Returns the stdout of a program, or `None` if the program is missing or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(release: &str, llvm: u32, has_sources: bool) -> Compiler {
        let origin = Origin::Rustup("nightly".to_owned());
        Compiler {
            origin,
            release: release.to_owned(),
            llvm,
            has_sources,
        }
    }

    #[test]
    fn a_compiler_without_sources_or_too_old_is_refused_in_words() {
        let old = compiler("1.95.0", 22, true).objection(None);
        assert_eq!(
            old.as_deref(),
            Some("rustup's nightly (rustc 1.95.0) is older than 1.96")
        );
        let bare = compiler("1.97.0-nightly", 22, false)
            .objection(None)
            .unwrap();
        assert!(
            bare.ends_with("lacks the sources of the core library"),
            "{bare}"
        );
        assert_eq!(compiler("1.96.0", 22, true).objection(None), None);
    }

    #[test]
    fn a_compiler_newer_than_the_linkers_llvm_is_refused() {
        let linker = |llvm| Linker {
            path: "bpf-linker".into(),
            llvm,
        };
        let compiler = compiler("1.101.0-nightly", 23, true);
        let objection = compiler.objection(Some(&linker(Some(22)))).unwrap();
        assert!(
            objection.ends_with("writes LLVM 23 bitcode, but bpf-linker reads at most LLVM 22"),
            "{objection}"
        );
        assert_eq!(compiler.objection(Some(&linker(None))), None);
        assert_eq!(compiler.objection(Some(&linker(Some(23)))), None);
    }
}
