//! The kernel objects and processes that an `ebb` owns while it lives, so that a test can check that all of them disappear.
//!
//! The list is taken from the living process (its children, their cgroups, the programs and maps among its file
//! descriptors). Each item is then looked up by identity. A comparison of the whole machine before and after would be
//! disturbed by any other `ebb` on it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup::v2_mount;
use super::kernel_ids;
use super::wait::poll;

/// Limit for everything to disappear. The kernel frees programs and maps after a grace period of some milliseconds; a
/// killed process is reaped by the process that inherits it.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The objects that one `ebb` process owns.
#[derive(Debug, Default)]
pub struct Remains {
    /// Process ids with their start times, because an id alone may be reused by another process.
    processes: BTreeSet<(u32, u64)>,
    /// Paths of cgroups.
    paths: BTreeSet<PathBuf>,
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
}

impl Remains {
    /// Lists what the process `ebb` owns now.
    ///
    /// # Panics
    /// If the process does not live.
    #[must_use]
    pub fn of(ebb: u32) -> Self {
        let mut remains = Self::default();
        let me = started(ebb).expect("a living ebb");
        remains.processes.insert((ebb, me));
        remains.descriptors(ebb);
        for replica in children(ebb) {
            // A child that is still being started has its parent's cgroup and no name of its own.
            if let Some(start) = started(replica) {
                remains.processes.insert((replica, start));
                remains.cgroup_of(replica);
            }
        }
        remains
    }

    /// How many replicas there were.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.processes.len() - 1
    }

    /// How many programs were loaded.
    #[must_use]
    pub fn programs(&self) -> usize {
        self.programs.len()
    }

    /// # Panics
    /// If something is still there after ten seconds.
    #[track_caller]
    pub fn assert_gone(&self) {
        let gone = poll(GONE_WITHIN, || self.still_there().is_empty().then_some(()));
        assert!(gone.is_some(), "remains: {:#?}", self.still_there());
    }

    /// # Panics
    /// If something is gone.
    #[track_caller]
    pub fn assert_there(&self) {
        let all = self.processes.len() + self.paths.len() + self.programs.len() + self.maps.len();
        let there = self.still_there();
        assert_eq!(there.len(), all, "of {self:?} there is {there:?}");
    }

    fn still_there(&self) -> Vec<String> {
        let processes = self
            .processes
            .iter()
            .filter(|(pid, start)| started(*pid) == Some(*start))
            .map(|(pid, _)| format!("process {pid}"));
        let paths = self
            .paths
            .iter()
            .filter(|path| path.exists())
            .map(|path| path.display().to_string());
        let programs = kernel_ids::programs();
        let programs = programs.intersection(&self.programs);
        let maps = kernel_ids::maps();
        let maps = maps.intersection(&self.maps);
        processes
            .chain(paths)
            .chain(programs.map(|id| format!("program {id}")))
            .chain(maps.map(|id| format!("map {id}")))
            .collect()
    }

    /// Adds the programs and maps among a process' file descriptors.
    fn descriptors(&mut self, pid: u32) {
        let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"));
        for entry in entries.into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
                if let Ok(id) = value.trim().parse() {
                    match key {
                        "prog_id" => drop(self.programs.insert(id)),
                        "map_id" => drop(self.maps.insert(id)),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Adds the cgroup of a replica, and the cgroup of its run above it.
    fn cgroup_of(&mut self, replica: u32) {
        let text = fs::read_to_string(format!("/proc/{replica}/cgroup")).unwrap_or_default();
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let (Some(mount), Some(own)) = (v2_mount(), own) else {
            return;
        };
        let mut path = mount.join(own);
        while path != mount {
            self.paths.insert(path.clone());
            if is_run(&path) {
                break;
            }
            path.pop();
        }
    }
}

/// Cgroups of dead runs: a living run holds a lock on its own cgroup.
///
/// # Panics
/// If there is no cgroup v2.
#[must_use]
pub fn dead_runs() -> Vec<String> {
    // The locks are looked up in `/proc/locks`. Trying to take one, even for a moment, could make a starting run give up on
    // its directory. A line: "1: FLOCK  ADVISORY  WRITE 708 00:26:13548 0 EOF".
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let held: BTreeSet<_> = locks
        .split_whitespace()
        .filter_map(|field| field.rsplit_once(':')?.1.parse::<u64>().ok())
        .collect();
    let runs = v2_mount().expect("cgroup v2 is mounted").join("ebb");
    fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_run(path))
        .filter(|path| fs::metadata(path).is_ok_and(|meta| !held.contains(&meta.ino())))
        .map(|path| path.display().to_string())
        .collect()
}

fn is_run(cgroup: &Path) -> bool {
    cgroup
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("run-"))
}

/// The direct children of a process.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The start time of a process, in clock ticks since boot. `None` if there is no such process, or only its zombie.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may contain any character, so fields are counted from its end. proc(5).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    (state != "Z").then_some(start)
}
