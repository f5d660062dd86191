//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::ensure;
use clap::{Parser, Subcommand};
use hyper::Uri;

/// Counts the requests that the pods of a node have in flight, and reports them to Ebb's autoscaler.
#[derive(Clone, Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// Other commands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Stop counting all pods of this node, and remove the pins. Run it after the agent has ended.
    Detach {
        /// Directory of the pins.
        #[arg(long, value_name = "DIR", default_value = PINS)]
        pins: PathBuf,
    },
}

/// The default directory of the pins: every distribution mounts a bpffs at `/sys/fs/bpf`.
const PINS: &str = "/sys/fs/bpf/ebb";

/// Options of a running agent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Run {
    /// Name of the Node that the agent runs on: spec.nodeName of its pod.
    #[arg(long, env = "NODE_NAME", default_value = "", value_name = "NAME")]
    pub(crate) node: String,

    /// URL of the autoscaler's report port. Reports are sent to every address of its host. Can be given several times.
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = ebb_report_client::url)]
    pub(crate) autoscaler: Vec<Uri>,

    /// Certificate authorities (PEM) of the autoscaler's certificate. The file is read again for each connection.
    #[arg(long, value_name = "FILE")]
    pub(crate) autoscaler_ca: Option<PathBuf>,

    /// File with the service-account token for reports, read again when kubelet renews it.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Directory for pinned kernel objects. Pinned programs count even while no agent runs.
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub(crate) pins: PathBuf,

    /// Mount point of the host's cgroup v2. By default it is found in the list of mounts.
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup_root: Option<PathBuf>,

    /// The --cgroup-root of kubelet.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) kubelet_cgroup_root: String,

    /// Address of the status port: /metrics, /healthz and /readyz (no TLS).
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9465")]
    pub(crate) status_address: SocketAddr,

    /// Address of the probe port, which serves only /healthz and /readyz, for kubelet's probes. [default: [::]:9475] In
    /// the host's network the port must be free on every node.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) probe_address: Option<SocketAddr>,

    /// Further host names that are accepted in requests to the status port. IP addresses, localhost and the Services of
    /// the agent's namespace are always accepted. Can be given several times.
    #[arg(long = "allowed-host", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_hosts: Vec<String>,
}

impl Run {
    /// Returns an error if the name of the Node is missing.
    pub(crate) fn require_node(&self) -> anyhow::Result<()> {
        ensure!(
            !self.node.is_empty(),
            "no --node given, and NODE_NAME is not set: it must be the name of the Node this runs on"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
