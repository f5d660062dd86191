//! The command-line options. All other settings are read from the API server while the activator runs.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, builder::NonEmptyStringValueParser, value_parser};
use ebb_proxy::{Budget, Limits};
use hyper::Uri;

/// Queues requests while a workload has no pod, and forwards requests during bursts.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Options {
    /// Name of this replica: the name of its pod.
    #[arg(long, env = "POD_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) pod_name: String,

    /// Namespace of the activator. The autoscaler writes into it the record of ports: which port belongs to which
    /// Service.
    #[arg(
        long,
        env = "POD_NAMESPACE",
        default_value = "ebb-system",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub(crate) namespace: String,

    /// Address of this replica: the IP of its pod.
    #[arg(long, env = "POD_IP")]
    pub(crate) pod_ip: IpAddr,

    /// Address to listen on for the requests of Services.
    #[arg(long, default_value = "::")]
    pub(crate) listen: IpAddr,

    /// URL of the autoscaler's report port. Reports are sent to every address of its host.
    #[arg(long, value_name = "URL", value_parser = ebb_report_client::url)]
    pub(crate) autoscaler: Uri,

    /// Certificate authority (PEM) of the autoscaler's certificate. Required for https.
    #[arg(long, value_name = "FILE")]
    pub(crate) autoscaler_ca: Option<PathBuf>,

    /// File with the service-account token for reports.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Address of the status port: /metrics, /healthz and /readyz.
    #[arg(long, default_value = "[::]:9467")]
    pub(crate) status_address: SocketAddr,

    /// Address of the probe port, which serves only /healthz and /readyz, for kubelet's probes. [default: [::]:9477]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) probe_address: Option<SocketAddr>,

    /// Further host names that are accepted in requests to the status port. IP addresses, localhost and the Services of
    /// the activator's namespace are always accepted. Can be given several times.
    #[arg(long = "allowed-host", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_hosts: Vec<String>,

    /// Maximum number of queued requests per Service port.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_queued: u32,

    /// Limit of the memory for clients, over all Services: connections, request heads, and bodies that wait to be sent.
    /// One namespace may use two thirds of it. For example 400Mi. [default: three fifths of the memory limit of the
    /// container, or of the machine]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) queue_bytes: Option<usize>,

    /// Maximum time that a request is queued.
    #[arg(long, default_value = "60s", value_parser = wait)]
    pub(crate) max_wait: Duration,

    /// Time after SIGTERM in which requests are still accepted: until the autoscaler and the kube-proxy of every node
    /// route no more requests to this replica.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) leave_within: Duration,

    /// Time for the requests in flight to end, after the time of --leave-within.
    #[arg(long, default_value = "300s", value_parser = duration)]
    pub(crate) drain_within: Duration,
}

impl Options {
    /// Returns the budget of the memory for clients, over all Services.
    pub(crate) fn budget(&self) -> Budget {
        self.queue_bytes
            .map_or_else(Budget::of_this_process, Budget::new)
    }

    /// Returns the limits of a Service port. `memory` is the whole budget here; each listener replaces it by the memory
    /// account of its namespace.
    pub(crate) fn limits(&self, budget: &Budget) -> Limits {
        Limits {
            max_queued: self.max_queued as usize,
            max_wait: self.max_wait,
            memory: budget.whole(),
            ..Limits::default()
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "must be a duration, for example 10s or 5m".to_owned())
}

/// Parses a number of bytes, with the binary units of Kubernetes.
fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: usize = match &text[digits.len()..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(BYTES.to_owned()),
    };
    let bytes = digits
        .parse()
        .ok()
        .and_then(|number: usize| number.checked_mul(unit));
    bytes
        .filter(|&bytes| bytes >= 1 << 20)
        .ok_or_else(|| BYTES.to_owned())
}

/// The error text of [`bytes`].
const BYTES: &str = "must be a number of bytes, at least 1Mi, for example 400Mi or 2Gi";

fn wait(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(wait) if !wait.is_zero() => Ok(wait),
        _ => Err("must be a duration above zero, for example 60s or 5m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn bytes_have_the_units_of_kubernetes() {
        for (text, expected) in [("400Mi", 400 << 20), ("2Gi", 2 << 30), ("1048576", 1 << 20)] {
            assert_eq!(bytes(text), Ok(expected));
        }
        for bad in [
            "",
            "Mi",
            "1Ki",
            "400MB",
            "-1Gi",
            "99999999999999999999",
            "9999999999999Gi",
        ] {
            assert_eq!(bytes(bad), Err(BYTES.to_owned()), "{bad}");
        }
    }

    #[test]
    fn nobody_waits_for_no_time() {
        assert_eq!(wait("60s"), Ok(Duration::from_secs(60)));
        for bad in ["0s", "abc", "", "-1s"] {
            assert!(wait(bad).unwrap_err().contains("above zero"), "{bad}");
        }
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
    }
}
