//! The command line. All other settings are read from the API server, and changes of them apply at once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, builder::NonEmptyStringValueParser as NonEmpty, value_parser};
use ebb_engine::Queueing;

/// The default port for probes.
pub(super) const PROBE_PORT: u16 = 9476;

/// Scales the workloads of a cluster on their requests in flight.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Namespace of the autoscaler, with its Lease, its ConfigMap and its Secret.
    #[arg(long, env = "POD_NAMESPACE", default_value = "ebb-system", value_parser = NonEmpty::new())]
    pub namespace: String,

    /// Name of this replica, different for each replica: the name of its pod.
    #[arg(long, env = "POD_NAME", value_parser = NonEmpty::new())]
    pub identity: String,

    /// Address of the report port (TLS).
    #[arg(long, default_value = "[::]:8443")]
    pub report_address: SocketAddr,

    /// Address of the status port: /metrics, /healthz, /readyz, /v1/workloads and the live page (no TLS).
    #[arg(long, default_value = "[::]:9466")]
    pub status_address: SocketAddr,

    /// Address of the port that serves only the kubelet's probes: /healthz and /readyz. [default: [::]:9476]
    #[arg(long, value_name = "ADDRESS")]
    pub probe_address: Option<SocketAddr>,

    /// Further host names that requests to the status port may name. IP addresses, localhost and the Services of the
    /// autoscaler's namespace are always allowed. Can be given several times.
    #[arg(long = "allowed-host", value_name = "NAME", value_delimiter = ',')]
    pub allowed_hosts: Vec<String>,

    /// Certificate chain of the report port (PEM); the file is read again when it changes. Without this option, the
    /// autoscaler makes a certificate, keeps it in a Secret, and publishes the certificate authority in a ConfigMap.
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,

    /// Key of --tls-certificate (PEM).
    #[arg(long, requires = "tls_certificate", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// DNS names in the certificate that the autoscaler makes.
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "ebb-autoscaler-reports.ebb-system.svc,ebb-autoscaler.ebb-system.svc"
    )]
    pub tls_names: Vec<String>,

    /// Service account of the agents: each may report the pods of its own node.
    #[arg(
        long,
        default_value = "ebb-system/ebb-agent",
        value_name = "NAMESPACE/NAME",
        value_parser = account
    )]
    pub agent_account: String,

    /// Service account that may report any pod, for other sources of metrics. Can be given several times.
    #[arg(long = "source-account", value_name = "NAMESPACE/NAME", value_parser = account)]
    pub source_accounts: Vec<String>,

    /// Service account of the activators. Without this option there are no activators, and every workload keeps at
    /// least one pod.
    #[arg(long, env = "EBB_ACTIVATOR_ACCOUNT", value_name = "NAMESPACE/NAME", value_parser = account)]
    pub activator_account: Option<String>,

    /// Limit of proxied Service ports per namespace. The activators have 10 000 ports in all. A Service beyond the
    /// limit is not proxied, its workload keeps at least one pod, and an Event reports this.
    #[arg(long, default_value_t = 200, value_parser = value_parser!(u32).range(0..=2000))]
    pub max_ports_per_namespace: u32,

    /// ConfigMap with the settings of the whole cluster.
    #[arg(long, default_value = "config-autoscaler", value_name = "NAME", value_parser = NonEmpty::new())]
    pub config_map: String,

    /// Name of the Lease for leader election.
    #[arg(long, default_value = "ebb-autoscaler", value_name = "NAME", value_parser = NonEmpty::new())]
    pub lease: String,

    /// Show recommendations and scale nothing, as if every workload had `ebb.dev/mode: recommend`.
    #[arg(long, env = "EBB_RECOMMEND")]
    pub recommend: bool,

    /// Limit of scaled workloads per namespace. Workloads beyond the limit are not scaled, and an Event on each of them
    /// reports this.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u32).range(1..))]
    pub max_workloads_per_namespace: u32,

    /// Duration of the Lease: if the leader has not renewed the Lease for this time, another replica becomes the
    /// leader.
    #[arg(long, default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,

    /// Limit of open connections to the report port.
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(1..))]
    pub max_connections: u32,
}

/// Validates a service account of the form `NAMESPACE/NAME`.
fn account(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be NAMESPACE/NAME".to_owned()),
    }
}

/// Parses the duration of the Lease. The API stores whole seconds, and a leader must be able to miss a renewal or two.
fn lease_duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration)
            if duration.subsec_nanos() == 0 && (3..=3600).contains(&duration.as_secs()) =>
        {
            Ok(duration)
        }
        _ => Err("must be whole seconds from 3s to 1h".to_owned()),
    }
}

impl Options {
    /// Returns where requests are queued: at activators if `activator_account` is set, otherwise nowhere.
    pub(super) fn queueing(&self) -> Queueing {
        match self.activator_account {
            Some(_) => Queueing::Activators,
            None => Queueing::Nowhere,
        }
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
    fn accounts_have_a_namespace_and_a_name() {
        assert_eq!(account("ebb-system/a"), Ok("ebb-system/a".to_owned()));
        for bad in ["", "a", "a/", "/a", "a/b/c"] {
            assert!(account(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_lease_lasts_whole_seconds() {
        assert_eq!(lease_duration("15s"), Ok(Duration::from_secs(15)));
        assert!(lease_duration("1500ms").is_err());
        assert!(lease_duration("1s").is_err());
        assert_eq!(
            lease_duration("abc").unwrap_err(),
            "must be whole seconds from 3s to 1h"
        );
    }
}
