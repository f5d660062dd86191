//! The memory limit of this process.
//!
//! The limit is the smallest of three values: the limit of the process' own cgroup, the limits of the readable
//! ancestors of that cgroup, and the machine's memory. Failure mode: if none of them can be read, the limit is
//! [`UNKNOWN`].

use std::fs;
use std::path::{Path, PathBuf};

/// The limit in bytes if no limit can be read. It is the memory limit of the Deployment in `deploy/`.
const UNKNOWN: usize = 600 << 20;

/// Returns the memory limit of this process, in bytes.
pub(super) fn memory() -> usize {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of_cgroup = of_cgroup(Path::new("/sys/fs/cgroup"), &own);
    of_cgroup
        .into_iter()
        .chain(of_machine(&machine))
        .min()
        .unwrap_or(UNKNOWN)
}

/// Returns the smallest limit of the process' cgroup and its ancestors. `own` is the content of `/proc/self/cgroup`
/// (<https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files>).
fn of_cgroup(root: &Path, own: &str) -> Option<usize> {
    let read = |file: PathBuf| -> Option<usize> {
        // The file of a cgroup without a limit contains `max`. It does not parse as a number, so the result is `None`.
        fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    let path = |line: &str| line.splitn(3, ':').nth(2).unwrap_or_default().to_owned();
    let unified = own.lines().find(|line| line.starts_with("0::")).map(path);
    let of_unified = unified.iter().flat_map(|path| {
        let inside = root.join(path.trim_start_matches('/'));
        let limits: Vec<_> = inside
            .ancestors()
            .take_while(|cgroup| cgroup.starts_with(root))
            .filter_map(|cgroup| read(cgroup.join("memory.max")))
            .collect();
        limits
    });
    // With cgroup v1, a container sees its own cgroup as the root, so the limit is in the root's file.
    let of_v1 = read(root.join("memory/memory.limit_in_bytes"));
    of_unified.chain(of_v1).min()
}

/// Returns `MemTotal` of `/proc/meminfo` in bytes.
fn of_machine(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("ebb-limit-{}", std::process::id()));
        let inside = root.join("kubepods/pod1/c1");
        fs::create_dir_all(&inside).unwrap();
        let own = "1:name=systemd:/x\n0::/kubepods/pod1/c1\n";
        assert_eq!(of_cgroup(&root, own), None);
        fs::write(inside.join("memory.max"), "max\n").unwrap();
        assert_eq!(of_cgroup(&root, own), None);
        fs::write(root.join("kubepods/pod1/memory.max"), "629145600\n").unwrap();
        assert_eq!(of_cgroup(&root, own), Some(600 << 20));
        fs::write(root.join("kubepods/memory.max"), "1000\n").unwrap();
        assert_eq!(of_cgroup(&root, own), Some(1000));
        // In a container, the root is the container's own cgroup, so the root has a limit, too.
        fs::write(root.join("memory.max"), "900").unwrap();
        assert_eq!(of_cgroup(&root, "0::/\n"), Some(900));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_machine_tells_how_much_it_has() {
        let meminfo = "MemTotal:       16384 kB\nMemFree:  1 kB\n";
        assert_eq!(of_machine(meminfo), Some(16 << 20));
        assert_eq!(of_machine("nothing"), None);
        assert!(memory() > 0);
    }
}
