//! Metrics of the process, under the names that every Prometheus library uses.
//!
//! Failure mode: a value that the operating system does not report has no sample.

use std::{
    fmt, fs,
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use nix::sys::resource::{UsageWho, getrusage};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

/// Start time of the program: the time of the first read of this static. [`crate::status::serve`] reads it, and every
/// program calls that function at its start.
pub(crate) static BEGUN: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// The registry with the metrics of the process. It is the same for every program.
pub(crate) static PROCESS: LazyLock<Registry> = LazyLock::new(|| {
    let mut registry = Registry::with_prefix("process");
    registry.register_collector(Box::new(Process));
    registry
});

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(seconds) = cpu() {
            encoder
                .encode_descriptor("cpu_seconds", "CPU time", None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        if let Some(bytes) = resident() {
            let help = "Resident memory";
            encoder
                .encode_descriptor("resident_memory_bytes", help, None, MetricType::Gauge)?
                .encode_gauge(&bytes)?;
        }
        let begun = BEGUN.duration_since(UNIX_EPOCH).unwrap_or_default();
        let help = "Start time of the process, in seconds since 1970";
        encoder
            .encode_descriptor("start_time_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&begun.as_secs_f64())
    }
}

/// Returns the CPU time in user and kernel mode, in seconds.
fn cpu() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let [user, system] = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    Some(user + system)
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use crate::Format;

    use super::*;

    #[test]
    fn this_process_is_told() {
        let text = Format::Prometheus.encode(&Registry::default()).unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total ") > 0.0, "{text}");
        assert!(value("process_resident_memory_bytes ") > 1e6, "{text}");
        assert!(value("process_start_time_seconds ") > 1.7e9, "{text}");
    }
}
