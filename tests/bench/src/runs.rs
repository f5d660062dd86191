//! Number and duration of the runs of the programs on a cgroup, as the kernel measures them.
//!
//! The source is `/proc/PID/fdinfo` of the process that owns the links (Linux 5.8). It shows the program and the cgroup
//! of each link, and the runs of each program. So the measured programs are found by their links, whatever their names,
//! and no object of another process has to be opened. The time of a program includes the programs that it tail-calls.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Add, Sub},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, bail};

use super::bpf::Hook;

/// `BPF_CGROUP_INET_SOCK_RELEASE`: the attach type of programs that run when a socket is released, once per connection.
/// Their runs are added to those of sock_ops, which also runs when a connection closes.
const SOCK_RELEASE: u32 = 34;

/// Number and total time of the runs of one or more eBPF programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) count: u64,
    /// Total time of the runs, in ns.
    pub(super) time: u64,
}

impl Runs {
    /// Returns the time per run, in ns; NaN if there are no runs.
    pub(super) fn each(self) -> f64 {
        self.time as f64 / self.count as f64
    }
}

impl Add for Runs {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            time: self.time + other.time,
        }
    }
}

impl Sub for Runs {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            count: self.count - earlier.count,
            time: self.time - earlier.time,
        }
    }
}

/// The runs of the eBPF programs on one cgroup, by hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hooks {
    pub(super) ingress: Runs,
    pub(super) egress: Runs,
    pub(super) sock_ops: Runs,
}

impl Hooks {
    /// Returns how often and how long the programs that process `pid` has attached to `cgroup` have run so far.
    ///
    /// # Errors
    /// If the process has attached no program to `cgroup`, or does not exist.
    pub(super) fn read(pid: u32, cgroup: &Path) -> Result<Self> {
        let id = fs::metadata(cgroup)
            .with_context(|| cgroup.display().to_string())?
            .ino();
        let folder = format!("/proc/{pid}/fdinfo");
        let mut links = Vec::new();
        let mut programs = BTreeMap::new();
        for entry in fs::read_dir(&folder).context(folder.clone())? {
            // Skips a file descriptor that was closed after the folder was read.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            match KernelObject::parse(&text) {
                Some(KernelObject::Link(link)) if link.cgroup == id => links.push(link),
                Some(KernelObject::Program { id, runs }) => {
                    programs.insert(id, runs);
                }
                _ => {}
            }
        }
        if links.is_empty() {
            bail!("process {pid} has no program on {}", cgroup.display());
        }
        let mut hooks = Self::default();
        for link in links {
            let Some(runs) = programs.get(&link.program) else {
                bail!("process {pid} has closed its program {}", link.program);
            };
            let hook = match link.attach_type {
                hook if hook == Hook::Ingress as u32 => &mut hooks.ingress,
                hook if hook == Hook::Egress as u32 => &mut hooks.egress,
                hook if hook == Hook::SockOps as u32 || hook == SOCK_RELEASE => &mut hooks.sock_ops,
                other => bail!("unknown attach type {other} of a program on the cgroup"),
            };
            *hook = *hook + *runs;
        }
        Ok(hooks)
    }

    /// Returns the sum of the runs of all hooks.
    pub(super) fn total(self) -> Runs {
        self.ingress + self.egress + self.sock_ops
    }
}

impl Sub for Hooks {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        Self {
            ingress: self.ingress - earlier.ingress,
            egress: self.egress - earlier.egress,
            sock_ops: self.sock_ops - earlier.sock_ops,
        }
    }
}

/// A link, which attaches a program to a cgroup. `program` and `cgroup` are ids.
#[derive(Debug, PartialEq, Eq)]
struct Link {
    program: u32,
    cgroup: u64,
    attach_type: u32,
}

/// The kernel object that an fdinfo file describes.
#[derive(Debug, PartialEq, Eq)]
enum KernelObject {
    Link(Link),
    Program { id: u32, runs: Runs },
}

impl KernelObject {
    /// Parses an fdinfo file. The keys are those of `bpf_link_show_fdinfo`, `bpf_cgroup_link_show_fdinfo` and
    /// `bpf_prog_show_fdinfo` (kernel/bpf/syscall.c and cgroup.c).
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.trim())
        };
        let program = field("prog_id")?.parse().ok()?;
        if field("link_type").is_some() {
            return Some(Self::Link(Link {
                program,
                cgroup: field("cgroup_id")?.parse().ok()?,
                attach_type: field("attach_type")?.parse().ok()?,
            }));
        }
        Some(Self::Program {
            id: program,
            runs: Runs {
                count: field("run_cnt")?.parse().ok()?,
                time: field("run_time_ns")?.parse().ok()?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_descriptor_is_read() {
        let program = "pos:\t0\nprog_type:\t8\nprog_id:\t8606\nrun_time_ns:\t900\nrun_cnt:\t3\n";
        let runs = Runs {
            count: 3,
            time: 900,
        };
        assert_eq!(
            KernelObject::parse(program),
            Some(KernelObject::Program { id: 8606, runs })
        );
        assert_eq!(runs.each(), 300.0);
        let link =
            "link_type:\tcgroup\nlink_id:\t4\nprog_id:\t8606\ncgroup_id:\t46366\nattach_type:\t1\n";
        assert_eq!(
            KernelObject::parse(link),
            Some(KernelObject::Link(Link {
                program: 8606,
                cgroup: 46366,
                attach_type: 1,
            }))
        );
        // `parse` returns `None` for a link that is not on a cgroup, and for a file descriptor of anything other than a
        // BPF object.
        assert_eq!(KernelObject::parse("link_type:\tperf\nprog_id:\t1\n"), None);
        assert_eq!(KernelObject::parse("pos:\t0\nflags:\t02\n"), None);
    }
}
