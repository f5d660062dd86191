//! The workspace as cargo knows it, and cargo itself.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::exec;

/// The programs for which there is no host: only the agent's build script can build them.
pub(crate) const KERNEL_PACKAGE: &str = "ebb-ebpf";

/// The integration tests and what they need.
pub(crate) const TESTS_PACKAGE: &str = "ebb-tests";

/// Its test program: all that needs root, a kernel and other programs.
pub(crate) const INTEGRATION: &str = "integration";

/// The tests of the programs in a cluster: needs what the integration tests need.
pub(crate) const CLUSTER: &str = "e2e";

/// The packages that hold programs for users.
pub(crate) const PROGRAM_PACKAGES: [&str; 4] =
    ["ebb", "ebb-agent", "ebb-autoscaler", "ebb-activator"];

/// Those of them that run in a cluster.
pub(crate) const IMAGE_PACKAGES: [&str; 3] = ["ebb-agent", "ebb-autoscaler", "ebb-activator"];

/// `cargo metadata`, the parts in use.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the workspace.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Where cargo builds.
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
    /// Asks cargo, which alone knows all that configuration can do to these paths.
    pub(crate) fn find() -> Result<Self> {
        // As cargo says when it runs this: with one target directory for several clones, what was compiled in may be
        // another one's.
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
        serde_json::from_str(&text).context("cargo metadata is not as expected")
    }

    /// Where programs of the dev profile are.
    pub(crate) fn bin_dir(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Where the kernel programs are looked at by clippy, beside where they are built.
    pub(crate) fn kernel_lint_dir(&self) -> PathBuf {
        self.target.join("bpf").join("lints")
    }

    /// Where the image of the programs is put together.
    pub(crate) fn image_dir(&self) -> PathBuf {
        self.target.join("image")
    }

    /// Where the fuzzers are built: with flags of their own, so beside all else.
    pub(crate) fn fuzz_dir(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    /// The names of all test programs (the `tests/` folders of packages).
    pub(crate) fn test_programs(&self) -> impl Iterator<Item = &str> {
        let targets = self.packages.iter().flat_map(|package| &package.targets);
        targets
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .map(|target| target.name.as_str())
    }

    /// A cargo command in the workspace.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = cargo();
        command.args(args).current_dir(&self.root);
        command
    }
}

/// The cargo that runs this, else the one on `PATH`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // These describe this program's own build, and would make an inner build look changed.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// The host's triple.
pub(crate) fn host() -> Result<String> {
    let about = exec::output(Command::new("rustc").arg("-vV")).context("rustc -vV failed")?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
