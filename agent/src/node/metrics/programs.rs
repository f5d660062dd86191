//! Metrics of the kernel programs' run time, as the kernel measures it.
//!
//! The kernel measures programs if `kernel.bpf_stats_enabled` is 1, and shows the result in the `fdinfo` of their
//! descriptors (<https://docs.kernel.org/admin-guide/sysctl/kernel.html>), from Linux 5.10 on. Measuring costs about 60
//! ns per run, so it is off by default, and the metrics then have no sample. Only the descriptors of this process are
//! read; no program is opened by its id.

use std::{collections::BTreeMap, fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

#[derive(Debug)]
pub(super) struct Programs;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hook {
    hook: &'static str,
}

/// Total run time and number of runs of the programs of one hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RunTime {
    nanoseconds: u64,
    runs: u64,
}

/// Program types (the numbers in `enum bpf_prog_type`, `include/uapi/linux/bpf.h`), and the name of each type's hook.
const HOOKS: [(u64, &str); 3] = [(8, "packet"), (9, "socket"), (13, "socket")];

impl Collector for Programs {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let run_times = run_times();
        let help =
            "Time that the kernel programs ran; no sample unless kernel.bpf_stats_enabled is 1";
        let kind = MetricType::Counter;
        let mut metric = encoder.encode_descriptor("program_seconds", help, None, kind)?;
        for (&hook, run_time) in &run_times {
            let seconds = run_time.nanoseconds as f64 / 1e9;
            metric
                .encode_family(&Hook { hook })?
                .encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        let help = "Runs of the kernel programs; no sample unless kernel.bpf_stats_enabled is 1";
        let mut metric = encoder.encode_descriptor("program_runs", help, None, kind)?;
        for (&hook, run_time) in &run_times {
            metric
                .encode_family(&Hook { hook })?
                .encode_counter::<NoLabelSet, _, u64>(&run_time.runs, None)?;
        }
        Ok(())
    }
}

/// Returns the run time and the number of runs, summed over the programs of each hook. Programs that were never
/// measured are not included.
fn run_times() -> BTreeMap<&'static str, RunTime> {
    // The key is the program's id, because a program with two descriptors must be counted once.
    let mut programs = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo")
        .into_iter()
        .flatten()
        .flatten()
    {
        // A descriptor that was closed since the listing is skipped.
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        programs.extend(program(&text));
    }
    let mut run_times: BTreeMap<_, RunTime> = BTreeMap::new();
    for (hook, one) in programs.into_values() {
        let of_hook = run_times.entry(hook).or_default();
        of_hook.nanoseconds += one.nanoseconds;
        of_hook.runs += one.runs;
    }
    run_times
}

/// Parses the `fdinfo` of a descriptor. Returns the program's id, its hook, and its run time and number of runs. `None`
/// if the descriptor is not that of a measured program.
fn program(fdinfo: &str) -> Option<(u64, (&'static str, RunTime))> {
    let field = |name: &str| -> Option<u64> {
        let mut lines = fdinfo.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim().parse().ok()
    };
    let kind = field("prog_type")?;
    let (_, hook) = HOOKS.iter().find(|(number, _)| *number == kind)?;
    let run_time = RunTime {
        nanoseconds: field("run_time_ns")?,
        runs: field("run_cnt").filter(|runs| *runs > 0)?,
    };
    Some((field("prog_id")?, (hook, run_time)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t2057\nprog_type:\t8\nprog_jited:\t1\n\
        prog_tag:\t9d2b3c4d5e6f7081\nmemlock:\t4096\nprog_id:\t42\nrun_time_ns:\t1500\nrun_cnt:\t3\n\
        recursion_misses:\t0\nverified_insns:\t40\n";

    #[test]
    fn a_program_that_was_measured_is_read() {
        let run_time = RunTime {
            nanoseconds: 1500,
            runs: 3,
        };
        assert_eq!(program(PROGRAM), Some((42, ("packet", run_time))));
    }

    #[test]
    fn others_are_passed_over() {
        assert_eq!(program("pos:\t0\nflags:\t02\n"), None);
        let unmeasured = PROGRAM.replace("run_cnt:\t3", "run_cnt:\t0");
        assert_eq!(program(&unmeasured), None);
        let of_others = PROGRAM.replace("prog_type:\t8", "prog_type:\t1");
        assert_eq!(program(&of_others), None);
    }
}
