//! Locates the cgroup that kubelet creates for a pod.
//!
//! The path is built as kubelet builds it, for each of kubelet's two cgroup drivers, and its existence is checked. The
//! tree is not searched: another directory whose name contains a pod's uid is never taken for the pod's cgroup. Only
//! the pod's own directory is used. The container cgroups of containerd (`cri-containerd-….scope`) and CRI-O
//! (`crio-….scope`, `crio-conmon-….scope`) are below it.
//!
//! Failure mode: if the cgroup is not found, the pod is reported as waiting. The cgroup is never found with a kubelet
//! that creates no cgroups for pods (`--cgroups-per-qos=false`), and for static pods, whose cgroup names have another
//! uid than the API.

use std::path::{Path, PathBuf};

/// A pod's quality of service class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    /// Parses `status.qosClass`.
    pub(crate) fn parse(class: &str) -> Option<Self> {
        match class {
            "Guaranteed" => Some(Self::Guaranteed),
            "Burstable" => Some(Self::Burstable),
            "BestEffort" => Some(Self::BestEffort),
            _ => None,
        }
    }

    /// Returns the name of the class's directory in the cgroup tree. The class `Guaranteed` has no directory.
    fn level(self) -> Option<&'static str> {
        match self {
            Self::Guaranteed => None,
            Self::Burstable => Some("burstable"),
            Self::BestEffort => Some("besteffort"),
        }
    }
}

/// The layout of kubelet's cgroup tree.
#[derive(Clone, Debug)]
pub(crate) struct Kubelet {
    /// Mount point of cgroup v2.
    root: PathBuf,
    /// Kubelet's `--cgroup-root`, one element per directory.
    above: Vec<String>,
}

impl Kubelet {
    /// Creates the layout. `root` is the mount point of cgroup v2; `cgroup_root` is kubelet's `--cgroup-root` (`/` by
    /// default).
    pub(crate) fn new(root: PathBuf, cgroup_root: &str) -> Self {
        let above = cgroup_root
            .split('/')
            .filter(|level| !level.is_empty())
            .map(str::to_owned)
            .collect();
        Self { root, above }
    }

    /// Returns the directory of a pod's cgroup if it exists.
    pub(crate) fn find(&self, uid: &str, qos: Option<Qos>) -> Option<PathBuf> {
        // If the class of the pod is unknown, the directories of all classes are tried.
        let classes = match qos {
            Some(qos) => vec![qos],
            None => Qos::ALL.to_vec(),
        };
        classes
            .into_iter()
            .flat_map(|qos| {
                let levels = self.levels(uid, qos);
                [self.by_systemd(&levels), self.by_cgroupfs(&levels)]
            })
            .find(|path| path.is_dir())
    }

    /// Returns whether this cgroup tree contains kubelet's directory for pods (`kubepods`).
    pub(crate) fn is_used(&self) -> bool {
        let levels = self.pods();
        self.by_systemd(&levels).is_dir() || self.by_cgroupfs(&levels).is_dir()
    }

    /// Returns the path `…/kubepods[/burstable]/podUID`, one element per directory.
    fn levels(&self, uid: &str, qos: Qos) -> Vec<String> {
        let mut levels = self.pods();
        levels.extend(qos.level().map(str::to_owned));
        levels.push(format!("pod{uid}"));
        levels
    }

    fn pods(&self) -> Vec<String> {
        let mut levels = self.above.clone();
        levels.push("kubepods".to_owned());
        levels
    }

    fn by_cgroupfs(&self, levels: &[String]) -> PathBuf {
        levels
            .iter()
            .fold(self.root.clone(), |path, level| path.join(level))
    }

    /// Builds a path for the systemd driver. The name of a slice contains the names of all slices above it, joined by
    /// dashes; a dash in a name becomes an underscore (systemd.slice(5), kubelet's `NewCgroupName` and `ToSystemd`).
    fn by_systemd(&self, levels: &[String]) -> PathBuf {
        let mut name = String::new();
        let mut path = self.root.clone();
        for level in levels {
            if !name.is_empty() {
                name.push('-');
            }
            name.push_str(&level.replace('-', "_"));
            path.push(format!("{name}.slice"));
        }
        path
    }
}

