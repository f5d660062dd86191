//! A real Prometheus, which scrapes its targets and evaluates its rules every second.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ebb_e2e::agent::Agent;
use ebb_e2e::{Autoscaler, SOON, block_on};
use ebb_fixtures::{Process, eventually, free_port};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::proxied_port::ProxiedPort;

/// Returns the targets to scrape, by job.
pub(super) fn jobs<'a>(
    agents: impl IntoIterator<Item = &'a Agent>,
    replicas: impl IntoIterator<Item = &'a Autoscaler>,
    port: &ProxiedPort,
) -> [(&'static str, Vec<SocketAddr>); 3] {
    let agents = agents.into_iter().filter_map(Agent::status).collect();
    let replicas = replicas.into_iter().map(Autoscaler::status).collect();
    [
        ("ebb-agent", agents),
        ("ebb-autoscaler", replicas),
        ("ebb-activator", vec![port.status]),
    ]
}

pub(super) struct Prometheus {
    address: SocketAddr,
    begun: f64,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts a Prometheus that scrapes the targets of each job and evaluates `rules`, the text of a rule file.
    pub(super) fn start(jobs: &[(&str, Vec<SocketAddr>)], rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("rules.yaml"), rules).unwrap();
        let jobs: Vec<_> = jobs
            .iter()
            .map(|(job, targets)| {
                let targets: Vec<_> = targets.iter().map(ToString::to_string).collect();
                json!({"job_name": job, "honor_labels": true, "static_configs": [{"targets": targets}]})
            })
            .collect();
        // The file is written as JSON, which is valid YAML.
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [at("rules.yaml")],
            "scrape_configs": jobs,
        });
        std::fs::write(at("prometheus.yml"), config.to_string()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Process::start(Self::command(folder.path(), address), None);
        let this = Self {
            address,
            begun: now(),
            _process: process,
            _folder: folder,
        };
        eventually("Prometheus answers", SOON, || {
            this.get("/api/v1/status/buildinfo")
        });
        this
    }

    fn command(folder: &Path, address: SocketAddr) -> Command {
        let mut command = Command::new("prometheus");
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        command
            .arg(option("config.file", &folder.join("prometheus.yml")))
            .arg(option("storage.tsdb.path", &folder.join("data")))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Returns all series of a range query from Prometheus' start until now, each with its values.
    pub(super) fn ask(&self, query: &str) -> Result<Vec<Value>, String> {
        let parameters = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .append_pair("start", &self.begun.to_string())
            .append_pair("end", &now().to_string())
            .append_pair("step", "1")
            .finish();
        let answer = self
            .get(&format!("/api/v1/query_range?{parameters}"))
            .ok_or("no answer")?;
        match answer["data"]["result"].as_array() {
            Some(series) => Ok(series.clone()),
            None => Err(answer.to_string()),
        }
    }

    /// Returns whether an alert fires now, or has fired since Prometheus' start.
    pub(super) fn fired(&self, alert: &str) -> bool {
        let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        self.ask(&query).is_ok_and(|series| !series.is_empty())
    }

    fn get(&self, path: &str) -> Option<Value> {
        let uri = format!("http://{}{path}", self.address).parse().ok()?;
        block_on(async {
            let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
            let answer = tokio::time::timeout(Duration::from_secs(10), client.get(uri));
            let body = answer.await.ok()?.ok()?.into_body();
            let body = body.collect().await.ok()?.to_bytes();
            serde_json::from_slice(&body).ok()
        })
    }
}

/// Returns the current time in seconds since 1970 (Unix time).
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
