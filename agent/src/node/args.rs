//! The command line.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

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

/// What to do instead.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// End the counting of all pods of this node that an agent has left, and remove the pins.
    Detach {
        /// The directory of pins.
        #[arg(long, value_name = "DIR", default_value = PINS)]
        pins: PathBuf,
    },
}

/// Where probes are answered unless another address is given.
pub(crate) const PROBES: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 9475);

/// In the place where every distribution mounts a bpffs.
const PINS: &str = "/sys/fs/bpf/ebb";

/// Of a running agent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Run {
    /// Name of the Node this runs on: the pod's spec.nodeName.
    #[arg(long, env = "NODE_NAME", default_value = "", value_name = "NAME")]
    pub(crate) node: String,

    /// Where reports go; every address of its host gets them. Can be given several times.
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = ebb_report_client::url)]
    pub(crate) autoscaler: Vec<Uri>,

    /// Certificates that may have signed the autoscaler's, PEM; read again for each connection.
    #[arg(long, value_name = "FILE")]
    pub(crate) autoscaler_ca: Option<PathBuf>,

    /// Service-account token that says who reports; read again as kubelet renews it.
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Where kernel objects are pinned, so that counting goes on while no agent runs.
    #[arg(long, value_name = "DIR", default_value = PINS)]
    pub(crate) pins: PathBuf,

    /// The host's cgroup v2 directory; without it, where one is mounted.
    #[arg(long, value_name = "DIR")]
    pub(crate) cgroup_root: Option<PathBuf>,

    /// Kubelet's own --cgroup-root, if it has one.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub(crate) kubelet_cgroup_root: String,

    /// Where /metrics, /healthz and /readyz are served, in the clear.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9465")]
    pub(crate) status_address: SocketAddr,

    /// Where /healthz and /readyz are served for the kubelet's probes, apart from all else. [default: [::]:9475] In the
    /// host's network the port must be free on every node.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) probe_address: Option<SocketAddr>,

    /// Further names under which the status port answers. It always answers to IP addresses, localhost and the Services of
    /// its own namespace. Can be given several times.
    #[arg(long = "allowed-host", value_name = "NAME", value_delimiter = ',')]
    pub(crate) allowed_hosts: Vec<String>,
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
