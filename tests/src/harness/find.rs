//! Finds programs.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The path of one of our own programs: in `EBB_BIN_DIR`, else in cargo's folder of this test's own build. The path is
/// returned whether or not the file exists yet.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let folder = env::var_os("EBB_BIN_DIR").map_or_else(
        || {
            // target/debug/deps/integration-0123456789abcdef -> target/debug
            let test = env::current_exe().expect("the path of the test program");
            let deps = test.parent().expect("a test program lies in a folder");
            deps.parent().expect("cargo's deps folder").to_path_buf()
        },
        PathBuf::from,
    );
    folder.join(name)
}

/// The folder in which envtest's tools install the programs of a control plane.
pub(super) const KUBEBUILDER: &str = "/usr/local/kubebuilder/bin";

/// The folder with the programs of a Kubernetes control plane, if there is one: `KUBEBUILDER_ASSETS`, else envtest's
/// default.
#[must_use]
pub fn control_plane() -> Option<PathBuf> {
    let folder = env::var_os("KUBEBUILDER_ASSETS").unwrap_or_else(|| KUBEBUILDER.into());
    let all = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ];
    let folder = PathBuf::from(folder);
    let whole = all.iter().all(|name| folder.join(name).is_file());
    whole.then_some(folder)
}

/// `kubectl`: next to the control plane if it is there, else on the `PATH`.
#[must_use]
pub fn kubectl() -> Option<PathBuf> {
    let beside = control_plane().map(|folder| folder.join("kubectl"));
    beside
        .filter(|program| program.is_file())
        .or_else(|| tool("kubectl"))
}

/// A third-party program. The `sbin` folders are searched too: nginx is installed there, and not every root has them on the
/// `PATH`.
pub(super) fn tool(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// A Python that can import `module`. Debian's is preferred to another one earlier on the `PATH`, because it has the
/// modules of Debian's packages.
pub(super) fn python(module: &str) -> Option<PathBuf> {
    [Some(PathBuf::from("/usr/bin/python3")), tool("python3")]
        .into_iter()
        .flatten()
        .filter(|python| python.is_file())
        .find(|python| {
            Command::new(python)
                .args(["-c", &format!("import {module}")])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
}

/// An npm package, in the folder outside the checkout in which `cargo xtask setup --tests` installs it.
#[must_use]
pub fn npm(package: &str) -> PathBuf {
    let modules = ebb_ebpf_build::cache_dir().join("npm/node_modules");
    modules.join(package)
}
