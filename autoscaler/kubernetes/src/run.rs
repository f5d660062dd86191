//! Starts the program: creates the engine, the clients and the ports, connects them, and starts the tasks.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use ebb_engine::{Engine, TargetKey};
use ebb_metrics::{Hosts, files::OpenFiles, ports, probe, signals::Signals, status};
use ebb_page::Page;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Client, core::ApiResource};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch as channel},
    time,
};
use tracing::{error, info};

use crate::{
    api::Connections,
    boot::BootClock,
    decisions, effects,
    events::Events,
    failure::Failure,
    ingest::{self, Handler, identity::Identities},
    kept_certificate,
    kinds::Kinds,
    leadership::Leadership,
    lease::Candidate,
    metrics::Metrics,
    options::{self, Options},
    owners::Owners,
    page, paths,
    shared::Shared,
    start::Start,
    status::Status,
    sync::Sync,
    watch::{config, conflicts, pods, services, targets},
    writer::Writer,
};

/// Time limit at shutdown for writes and reports under way. The kubelet allows 30 s.
const GRACE: Duration = Duration::from_secs(10);

/// Runs until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// If the program cannot start, or if a task that must not end has ended.
pub async fn run(options: Options) -> Result<(), Failure> {
    let mut signals = Signals::catch().map_err(Failure::Signals)?;
    // Each agent has a connection. If the limit cannot be raised, the autoscaler runs with its current limit.
    let _ = OpenFiles::raise();
    let ports = Ports::open(&options).await?;

    // The clients of the API server. Writes that only the leader may send use a separate client.
    let leadership = Leadership::new(BootClock::new());
    let connections = Connections::new(kube::Config::infer().await?)?;
    let client = connections.client()?;
    let leaders_client = connections.client_of_leader(Arc::clone(&leadership))?;

    // The engine, the metrics and the status port, which read the engine.
    let (outbox, wanted) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(engine(&options), outbox));
    let metrics = Metrics::new(&shared, &leadership);
    let status = status(&options, &shared, &metrics, &leadership);

    // The components that carry out the actions that the engine returns (`Effect`).
    let kinds = Arc::new(Kinds::new(client.clone()));
    let (events, write_events) = Events::new(
        leaders_client.clone(),
        options.identity.clone(),
        metrics.dropped_events(),
        versions(&kinds),
    );
    let (owners, owner_resolver) = Owners::new(
        client.clone(),
        Arc::clone(&kinds),
        Arc::clone(&shared),
        every_cluster_has().map(|kind| (kind.group, kind.kind)),
    );
    let (orders, to_write) = mpsc::unbounded_channel();
    let writer = Arc::new(Writer {
        client: leaders_client.clone(),
        kinds,
        shared: Arc::clone(&shared),
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        leadership: Arc::clone(&leadership),
    });
    let effects = effects::run(
        wanted,
        owners,
        events.clone(),
        orders,
        Arc::clone(&leadership),
    );
    let candidate = Candidate::new(
        client.clone(),
        &options.namespace,
        &options.lease,
        &options.identity,
        options.lease_duration,
        Arc::clone(&leadership),
    );

    // All tasks. Each task runs as long as the program.
    let tasks = shared.tasks.clone();
    let (end, ending) = channel::channel(false);
    let hosts = Hosts::new(options.allowed_hosts.iter().cloned());
    tasks.spawn(
        "the status port",
        status::serve(ports.status, Arc::clone(&status), hosts),
    );
    tasks.spawn(
        "the probe port",
        probe::serve(ports.probes, Arc::clone(&status)),
    );
    let known = watch_all(&options, &client, &shared, &events, &leadership);
    tasks.spawn("looking up the owners of pods", owner_resolver.run());
    tasks.spawn("the decision loop", decisions::run(Arc::clone(&shared)));
    tasks.spawn("passing the engine's actions to other tasks", effects);
    tasks.spawn("writing scales", writer.run(to_write));
    tasks.spawn("writing Events", write_events);
    if options.activator_account.is_some() {
        let (namespace, shared) = (options.namespace.clone(), Arc::clone(&shared));
        tasks.spawn(
            "writing slices",
            paths::run(leaders_client, namespace, shared, Arc::clone(&leadership)),
        );
    }
    let certificate = kept_certificate::keep(&options, client.clone(), &tasks).await?;
    let reports = reports(&options, &client, &shared, &metrics);
    let tls = Arc::clone(&certificate).config()?;
    let most = options.max_connections as usize;
    let serve = ingest::serve(ports.reports, tls, reports, most, ending.clone());
    let serving = tasks.spawn("the report port", async move {
        if let Err(error) = serve.await {
            error!(%error, "the report port has failed");
        }
    });
    let start = Start {
        known,
        shared,
        status,
        metrics,
    };
    let standing = tasks.spawn(
        "leader election",
        start.then_stand(candidate, leadership.changes(), ending),
    );

    let result = tokio::select! {
        ended = tasks.broken() => Err(ended.into()),
        _ = signals.next() => Ok(()),
    };
    info!("ending");
    end.send_replace(true);
    // Waits for the writes under way, the release of the Lease and the answers to reports under way.
    let _ = time::timeout(GRACE, async { tokio::join!(standing, serving) }).await;
    result
}

