//! The activator from its start to its end.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ebb_metrics::{
    Hosts, probe,
    tasks::{TaskEnded, Tasks},
};
use ebb_proxy::{Budget, Limits};
use ebb_report_client::{Credentials, send};
use hyper::body::Bytes;
use kube::Client;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    listeners::Listeners,
    metrics::Metrics,
    options::{self, Options},
    record, report,
    status::Status,
    watch,
};

/// How long a new activator waits for a record of ports before it is ready. Its readiness ends an activator of the
/// previous release. If slices route to activators and no port is recorded, the autoscaler has this time to become
/// leader and to write the record. Its Lease lasts 15 s, and a Deployment replaces two replicas in about 30 s.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);
/// How often to check for the record.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why the activator cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A client for the API server cannot be created.
    #[error("no way to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The configuration for the API server cannot be determined.
    #[error("cannot tell how to reach the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// The status port or the probe port cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address of the port.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// A task ended that must run as long as the program.
    #[error(transparent)]
    Broken(#[from] TaskEnded),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The activator cannot start, or one of its tasks has ended.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    // Raises the limit of open files to the system's maximum.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _as_before = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let client = Client::try_from(kube::Config::infer().await?)?;
    let address = options.status_address;
    let status_port = TcpListener::bind(address)
        .await
        .map_err(|source| Failure::Listen { address, source })?;
    let probe_port = probe::listen(options.probe_address, options::PROBES)
        .await
        .map_err(|source| Failure::Listen {
            address: options.probe_address.unwrap_or(options::PROBES),
            source,
        })?;

    let budget = options
        .queue_bytes
        .map_or_else(Budget::of_this_process, Budget::new);
    info!(bytes = budget.most(), "memory for clients");
    let limits = Limits {
        max_queued: options.max_queued as usize,
        max_wait: options.max_wait,
        // Each listener uses the account of its namespace.
        memory: budget.whole(),
        ..Limits::default()
    };
    let (end, closing) = channel::channel(false);
    let (leave, leaving) = channel::channel(false);
    let listeners = Listeners::new(limits, options.listen, options.pod_ip, closing);
    let status = Arc::new(Status {
        metrics: Metrics::new(listeners.clone(), budget),
        ready: AtomicBool::new(false),
    });
    let (listed, mut all_listed) = channel::channel(false);
    let (recorded, mut all_recorded) = channel::channel(false);
    let (report, reports) = channel::channel(Bytes::new());
    let sender = report::Sender {
        activator: options.pod_name.clone(),
        address: options.pod_ip.to_string(),
        boot: boot(),
        since: report::monotonic(),
    };
    let credentials = Credentials::new(options.token_file, options.autoscaler_ca);
    let sending = status.metrics.sending();

    let hosts = Hosts::new(options.allowed_hosts);
    let serving = ebb_metrics::status::serve(status_port, Arc::clone(&status), hosts);
    let tasks = Tasks::new();
    tasks.spawn("the status port", serving);
    tasks.spawn(
        "the probe port",
        probe::serve(probe_port, Arc::clone(&status)),
    );
    let watching = tasks.spawn(
        "the watch of EndpointSlices",
        watch::run(client.clone(), listeners.clone(), listed),
    );
    let following = tasks.spawn(
        "the watch of the record of ports",
        record::run(client, options.namespace, listeners.clone(), recorded),
    );
    tasks.spawn(
        "writing reports",
        report::run(sender, listeners.clone(), leaving, report),
    );
    tasks.spawn(
        "sending reports",
        send(
            options.autoscaler,
            ebb_contract::doors::PATH,
            Arc::new(credentials),
            reports,
            sending,
        ),
    );
    let readiness = tokio::spawn({
        let status = Arc::clone(&status);
        let recorded_in = listeners.clone();
        async move {
            if all_listed.wait_for(|listed| *listed).await.is_ok()
                && all_recorded.wait_for(|recorded| *recorded).await.is_ok()
            {
                let listed = Instant::now();
                while recorded_in.lacks_record() && listed.elapsed() < RECORDED_WITHIN {
                    sleep(LOOK_AGAIN).await;
                }
                status.ready.store(true, Ordering::Relaxed);
                info!("ready");
            }
        }
    });
    tokio::select! {
        ended = tasks.broken() => return Err(ended.into()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }

    info!(within = ?options.leave_within, "leaving the path");
    readiness.abort();
    status.ready.store(false, Ordering::Relaxed);
    leave.send_replace(true);
    tokio::select! {
        () = sleep(options.leave_within) => {}
        // A second signal ends the wait at once.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("closing");
    // No listener is opened any more.
    watching.abort();
    following.abort();
    end.send_replace(true);
    let closed = async {
        tokio::select! {
            closed = timeout(options.drain_within, listeners.closed()) => closed.is_ok(),
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
        }
    };
    if !closed.await {
        warn!(within = ?options.drain_within, "some requests did not end; they are cut");
    }
    Ok(())
}

/// Returns a text that is different at each start, because counters then start at 0.
fn boot() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0.0, |now| now.as_secs_f64());
    format!("{seconds:.6}-{}", std::process::id())
}
