//! Builds the kernel programs from within a build script.
//!
//! The build runs a second cargo inside the first one. Three things keep the two apart: a separate target folder (two
//! cargos that share a folder wait for each other forever), an environment without the compiler and wrappers of the
//! outer cargo, and a profile that is set here and not in the workspace. So a change of the workspace's profile does
//! not change the code that the verifier checks.

use std::{
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::toolchain::{Missing, find};

/// Name of the package of the kernel programs, and of its binary.
const PACKAGE: &str = "ebb-ebpf";

/// Reason why the kernel programs were not built.
#[derive(Debug)]
pub enum BuildError {
    /// No toolchain was found.
    Toolchain(Missing),
    /// A variable that cargo sets for every build script is missing.
    NotABuildScript(&'static str),
    /// No BPF target exists for this byte order.
    Endian(String),
    /// A file or a program could not be used: the action that failed, and the cause.
    Io(String, io::Error),
    /// The compilation failed. The compiler's messages are on stderr.
    Failed(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toolchain(missing) => missing.fmt(f),
            Self::NotABuildScript(name) => {
                write!(f, "{name} is not set: the build must run in a build script")
            }
            Self::Endian(endian) => {
                write!(
                    f,
                    "there is no BPF target for the byte order {endian:?}, only for little and big"
                )
            }
            Self::Io(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Failed(with) => {
                write!(
                    f,
                    "the kernel programs do not compile with {with}: see the messages above"
                )
            }
        }
    }
}

// `source()` is not implemented: the text already contains the cause, because a build script prints one line.
impl std::error::Error for BuildError {}

/// Builds the kernel programs of the package in `folder` (relative to the calling package). Returns the path of the
/// object file, a copy in the caller's `OUT_DIR`.
///
/// All host profiles share this build, so the build for a second profile takes well under a second.
///
/// # Errors
/// Fails outside a build script, without a toolchain, or if the programs do not compile.
pub fn build(folder: &str) -> Result<PathBuf, BuildError> {
    let toolchain = find().map_err(BuildError::Toolchain)?;
    let out_dir = PathBuf::from(script_variable("OUT_DIR")?);
    let manifest = Path::new(&script_variable("CARGO_MANIFEST_DIR")?)
        .join(folder)
        .join("Cargo.toml");
    let arch = bpf_arch(&script_variable("CARGO_CFG_TARGET_ARCH")?);
    let target = match script_variable("CARGO_CFG_TARGET_ENDIAN")?.as_str() {
        "little" => "bpfel-unknown-none",
        "big" => "bpfeb-unknown-none",
        other => return Err(BuildError::Endian(other.to_owned())),
    };
    // The architecture is a compiler flag. Each architecture has a separate folder, so that one build does not
    // overwrite another.
    let target_dir = workspace_target(&out_dir).join("bpf").join(&arch);

    let mut cargo = toolchain.compiler.cargo();
    cargo.args(["build", "--release", "--package", PACKAGE, "--bin", PACKAGE]);
    cargo.args(["--target", target, "-Z", "build-std=core"]);
    cargo.arg("--manifest-path").arg(&manifest);
    cargo.arg("--target-dir").arg(&target_dir);
    // If the user's configuration sets `build.build-dir`, both cargos would share this folder. The outer cargo locks
    // the folder, so the inner cargo would wait forever.
    cargo.env("CARGO_BUILD_BUILD_DIR", &target_dir);
    let linker_variable = format!(
        "CARGO_TARGET_{}_LINKER",
        target.to_uppercase().replace('-', "_")
    );
    cargo.env(linker_variable, &toolchain.linker.path);
    // BTF describes the socket-storage maps to the kernel. The linker makes BTF from the debug info.
    let flags = [
        "-Cdebuginfo=2".to_owned(),
        // aya-log writes the path of the source file into each message, character by character: a short path is
        // quicker.
        "--remap-path-prefix=ebpf/programs/src=".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Version 3 of the instruction set has 32-bit registers and jumps, which the verifier follows better. Every
        // kernel from 5.1 on supports it.
        "-Ctarget-cpu=v3".to_owned(),
        format!("--cfg=bpf_target_arch=\"{arch}\""),
    ];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    for (key, value) in [
        ("OPT_LEVEL", "3"),
        ("DEBUG", "2"),
        ("STRIP", "none"),
        ("LTO", "false"),
        ("CODEGEN_UNITS", "1"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }

    // The outer cargo expects directives on stdout. So the output of the inner cargo is written to stderr, which the
    // outer cargo shows when a build script fails.
    cargo.stdin(Stdio::null()).stdout(Stdio::null());
    eprintln!("building the kernel programs with {toolchain}");
    let status = cargo.status().map_err(|error| {
        BuildError::Io(format!("start {}", cargo.get_program().display()), error)
    })?;
    if !status.success() {
        return Err(BuildError::Failed(toolchain.compiler.to_string()));
    }

    let built = target_dir.join(target).join("release").join(PACKAGE);
    let object = out_dir.join(format!("{PACKAGE}.o"));
    fs::copy(&built, &object).map_err(|error| {
        BuildError::Io(
            format!("copy {} to {}", built.display(), object.display()),
            error,
        )
    })?;
    Ok(object)
}

fn script_variable(name: &'static str) -> Result<String, BuildError> {
    env::var(name).map_err(|_| BuildError::NotABuildScript(name))
}

/// Returns aya's name for the architecture whose kernel runs the programs.
fn bpf_arch(target_arch: &str) -> String {
    // Only for riscv64, rustc appends the extensions to the name of the architecture, as in riscv64gc and riscv64a23.
    if target_arch.starts_with("riscv64") {
        "riscv64".to_owned()
    } else {
        target_arch.to_owned()
    }
}

/// Returns the target folder of the workspace, wherever the configuration puts it: cargo marks this folder with a
/// `CACHEDIR.TAG`. Without a marked folder, returns `OUT_DIR` itself, which is always correct but not shared.
fn workspace_target(out_dir: &Path) -> PathBuf {
    let marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
    out_dir
        .ancestors()
        .find(marked)
        .unwrap_or(out_dir)
        .to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_architecture_is_spelled_as_aya_does() {
        assert_eq!(bpf_arch("x86_64"), "x86_64");
        assert_eq!(bpf_arch("riscv64gc"), "riscv64");
    }

    #[test]
    fn without_a_marked_folder_the_build_stays_in_out_dir() {
        let nowhere = Path::new("/nonexistent/target/debug/build/x/out");
        assert_eq!(workspace_target(nowhere), nowhere);
    }
}
