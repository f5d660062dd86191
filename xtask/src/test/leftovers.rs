//! Finds the leftovers of a test run on the machine: processes, cgroups, pins, network namespaces and run files.
//!
//! The state after the tests is compared with the state before them, so that an Ebb that ran before the tests is not
//! reported. An Ebb that was started during the tests uses the same shared folders as the tests: then entries in these
//! folders are not reported, and a message says so. Programs in the kernel are not listed, because only a pin, a
//! process or a cgroup can keep such a program loaded.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::count::Counts;
use crate::{cargo::Workspace, say};

/// Environment variable that marks test runners. Every process that a runner starts inherits the variable, and can be
/// found by it even if the process has become an orphan.
const MARK: &str = "EBB_TEST_RUN";

/// Time limit for removals that are in progress: the kernel removes cgroups and namespaces later than the processes in
/// them.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// Interval between two snapshots while such removals are in progress.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Marks all processes that `command` will start.
pub(super) fn mark(command: &mut Command) {
    command.env(MARK, std::process::id().to_string());
}

/// The processes, cgroups, pins, network namespaces and run files of Ebb on the machine, one line each.
pub(super) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(super) fn take(workspace: &Workspace) -> Self {
        let mut found = BTreeSet::new();
        if let Some(dir) = cgroup_mount() {
            found.extend(named_ebb(&dir, "cgroup"));
        }
        found.extend(named_ebb(Path::new("/sys/fs/bpf"), "pin"));
        found.extend(named_ebb(Path::new("/run/netns"), "network namespace"));
        found.extend(named_ebb(Path::new("/run/ebb"), "run file"));
        found.extend(processes(&workspace.bin_dir()));
        Self(found)
    }

    /// Takes a new snapshot and compares it with this one. Returns the counts of one check, which passed if the new
    /// snapshot has no additional entry. Each additional entry is a failure line.
    pub(super) fn compare(&self, workspace: &Workspace) -> Counts {
        let start = Instant::now();
        let left = loop {
            let now = Self::take(workspace);
            let left: Vec<_> = now.0.difference(&self.0).cloned().collect();
            if left.is_empty() || start.elapsed() > SETTLED_WITHIN {
                break left;
            }
            thread::sleep(LOOK_EVERY);
        };
        let (theirs, left): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|line| is_shared(line) && another_run(&workspace.bin_dir()));
        if !theirs.is_empty() {
            say::note("another ebb runs here, so new entries in the shared folders are ignored");
        }
        left.iter().for_each(|line| say::note(line));
        let mut counts = Counts::one(left.is_empty());
        counts.failures = left
            .into_iter()
            .map(|line| format!("left behind: {line}"))
            .collect();
        counts
    }
}

/// Returns whether a line of a snapshot names a folder `ebb`, which all runs on a machine share, or a path below it.
fn is_shared(line: &str) -> bool {
    Path::new(line)
        .components()
        .any(|part| part.as_os_str() == "ebb")
        && !line.starts_with("process")
}

/// Returns whether an `ebb` process exists that is not from this build and was not started by a test.
fn another_run(bin_dir: &Path) -> bool {
    let ours = processes(bin_dir);
    all_processes().any(|(pid, program)| {
        program.file_name().is_some_and(|name| name == "ebb")
            && !ours.contains(&describe(pid, &program))
    })
}

fn describe(pid: u32, program: &Path) -> String {
    format!("process {pid} {}", program.display())
}

/// Returns all process ids with their programs. Kernel threads and zombies have no program and are not included.
fn all_processes() -> impl Iterator<Item = (u32, PathBuf)> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, fs::read_link(entry.path().join("exe")).ok()?))
        })
}

/// Returns the first mount point of cgroup v2 (a line in proc(5) has fields, then " - ", then the type). Further mounts
/// show the same tree.
fn cgroup_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (fields, _) = mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .find(|(_, kind)| kind.starts_with("cgroup2 "))?;
    fields.split(' ').nth(4).map(PathBuf::from)
}

/// Returns the entries of `dir` with the name `ebb` or `ebb-…`, and all entries below them.
fn named_ebb(dir: &Path, kind: &str) -> Vec<String> {
    let ours = |path: &Path| {
        path.components()
            .filter_map(|part| part.as_os_str().to_str())
            .any(|name| name == "ebb" || name.starts_with("ebb-"))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !ours(&path) {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        // Files in a cgroup are not listed, because the kernel creates them.
        if is_dir || kind != "cgroup" {
            found.push(format!("{kind} {}", path.display()));
        }
        if is_dir {
            found.extend(named_ebb(&path, kind));
        }
    }
    found
}

/// Returns the processes that run a program of this build, or that a marked test started.
fn processes(bin_dir: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}", std::process::id());
    let marked = |pid: u32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|all| {
            all.split(|byte| *byte == 0)
                .any(|one| one == mark.as_bytes())
        })
    };
    let ours = |program: &Path| {
        let name = program.file_name().and_then(|name| name.to_str());
        program.parent() == Some(bin_dir) && name.is_some_and(|name| name.starts_with("ebb"))
    };
    all_processes()
        .filter(|(pid, program)| *pid != std::process::id() && (ours(program) || marked(*pid)))
        .map(|(pid, program)| describe(pid, &program))
        .collect()
}
