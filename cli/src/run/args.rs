//! The command line of `ebb run`.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use crate::option;

/// Autoscale a command on this host: 0 to N replicas on the HTTP concurrency the kernel counts.
///
/// Requests to --port are distributed over the replicas, and queued while there is none. A run starts without
/// replicas and scales to zero when idle (`allow-zero-initial-scale` is true by default here). To start with replicas,
/// set --min-scale or the annotation autoscaling.knative.dev/initial-scale. Needs root: each replica runs in its own
/// cgroup, to which the kernel counter is attached.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each `{port}` in COMMAND is replaced by the port the replica has to listen on (on 127.0.0.1), and PORT in its \
environment is set to it.

Example:
  ebb run --port 8080 --target 10 -- python3 -m http.server {port}

Exit status: 0 after Ctrl-C or SIGTERM (a second signal ends the run at once), 1 on errors, 2 for wrong usage.")]
pub(crate) struct Args {
    /// Address to receive requests on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,

    /// Port to receive requests on; 0 takes a free port, which is printed
    #[arg(long, short, default_value_t = 8080, value_parser = option::port, allow_hyphen_values = true)]
    pub(crate) port: u16,

    /// Target concurrency per replica, before the target utilization (short for the annotation `target`)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) target: Option<String>,

    /// Lowest number of replicas (short for the annotation `min-scale`)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) min_scale: Option<String>,

    /// Highest number of replicas; 0 is no limit (short for the annotation `max-scale`)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_scale: Option<String>,

    /// Annotation of the workload, as on a Kubernetes pod template: autoscaling.knative.dev/… or ebb.dev/…
    #[arg(long, value_name = "K=V", value_parser = option::annotation)]
    pub(crate) annotation: Vec<(String, String)>,

    /// YAML or JSON with `config-autoscaler` settings: the ConfigMap, or just its keys
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// A replica is ready when it answers 2xx at this path, instead of when it accepts a connection
    #[arg(long, value_name = "PATH", value_parser = parse_path)]
    pub(crate) ready_path: Option<String>,

    /// How long a replica may take to become ready
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = option::duration)]
    pub(crate) start_timeout: Duration,

    /// How long a replica may take to end after SIGTERM, before SIGKILL
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = option::duration)]
    pub(crate) stop_grace: Duration,

    /// Skip the check at the start, which starts one replica to see that the command works
    #[arg(long)]
    pub(crate) skip_trial: bool,

    /// Port of the live page, on 127.0.0.1 [default: 9468, or a free one if 9468 is in use]
    #[arg(long, value_name = "PORT", value_parser = option::port, allow_hyphen_values = true)]
    pub(crate) page_port: Option<u16>,

    /// Do not serve the live page
    #[arg(long, conflicts_with = "page_port")]
    pub(crate) no_page: bool,

    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub(crate) json: bool,

    /// The command that each replica runs
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

impl Args {
    /// Returns the annotations of the workload, including those set with `--target`, `--min-scale` and `--max-scale`.
    ///
    /// These three options override `--annotation` with the same key. A later `--annotation` overrides an earlier one.
    pub(crate) fn annotations(&self) -> BTreeMap<String, String> {
        let options = [
            ("target", &self.target),
            ("min-scale", &self.min_scale),
            ("max-scale", &self.max_scale),
        ];
        let short = options.into_iter().filter_map(|(key, value)| {
            Some((format!("autoscaling.knative.dev/{key}"), value.clone()?))
        });
        self.annotation.iter().cloned().chain(short).collect()
    }
}

fn parse_path(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.starts_with('/') && plain {
        Ok(text.to_owned())
    } else {
        Err("expected a path that starts with / and has no spaces, such as /healthz".to_owned())
    }
}
