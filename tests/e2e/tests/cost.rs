//! The CPU time and memory of a process, as the kernel reports them.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// Returns the CPU time that the process has used so far, in seconds.
pub(crate) fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): `utime` and `stime` are the 12th and 13th field after the command name in parentheses, in clock ticks.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum();
    ticks / sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64
}

/// Returns the resident memory of the process, MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    memory(pid, "VmRSS:")
}

/// Returns the anonymous resident memory of the process, MiB. It excludes pages of files, such as the program's own
/// file: the kernel drops them under memory pressure.
pub(crate) fn own(pid: u32) -> f64 {
    memory(pid, "RssAnon:")
}

fn memory(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