/// Returns whether kubelet places the cgroups of pods in a cgroup v1 tree. A cgroup v2 tree may exist, too.
pub(crate) fn is_v1(mounts: &str, cgroup_root: &str) -> bool {
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, file_system)| file_system.starts_with("cgroup "))
        .filter_map(|(fields, _)| fields.split(' ').nth(4))
        .any(|mount| Kubelet::new(Path::new(mount).into(), cgroup_root).is_used())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

    /// Container cgroups from real nodes: (driver and runtime, kubelet's `--cgroup-root`, class, path).
    const NODES: [(&str, &str, Qos, &str); 8] = [
        (
            "systemd, containerd",
            "/",
            Qos::Burstable,
            "kubepods.slice/kubepods-burstable.slice/\
             kubepods-burstable-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/cri-containerd-0f1e.scope",
        ),
        (
            "systemd, CRI-O",
            "/",
            Qos::BestEffort,
            "kubepods.slice/kubepods-besteffort.slice/\
             kubepods-besteffort-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/crio-0f1e.scope/container",
        ),
        (
            "systemd, guaranteed",
            "",
            Qos::Guaranteed,
            "kubepods.slice/kubepods-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/crio-conmon-0f1e.scope",
        ),
        (
            "systemd, with kubelet's --cgroup-root (kind)",
            "/kubelet",
            Qos::Burstable,
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-pod6ba7b810_9dad_11d1_80b4_00c04fd430c8.slice/cri-containerd-0f1e.scope",
        ),
        (
            "cgroupfs, containerd",
            "/",
            Qos::Burstable,
            "kubepods/burstable/pod6ba7b810-9dad-11d1-80b4-00c04fd430c8/0f1e",
        ),
        (
            "cgroupfs, CRI-O",
            "/",
            Qos::BestEffort,
            "kubepods/besteffort/pod6ba7b810-9dad-11d1-80b4-00c04fd430c8/crio-0f1e",
        ),
        (
            "cgroupfs, guaranteed",
            "/",
            Qos::Guaranteed,
            "kubepods/pod6ba7b810-9dad-11d1-80b4-00c04fd430c8/0f1e",
        ),
        (
            "cgroupfs, with kubelet's --cgroup-root",
            "/nodes/a",
            Qos::Burstable,
            "nodes/a/kubepods/burstable/pod6ba7b810-9dad-11d1-80b4-00c04fd430c8/0f1e",
        ),
    ];

    #[test]
    fn a_pod_is_found_on_every_kind_of_node() {
        for (node, cgroup_root, qos, container) in NODES {
            let root = tempfile::tempdir().unwrap();
            let container = root.path().join(container);
            fs::create_dir_all(&container).unwrap();
            let pod = container
                .ancestors()
                .find(|path| {
                    let name = path.file_name().unwrap().to_string_lossy().into_owned();
                    name.contains("pod6ba7b810")
                })
                .unwrap();
            let kubelet = Kubelet::new(root.path().into(), cgroup_root);
            assert_eq!(kubelet.find(UID, Some(qos)).as_deref(), Some(pod), "{node}");
            assert_eq!(kubelet.find(UID, None).as_deref(), Some(pod), "{node}");
            assert!(kubelet.is_used(), "{node}");
            let others = Qos::ALL.into_iter().filter(|other| *other != qos);
            for other in others {
                assert_eq!(kubelet.find(UID, Some(other)), None, "{node}");
            }
            let other = "6ba7b810-9dad-11d1-80b4-00c04fd430c9";
            assert_eq!(kubelet.find(other, None), None, "{node}");
            fs::remove_dir_all(pod).unwrap();
            assert_eq!(kubelet.find(UID, None), None, "{node}");
        }
    }

    #[test]
    fn a_node_of_v1_is_known_by_its_trees() {
        let root = tempfile::tempdir().unwrap();
        let (v1, v2) = (root.path().join("memory"), root.path().join("unified"));
        fs::create_dir_all(v1.join("kubepods.slice")).unwrap();
        fs::create_dir_all(&v2).unwrap();
        let mounts = |v1_type: &str| {
            format!(
                "31 30 0:27 / {} rw shared:10 - {v1_type} cgroup rw,memory\n\
                 32 30 0:28 / {} rw shared:11 - cgroup2 cgroup2 rw\n",
                v1.display(),
                v2.display()
            )
        };
        assert!(is_v1(&mounts("cgroup"), "/"));
        // The result is false for a mount of type `cgroup2`, and for a tree without the directory of kubelet's
        // `--cgroup-root`.
        assert!(!is_v1(&mounts("cgroup2"), "/"));
        assert!(!is_v1(&mounts("cgroup"), "/kubelet"));
    }
}
