//! Debian's kernels: fetched with apt, unpacked and cached, never installed.
//!
//! Each kernel has a separate package list, because the list of the system contains only one release. A fetched kernel
//! is used until the user requests an update, so test runs use the same kernels until then.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::apt::{Apt, create};

/// A kernel version, and the Debian release that contains it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Release {
    /// The part of the kernel version that does not change within the release.
    pub(crate) version: &'static str,
    pub(super) suite: &'static str,
}

/// All kernels, from the oldest that Ebb supports to Debian's newest.
pub(crate) const KERNELS: &[Release] = &[
    Release {
        version: "5.10",
        suite: "bullseye",
    },
    Release {
        version: "6.1",
        suite: "bookworm",
    },
    Release {
        version: "6.12",
        suite: "trixie",
    },
    Release {
        version: "7",
        suite: "sid",
    },
];

impl Release {
    /// Finds the release of a version such as `5.10`, `6.12.9` or `7.x`.
    pub(crate) fn find(version: &str) -> Option<&'static Self> {
        KERNELS.iter().find(|release| {
            version
                .strip_prefix(release.version)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

/// Modules that the checks need: the network emulator (netem).
const MODULES: [&str; 1] = ["sch_netem"];

/// A kernel in the cache.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// The version of the kernel, as in [`Release`].
    pub(super) version: &'static str,
    /// The kernel image to boot.
    pub(super) image: PathBuf,
    /// The modules to load.
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// Returns the kernel of a release, from the cache or otherwise from Debian. If `update` is set, the cache is not
    /// used.
    ///
    /// # Errors
    /// Returns an error if Debian cannot be reached or no longer contains the kernel.
    pub(crate) fn get(release: &Release, update: bool) -> Result<Self> {
        let all = ebb_ebpf_build::cache_dir().join("kernels");
        let folder = all.join(release.version);
        if !update && let Some(kernel) = Self::kept(release, &folder) {
            return Ok(kernel);
        }
        fetch(release, &all, &folder)
            .with_context(|| format!("Debian's kernel {} cannot be fetched", release.version))?;
        Self::kept(release, &folder).context("the package lacks the kernel or a module")
    }

    fn kept(release: &Release, folder: &Path) -> Option<Self> {
        let image = folder.join(IMAGE);
        let files = files_below(folder);
        let modules: Option<Vec<_>> = MODULES
            .iter()
            .map(|name| files.iter().find(|file| is_module(file, name)).cloned())
            .collect();
        image.is_file().then_some(Self {
            version: release.version,
            image,
            modules: modules?,
        })
    }
}

const IMAGE: &str = "vmlinuz";

/// Fetches a kernel into a new folder, which replaces `folder` when it is complete.
fn fetch(release: &Release, all: &Path, folder: &Path) -> Result<()> {
    let work = all.join(format!("{}.new", release.version));
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    }
    let apt = Apt::new(release, &work.join("apt"))?;
    apt.update()?;
    let packages = apt.kernel_packages()?;
    let unpacked = work.join("unpacked");
    apt.unpack(&packages, &unpacked)?;

    let ready = work.join("ready");
    create(&ready)?;
    for file in files_below(&unpacked) {
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        // The kernel image is `/boot/vmlinuz-VERSION`, or `vmlinuz` beside the modules.
        let to = if name.starts_with(IMAGE) {
            IMAGE
        } else if MODULES.iter().any(|module| is_module(&file, module)) {
            name
        } else {
            continue;
        };
        fs::copy(&file, ready.join(to)).with_context(|| file.display().to_string())?;
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::rename(&ready, folder).with_context(|| folder.display().to_string())?;
    fs::remove_dir_all(&work).with_context(|| work.display().to_string())
}

/// Returns whether `file` is the file of the module `name`: `NAME.ko`, or compressed `NAME.ko.xz`.
fn is_module(file: &Path, name: &str) -> bool {
    file.file_name()
        .and_then(|file| file.to_str())
        .and_then(|file| file.strip_prefix(name))
        .is_some_and(|rest| rest == ".ko" || rest.starts_with(".ko."))
}

/// Returns all files in a folder and its subfolders. A folder that cannot be read counts as empty.
pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&path)),
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_by_what_they_begin_with() {
        let find = |version| Release::find(version).map(|release| release.version);
        assert_eq!(find("6.1"), Some("6.1"));
        assert_eq!(find("6.1.176"), Some("6.1"));
        assert_eq!(find("6.12"), Some("6.12"));
        assert_eq!(find("7.x"), Some("7"));
        assert_eq!(find("6.18"), None);
        assert_eq!(find("70"), None);
    }

    #[test]
    fn modules_are_known_compressed_or_not() {
        assert!(is_module(Path::new("/a/sch_netem.ko"), "sch_netem"));
        assert!(is_module(Path::new("/a/sch_netem.ko.xz"), "sch_netem"));
        assert!(!is_module(Path::new("/a/sch_netem_x.ko"), "sch_netem"));
    }
}