/// Starts the watches; the returned `Sync` is done when each required watch has read its first list.
fn watch_all(
    options: &Options,
    client: &Client,
    shared: &Arc<Shared>,
    events: &Events,
    leadership: &Leadership,
) -> Sync {
    let known = Sync::new();
    let tasks = &shared.tasks;
    let (client, shared) = (|| client.clone(), || Arc::clone(shared));
    tasks.spawn(
        "watching the ConfigMap",
        config::run(
            client(),
            options.namespace.clone(),
            options.config_map.clone(),
            shared(),
            events.clone(),
            leadership.changes(),
            known.part(),
        ),
    );
    tasks.spawn("watching pods", pods::run(client(), shared(), known.part()));
    for kind in every_cluster_has() {
        let part = Some(known.part());
        tasks.spawn(
            format!("watching {}", kind.plural),
            targets::run(client(), kind, shared(), part),
        );
    }
    tasks.spawn(
        "watching HorizontalPodAutoscalers",
        conflicts::horizontal(client(), shared(), known.part()),
    );
    tasks.spawn(
        "watching ScaledObjects",
        conflicts::keda(client(), shared()),
    );
    if options.activator_account.is_some() {
        tasks.spawn(
            "watching Services",
            services::run(client(), shared(), known.part()),
        );
        tasks.spawn(
            "watching EndpointSlices",
            services::slices(client(), shared(), known.part()),
        );
        tasks.spawn(
            "watching the records of activator ports",
            services::records(client(), options.namespace.clone(), shared(), known.part()),
        );
    }
    known
}

/// Returns the kinds that every cluster has. They are watched from the start: a workload without pods cannot be found
/// through the owner references of its pods.
fn every_cluster_has() -> [ApiResource; 2] {
    [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<StatefulSet>(&()),
    ]
}

/// The ports of the program.
struct Ports {
    reports: TcpListener,
    status: TcpListener,
    probes: Option<TcpListener>,
}

impl Ports {
    async fn open(options: &Options) -> Result<Self, Failure> {
        let ports = Self {
            reports: ports::listen(options.report_address, "--report-address").await?,
            status: ports::listen(options.status_address, "--status-address").await?,
            probes: probe::listen(options.probe_address, options::PROBE_PORT).await?,
        };
        info!(reports = ?ports.reports.local_addr().ok(), status = ?ports.status.local_addr().ok(), "listening");
        Ok(ports)
    }
}

fn engine(options: &Options) -> Engine {
    let engine = Engine::new(options.queueing())
        .with_most_workloads(options.max_workloads_per_namespace as usize)
        .with_most_ports(options.max_ports_per_namespace as usize);
    match options.recommend {
        true => engine.recommending(),
        false => engine,
    }
}

/// Returns the state that the status port serves.
fn status(
    options: &Options,
    shared: &Arc<Shared>,
    metrics: &Arc<Metrics>,
    leadership: &Arc<Leadership>,
) -> Arc<Status> {
    Arc::new(Status {
        shared: Arc::clone(shared),
        metrics: Arc::clone(metrics),
        ready: AtomicBool::new(false),
        page: Page::new(page::PageSource {
            shared: Arc::clone(shared),
            identity: options.identity.clone(),
            leadership: Arc::clone(leadership),
        }),
    })
}

/// Returns the handler of reports.
fn reports(
    options: &Options,
    client: &Client,
    shared: &Arc<Shared>,
    metrics: &Arc<Metrics>,
) -> Arc<Handler> {
    let identities = Identities::new(
        client.clone(),
        &options.agent_account,
        options.activator_account.as_deref(),
        &options.source_accounts,
    );
    let (shared, metrics) = (Arc::clone(shared), Arc::clone(metrics));
    Arc::new(Handler::new(shared, identities, metrics))
}

/// Returns a function that finds the API version of an object's kind. An Event names the API version of the object that
/// the Event is about.
fn versions(kinds: &Arc<Kinds>) -> impl Fn(&TargetKey) -> Option<String> + Send + use<> {
    let kinds = Arc::clone(kinds);
    move |key| {
        let kind = kinds.known(&key.group, &key.kind);
        kind.map(|kind| kind.resource.version)
    }
}
