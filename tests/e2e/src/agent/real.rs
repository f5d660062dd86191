//! `ebb-agent`, started as the DaemonSet in `deploy/` starts it.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ebb_fixtures::{Process, program};

use super::agent_token;
use crate::report::authority;
use crate::{Cluster, bpffs, manifests, server_port, start_process};

/// An agent's command line and files. Dropping it removes the agent's BPF pins; the process must have ended before.
pub(super) struct Real {
    /// The program and its arguments.
    command: Vec<OsString>,
    node: String,
    folder: tempfile::TempDir,
    pins: Option<PathBuf>,
    status: SocketAddr,
}

impl Real {
    /// `wrapper`: a program and its arguments that start the agent; empty if the agent is started directly. `cgroups`:
    /// the folder that the node's kubelet uses as the root of its cgroups.
    pub(super) fn new(
        wrapper: &[&str],
        cluster: &Cluster,
        cgroups: &Path,
        node: &str,
        autoscalers: &[String],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).expect("write");
        };
        fs::create_dir_all(folder.path().join("ca")).expect("a folder");
        fs::create_dir_all(folder.path().join("token")).expect("a folder");
        write("kubeconfig", &cluster.api_as("ebb-agent").kubeconfig());
        write("ca/ca.crt", &authority(cluster.api()));
        write("token/token", &agent_token(cluster.api(), node));
        let status = SocketAddr::from((Ipv4Addr::LOCALHOST, server_port()));
        // The folder's name contains the status port, which is unique to this agent. The name has no dot: a bpffs
        // allows none.
        let pins = bpffs::private().map(|mount| mount.join(format!("ebb{}", status.port())));
        // The DaemonSet's arguments, with this machine's paths instead of the pod's.
        let mounted = folder.path().display().to_string();
        let mut command: Vec<OsString> = wrapper.iter().map(OsString::from).collect();
        command.push(program("ebb-agent").into());
        let arguments = manifests::arguments("DaemonSet", "ebb-agent")
            .into_iter()
            .filter(|argument| !argument.starts_with("--autoscaler="))
            .map(|argument| OsString::from(argument.replace("/var/run/secrets/ebb", &mounted)));
        command.extend(arguments);
        for url in autoscalers {
            command.push(format!("--autoscaler={url}").into());
        }
        command.push(format!("--status-address={status}").into());
        command.push("--probe-address=127.0.0.1:0".into());
        command.push("--cgroup-root".into());
        command.push(cgroups.into());
        command.push("--pins".into());
        // Without a bpffs, the agent gets an ordinary folder: it counts requests too, but its counters end with the
        // process.
        command.push(
            pins.clone()
                .unwrap_or_else(|| folder.path().join("pins"))
                .into(),
        );
        Self {
            command,
            node: node.to_owned(),
            folder,
            pins,
            status,
        }
    }

    pub(super) fn start(&self) -> Process {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file");
        let mut command = Command::new(&self.command[0]);
        command
            .args(&self.command[1..])
            .env("NODE_NAME", &self.node)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        start_process(command)
    }

    pub(super) fn pins(&self) -> Option<&Path> {
        self.pins.as_deref()
    }

    pub(super) fn status(&self) -> SocketAddr {
        self.status
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let Some(pins) = &self.pins {
            fs::remove_dir_all(pins).ok();
        }
    }
}
