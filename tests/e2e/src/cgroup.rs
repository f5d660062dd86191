//! The cgroups of a node, in the layout of the kubelet's systemd driver and containerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ebb_fixtures::TestCgroup;

/// The cgroups of the pods of all nodes of a test.
#[derive(Debug)]
pub struct Tree(TestCgroup);

impl Tree {
    /// # Panics
    /// If the cgroup cannot be created.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "`new` creates a directory, so the type must not implement `Default`"
    )]
    pub fn new() -> Self {
        let this = Self(TestCgroup::new());
        sweep(this.0.path());
        this
    }

    /// Returns the cgroup folder that the agents use as the root of the cgroup v2 mount.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.0.path()
    }

    /// Creates the cgroup of a pod's only container. Returns the cgroup's folder and the container's id.
    ///
    /// # Panics
    /// If the cgroup cannot be created.
    #[must_use]
    pub fn container(&self, pod_uid: &str) -> (PathBuf, String) {
        let id = format!("{:0>64}", pod_uid.replace('-', ""));
        let slice = format!("kubepods-burstable-pod{}.slice", pod_uid.replace('-', "_"));
        let folder = self
            .root()
            .join("kubepods.slice/kubepods-burstable.slice")
            .join(slice)
            .join(format!("cri-containerd-{id}.scope"));
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        (folder, id)
    }

    /// Removes the cgroups of a container and of its pod.
    pub fn remove(&self, container: &Path) {
        fs::write(container.join("cgroup.kill"), "1").ok();
        for _ in 0..200 {
            if fs::remove_dir(container).is_ok() || !container.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        if let Some(pod) = container.parent() {
            fs::remove_dir(pod).ok();
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::write(self.root().join("cgroup.kill"), "1").ok();
        for _ in 0..500 {
            remove_below(self.root());
            if folders(self.root()).next().is_none() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Removes the cgroup trees of test runs whose process has ended.
fn sweep(ours: &Path) {
    let Some(mount) = ours.parent() else { return };
    for folder in folders(mount) {
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        let owner = name
            .strip_prefix("ebb-test-")
            .and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            remove_below(&folder);
            fs::remove_dir(&folder).ok();
        }
    }
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
}

fn remove_below(path: &Path) {
    for folder in folders(path) {
        remove_below(&folder);
        fs::remove_dir(&folder).ok();
    }
}
