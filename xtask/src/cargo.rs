//! Reads the description of the workspace from cargo, and runs cargo.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::exec;

/// The package of the kernel programs. Cargo cannot build it for the host; only the agent's build script builds it.
pub(crate) const KERNEL_PACKAGE: &str = "ebb-ebpf";

/// The package of the programs that tests, measurements and the demonstration start, such as the sample server.
pub(crate) const FIXTURES_PACKAGE: &str = "ebb-fixtures";

/// The test program with all tests that need root, a kernel and other programs.
pub(crate) const INTEGRATION: &str = "integration";

/// The test program of the end-to-end tests in a cluster. It has the same requirements as the integration tests.
pub(crate) const CLUSTER: &str = "e2e";

/// The packages of the programs for users.
pub(crate) const PROGRAM_PACKAGES: [&str; 4] =
    ["ebb", "ebb-agent", "ebb-autoscaler", "ebb-activator"];

/// The packages of the programs that run in a cluster.
pub(crate) const IMAGE_PACKAGES: [&str; 3] = ["ebb-agent", "ebb-autoscaler", "ebb-activator"];

/// The fields of `cargo metadata` that are used here.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the workspace.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// The folder of cargo's build output.
    #[serde(rename = "target_directory")]
    target: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    /// Reads the workspace from `cargo metadata`, because cargo's configuration can change the paths.
    pub(crate) fn find() -> Result<Self> {
        // Cargo sets CARGO_MANIFEST_DIR when it runs this program. The value at compile time is only the fallback: if
        // several clones share a target directory, it may be the folder of another clone.
        let here =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = Path::new(&here).join("Cargo.toml");
        let text = exec::output(
            cargo()
                .args([
                    "metadata",
                    "--no-deps",
                    "--format-version=1",
                    "--manifest-path",
                ])
                .arg(&manifest),
        )
        .with_context(|| format!("cargo metadata of {} failed", manifest.display()))?;
        serde_json::from_str(&text).context("the output of cargo metadata has an unexpected form")
    }

    /// Returns the files in git whose path matches one of `patterns`, or all files if there is no pattern. The paths are
    /// relative to the folder of the workspace. In a pattern, `*` matches `/` too.
    pub(crate) fn files(&self, patterns: &[&str]) -> Result<Vec<String>> {
        let mut git = Command::new("git");
        git.current_dir(&self.root).arg("ls-files").args(patterns);
        let files = exec::output(&mut git).context("git ls-files failed")?;
        Ok(files.lines().map(str::to_owned).collect())
    }

    /// Returns the folder of the programs that are built with the dev profile.
    pub(crate) fn bin_dir(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Returns the folder in which clippy checks the kernel programs, beside their build folder.
    pub(crate) fn kernel_lint_dir(&self) -> PathBuf {
        self.target.join("bpf").join("lints")
    }

    /// Returns the folder in which the image of the programs is built.
    pub(crate) fn image_dir(&self) -> PathBuf {
        self.target.join("image")
    }

    /// Returns the build folder of the fuzzers. It is separate, because the fuzzers are built with different flags.
    pub(crate) fn fuzz_dir(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    /// Returns the names of all test programs (the `tests/` folders of packages).
    pub(crate) fn test_programs(&self) -> impl Iterator<Item = &str> {
        let targets = self.packages.iter().flat_map(|package| &package.targets);
        targets
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .map(|target| target.name.as_str())
    }

    /// Returns a cargo command that runs in the workspace.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = cargo();
        command.args(args).current_dir(&self.root);
        command
    }
}

/// Returns a command for the cargo that runs this program, or otherwise for the cargo on `PATH`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // These environment variables describe the build of xtask itself. If the new cargo inherited them, it would treat
    // them as changes and rebuild everything.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the host's target triple.
pub(crate) fn host() -> Result<String> {
    let about = exec::output(Command::new("rustc").arg("-vV")).context("rustc -vV failed")?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
