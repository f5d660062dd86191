//! Priority of threads over the other work on the machine.
//!
//! In a cluster, the autoscaler, the agents and the API server run on different machines. In a test they share CPUs. So a
//! test that measures times gives priority to the programs that it measures. Failure mode: only root can raise a
//! priority; without it, the measured times include the waits for a CPU.

use std::fs;
use std::process::{Command, Stdio};

use nix::unistd::Pid;

/// The raised priority. The default is 0, and -20 is the highest priority (`setpriority(2)`).
const NICENESS: &str = "-10";

/// Raises the priority of threads, if that is allowed.
pub fn raise(threads: &[Pid]) {
    let mut renice = Command::new("renice");
    renice.args(["-n", NICENESS, "-p"]);
    renice.args(threads.iter().map(Pid::to_string));
    let _ = renice.stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Returns the threads of a process.
///
/// # Panics
/// If the process does not exist.
#[must_use]
pub fn threads(pid: u32) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process exists");
    let names = tasks.flatten().map(|task| task.file_name());
    let numbers = names.filter_map(|name| name.to_str()?.parse().ok());
    numbers.map(Pid::from_raw).collect()
}
