//! A stand-in for the agent, used if eBPF programs cannot be loaded: it reads the request counts from the pods'
//! servers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_contract::{Pod, Report};
use ebb_fixtures::server::Stats;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::rustls::ClientConfig;

use crate::kubelet::RunningPod;
use crate::report::Line;

/// An agent stand-in that reports the servers' own request counts.
pub(super) struct StandIn {
    node: String,
    token: String,
    trust: Arc<ClientConfig>,
    addresses: Vec<SocketAddr>,
    start: Instant,
    lines: HashMap<SocketAddr, Line>,
}

/// The node's clock when the stand-in starts, ns. It is not 0, because pods may be older than the stand-in.
const EPOCH: u64 = 1_000_000_000_000;
/// Time between two reports of the stand-in: a tenth of the interval of `ebb-agent`. The kernel wakes `ebb-agent` when
/// a burst begins, but it cannot wake the stand-in, so the stand-in reports more often.
const TICK: Duration = Duration::from_millis(100);

impl StandIn {
    pub(super) fn new(
        node: String,
        token: String,
        trust: Arc<ClientConfig>,
        addresses: Vec<SocketAddr>,
    ) -> Self {
        Self {
            node,
            token,
            trust,
            addresses,
            start: Instant::now(),
            lines: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, pods: impl Fn() -> Vec<RunningPod> + Send + Sync + 'static) {
        // Start time of each server by this node's clock, ns, by pod uid.
        let mut started: HashMap<String, u64> = HashMap::new();
        let mut tick = time::interval(TICK);
        loop {
            tick.tick().await;
            let mut report = Report {
                node: self.node.clone().into(),
                boot: format!("stand-in {:?}", self.start).into(),
                pods: Vec::new(),
                ..Report::default()
            };
            for pod in pods().into_iter().filter(|pod| pod.node == self.node) {
                if let Some(stats) = stats(pod.address).await {
                    let now = self.start.elapsed().as_nanos() as u64;
                    // The server computes its concurrency integral with the server's clock, so the report's time `at`
                    // advances with the server's clock too.
                    let age = (stats.at * 1e9) as u64;
                    let since = *started
                        .entry(pod.uid.clone())
                        .or_insert((EPOCH + now).saturating_sub(age));
                    report.pods.push(Pod {
                        uid: pod.uid.into(),
                        since,
                        at: since + age,
                        integral: (stats.integral * 1e9) as u64,
                        in_flight: stats.in_flight,
                        started: stats.requests,
                        ..Pod::default()
                    });
                }
            }
            for address in self.addresses.clone() {
                // An error is ignored: counts are cumulative, so the next report also covers a report that was not
                // sent.
                let _ = self.tell(address, &report).await;
            }
        }
    }

    async fn tell(&mut self, address: SocketAddr, report: &Report<'_>) -> Result<(), String> {
        let from = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut line = match self.lines.remove(&address) {
            Some(line) => line,
            None => Line::connect_to(Arc::clone(&self.trust), from, address)
                .await
                .map_err(|error| error.to_string())?,
        };
        line.report(&self.token, report).await?;
        self.lines.insert(address, line);
        Ok(())
    }
}

/// Returns a server's own counts; `None` if the server does not answer within 1 s.
async fn stats(address: SocketAddr) -> Option<Stats> {
    let asked = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        tokio::spawn(connection);
        let request = hyper::Request::get("/stats")
            .header("host", "pod")
            .body(Empty::<Bytes>::new())
            .ok()?;
        let answer = sender.send_request(request).await.ok()?;
        serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
    };
    time::timeout(Duration::from_secs(1), asked).await.ok()?
}
