//! The live page of a run: the same as the autoscaler's, with one workload.
//!
//! Bias: the run has priority. If the usual port is taken (by another run), the page gets a free one. If there is none, the
//! run continues without a page.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use ebb_autoscaler::Decided;
use ebb_autoscaler_core::{Metric, Settings};
use ebb_metrics::{Format, Hosts, status};
use ebb_page::{About, Detail, Memory, Name, Page, Scaled, Seen, Source, Workload, model::Setting};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::warn;

/// Port of the page of a run. The autoscaler's page shares port 9466 with its metrics; this page has a port of its own.
const USUAL_PORT: u16 = 9468;

/// The data of the page. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Shown(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    workload: Workload,
    settings: Vec<Setting>,
    memory: Memory,
}

impl Shown {
    /// Creates the data of a run of `command` with these settings.
    pub(crate) fn new(command: &str, settings: &Settings, table: Vec<Setting>) -> Self {
        let name = command.rsplit('/').next().unwrap_or(command);
        let metric = match settings.metric {
            Metric::Rps => "rps",
            _ => "concurrency",
        };
        let workload = Workload {
            namespace: "local".to_owned(),
            kind: "Command".to_owned(),
            name: name.to_owned(),
            mode: "act".into(),
            metric: Some(metric.into()),
            target: Some(settings.target),
            hard_limit: Some(settings.hard_limit).filter(|&limit| limit > 0),
            ..Workload::default()
        };
        Self(Arc::new(Mutex::new(State {
            workload,
            settings: table,
            memory: Memory::default(),
        })))
    }

    /// Records a decision. `ready`: ready replicas.
    pub(crate) fn decided(&self, decided: &Decided<'_>, ready: usize) {
        let (decision, load, desired) = (decided.decision, decided.load, decided.desired());
        let mut state = self.lock();
        let State {
            workload, memory, ..
        } = &mut *state;
        let at = decision.at.since_epoch().as_millis() as f64 / 1e3;
        let reason = decision.reason.to_string();
        if desired != workload.requested_replicas {
            workload.scaled = Some(Scaled {
                at,
                from: workload.requested_replicas,
                to: desired,
                reason: reason.clone(),
                error: None,
            });
        }
        let ready = u32::try_from(ready).unwrap_or(u32::MAX);
        workload.requested_replicas = desired;
        workload.ready_replicas = Some(ready);
        workload.desired_replicas = Some(desired);
        workload.reason = Some(reason);
        workload.decided_at = Some(at);
        workload.stable = decided.averages().map(|averages| averages.stable);
        workload.panic = decided.averages().map(|averages| averages.panic);
        workload.panic_mode = decision.panic_mode;
        workload.in_flight = load.in_flight;
        workload.queued = load.held;
        let seen = Seen {
            load: decided.concurrency,
            ready: Some(ready),
            replicas: desired,
        };
        memory.record(decision, &seen);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic may leave a partly updated state, which is shown for two seconds at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Shown {
    fn about(&self) -> About {
        About {
            program: "ebb run".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            replica: "this host".to_owned(),
            leading: true,
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        vec![self.lock().workload.clone()]
    }

    fn detail(&self, of: &Name) -> Option<Detail> {
        let state = self.lock();
        (state.workload.id() == *of).then(|| Detail {
            workload: state.workload.clone(),
            settings: state.settings.clone(),
            decisions: state.memory.decisions(),
            history: state.memory.history(),
        })
    }
}

/// Listens on a port for the page: the given port, or else the usual one, or else a free one.
///
/// # Errors
/// If the given port cannot be listened on.
pub(crate) async fn listen(asked: Option<u16>) -> anyhow::Result<Option<TcpListener>> {
    let bind = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    if let Some(port) = asked {
        let listener = bind(port)
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port} for the page"))?;
        return Ok(Some(listener));
    }
    match bind(USUAL_PORT).await {
        Ok(listener) => return Ok(Some(listener)),
        Err(_) => match bind(0).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) => warn!(%error, "there is no port for the page"),
        },
    }
    Ok(None)
}

/// Serves the page, until the run ends.
pub(crate) fn serve(listener: TcpListener, shown: Shown) {
    let status = Arc::new(Status(Page::new(shown)));
    // The page listens on this host only, so no other host name needs to be allowed.
    tokio::spawn(status::serve(listener, status, Hosts::default()));
}

struct Status(Page<Shown>);

impl status::Status for Status {
    fn ready(&self) -> Result<String, String> {
        Ok("ready".to_owned())
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        // The metrics of this process only; the other data is on the page.
        format.encode(&Registry::default())
    }

    fn page(&self, path: &str, query: Option<&str>) -> Option<status::Answer> {
        self.0.answer(path, query)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use ebb_autoscaler::Load;
    use ebb_autoscaler_core::{Facts, Feed, Timestamp};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_decision_is_shown() {
        let settings = Settings::default();
        let shown = Shown::new("/usr/bin/serve", &settings, Vec::new());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = Timestamp::new(now);
        let mut workload = ebb_autoscaler_core::Workload::new(now, settings, 0);
        let mut feed = Feed::starting(now - Duration::from_secs(2));
        workload.observe(&mut feed, now, 80.0, 80.0).unwrap();
        let decision = workload.decide(now, &Facts::local(1, 1));
        let load = Load {
            at: Instant::now(),
            integral: 0.0,
            requests: 1,
            in_flight: 80,
            held: 3,
        };
        let decided = Decided {
            decision: &decision,
            load,
            concurrency: 80.0,
        };
        shown.decided(&decided, 1);
        let all = shown.workloads();
        assert_eq!((all[0].name.as_str(), all[0].queued), ("serve", 3));
        assert!(
            all[0]
                .scaled
                .as_ref()
                .is_some_and(|scaled| scaled.from == 0)
        );
        let detail = shown.detail(&all[0].id()).unwrap();
        assert_eq!(detail.history.len(), 1);
        assert_eq!(detail.decisions.len(), 1);
    }
}
