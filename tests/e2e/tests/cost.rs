//! The CPU time and memory of a process, as the kernel reports them.

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// CPU seconds of the process so far.
pub(crate) fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): after the name in brackets, utime and stime are the 12th and 13th field, in ticks.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum();
    ticks / sysconf(SysconfVar::CLK_TCK).unwrap().unwrap() as f64
}

/// Resident memory of the process, MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    memory(pid, "VmRSS:")
}

/// Anonymous resident memory of the process, MiB. It excludes pages of files, such as the program's, which the kernel
/// drops under memory pressure.
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
