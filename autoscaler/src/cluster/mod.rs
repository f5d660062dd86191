//! The autoscaler of a cluster: the [engine](crate::engine), and the Kubernetes clients around it.
//!
//! Watches supply the facts of the cluster, the report port supplies the metrics, and the writer carries out the scale
//! orders. Every replica receives facts and metrics and decides; only the replica that holds the Lease writes.
//!
//! Failure mode: without an API server every workload keeps its replicas. Watches and the Lease are retried without end, and
//! reports are still received. A replica that may no longer be the leader writes nothing. If a task that must run as long as
//! the program ends, the program ends too.

mod allotments;
mod api;
mod boot;
mod certificate;
mod events;
mod ingest;
mod kinds;
mod leadership;
mod lease;
mod metrics;
mod options;
mod owners;
mod page;
mod paths;
mod shared;
mod slices;
mod status;
mod sync;
#[cfg(test)]
mod testing;
mod watch;
mod writer;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ebb_autoscaler_core::Timestamp;
use ebb_metrics::{
    Hosts, probe,
    tasks::{TaskEnded, Tasks},
};
use ebb_page::Page;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{Client, core::ApiResource};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch as channel},
    time::{self, Instant},
};
use tracing::{error, info, warn};

pub use self::options::Options;
use self::{
    api::Connections,
    boot::BootClock,
    certificate::{CertificateError, Keeper},
    events::Events,
    ingest::{
        Handler,
        identity::Identities,
        tls::{Certificate, Pem, TlsError},
    },
    kinds::Kinds,
    leadership::Leadership,
    lease::Candidate,
    metrics::Metrics,
    owners::Owners,
    shared::Shared,
    status::Status,
    sync::Sync,
    watch::{config, pods, rivals, services, targets},
    writer::Writer,
};
use crate::{
    Clock,
    engine::{Effect, Engine, TargetKey},
};

/// Longest sleep of the decision loop between two rounds, hence also the most by which a due decision is late.
const ROUND: Duration = Duration::from_millis(100);
/// Shortest sleep of the decision loop unless it is woken: decisions that are due within this time are taken in one round.
/// Each round looks at every workload, and ten thousand workloads are due at ten thousand different moments.
const TOGETHER: Duration = Duration::from_millis(10);
/// How often the certificate is read again. cert-manager replaces one weeks before it expires.
const CERTIFICATE_AGAIN: Duration = Duration::from_secs(60);
/// How long writes and reports under way may take at shutdown; the kubelet allows 30 s.
const GRACE: Duration = Duration::from_secs(10);
/// How often senders that no longer report are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Why the autoscaler cannot start or cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No client for the API server can be built from the configuration.
    #[error("no way to the API server: {0}")]
    Client(#[from] kube::Error),
    /// The configuration of the client cannot be inferred.
    #[error("cannot tell how to reach the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address to listen on.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate cannot be used for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate cannot be read or made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Signal handlers cannot be installed.
    #[error("cannot catch signals: {0}")]
    Signals(#[source] io::Error),
    /// A task that must not end has ended.
    #[error(transparent)]
    Broken(#[from] TaskEnded),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// If it cannot start, or if a task that must not end has ended.
pub async fn run(options: Options) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    // Raises the limit of open files to the hard limit: each connection needs a file.
    if let Ok((_, most)) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
    {
        let _ =
            nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, most, most);
    }
    let connections = Connections::new(kube::Config::infer().await?)?;
    let client = connections.client()?;
    let leadership = Leadership::new(BootClock::new());
    // The client for everything that only the leader writes.
    let leaders_client = connections.client_of_leader(Arc::clone(&leadership))?;
    let reports = listen(options.report_address).await?;
    let status_port = listen(options.status_address).await?;
    let probe_port = probe::listen(options.probe_address, options::PROBES)
        .await
        .map_err(|source| Failure::Listen {
            address: options.probe_address.unwrap_or(options::PROBES),
            source,
        })?;
    info!(reports = ?reports.local_addr().ok(), status = ?status_port.local_addr().ok(), "listening");

    let (outbox, effects) = mpsc::unbounded_channel();
    let engine = Engine::new(options.activator_account.is_some())
        .with_most_workloads(options.max_workloads_per_namespace as usize)
        .with_most_ports(options.max_ports_per_namespace as usize);
    let engine = if options.recommend {
        engine.recommending()
    } else {
        engine
    };
    let shared = Arc::new(Shared::new(engine, Clock::start(), outbox));
    let tasks = shared.tasks.clone();
    let metrics = Metrics::new(&shared, &leadership);
    let kinds = Arc::new(Kinds::new(client.clone()));
    let (end, ending) = channel::channel(false);
    let status = Arc::new(Status {
        shared: Arc::clone(&shared),
        metrics: Arc::clone(&metrics),
        ready: AtomicBool::new(false),
        page: Page::new(page::Shown {
            shared: Arc::clone(&shared),
            identity: options.identity.clone(),
            leadership: Arc::clone(&leadership),
        }),
    });
    let hosts = Hosts::new(options.allowed_hosts.iter().cloned());
    tasks.spawn(
        "the status port",
        ebb_metrics::status::serve(status_port, Arc::clone(&status), hosts),
    );
    tasks.spawn(
        "the probe port",
        probe::serve(probe_port, Arc::clone(&status)),
    );

    let versions = {
        let kinds = Arc::clone(&kinds);
        move |key: &TargetKey| {
            kinds
                .known(&key.group, &key.kind)
                .map(|kind| kind.resource.version)
        }
    };
    let (events, write_events) = Events::new(
        leaders_client.clone(),
        options.identity.clone(),
        metrics.dropped_events(),
        versions,
    );
    tasks.spawn("writing Events", write_events);
    let known = known_facts(&options, &client, &shared, &events, &leadership);
    if options.activator_account.is_some() {
        let (client, shared) = (leaders_client.clone(), Arc::clone(&shared));
        tasks.spawn(
            "writing slices",
            paths::run(
                client,
                options.namespace.clone(),
                shared,
                Arc::clone(&leadership),
            ),
        );
    }
    let (owners, follower) = Owners::new(
        client.clone(),
        Arc::clone(&kinds),
        Arc::clone(&shared),
        every_cluster_has().map(|kind| (kind.group, kind.kind)),
    );
    tasks.spawn("following owners", follower.run());
    let (orders, to_write) = mpsc::unbounded_channel();
    let writer = Writer {
        client: leaders_client,
        kinds,
        shared: Arc::clone(&shared),
        events: events.clone(),
        metrics: Arc::clone(&metrics),
        leadership: Arc::clone(&leadership),
    };
    tasks.spawn("writing scales", Arc::new(writer).run(to_write));
    tasks.spawn(
        "carrying out what the engine wants",
        dispatch(effects, owners, events, orders, Arc::clone(&leadership)),
    );

    let candidate = Candidate::new(
        client.clone(),
        &options.namespace,
        &options.lease,
        &options.identity,
        options.lease_duration,
        Arc::clone(&leadership),
    );
    let certificate = certificate(&options, client.clone(), &tasks).await?;
    let identities = Identities::new(
        client,
        &options.agent_account,
        options.activator_account.as_deref(),
        &options.source_accounts,
    );
    let handler = Arc::new(Handler::new(
        Arc::clone(&shared),
        identities,
        Arc::clone(&metrics),
    ));
    let tls = Arc::clone(&certificate).config()?;
    let serve = ingest::serve(
        reports,
        tls,
        handler,
        options.max_connections as usize,
        ending.clone(),
    );
    let serving = tasks.spawn("the report port", async move {
        if let Err(error) = serve.await {
            error!(%error, "reports cannot be taken any more");
        }
    });
    tasks.spawn("the decision loop", decide(Arc::clone(&shared)));

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
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    info!("ending");
    end.send_replace(true);
    // Waits for the writes under way, the release of the Lease and the answers to reports under way.
    let _ = time::timeout(GRACE, async { tokio::join!(standing, serving) }).await;
    result
}

/// The start: this replica neither leads nor decides before all initial lists have been read. Owner references may be
/// resolved later: workloads that wait for an owner keep their replicas.
struct Start {
    known: Sync,
    shared: Arc<Shared>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
}

impl Start {
    async fn then_stand(
        self,
        candidate: Candidate,
        leading: channel::Receiver<bool>,
        mut ending: channel::Receiver<bool>,
    ) {
        tokio::select! {
            () = self.known.done() => {}
            _ = ending.wait_for(|end| *end) => return,
        }
        self.shared.beat();
        self.shared.with(|engine, now| engine.begin(now));
        self.shared.sooner.notify_one();
        self.status.ready.store(true, Ordering::Relaxed);
        info!("ready");
        // The initial lists are processed: returns their memory to the system.
        ebb_metrics::memory::give_back();
        let followed = follow_leading(leading, self.shared, self.metrics);
        // `Leadership` outlives the candidate, so `followed` does not end before it.
        tokio::select! {
            () = candidate.run(ending) => {}
            () = followed => {}
        }
    }
}

/// Starts the watches; the returned `Sync` is done when each required watch has read its list once.
fn known_facts(
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
        rivals::horizontal(client(), shared(), known.part()),
    );
    tasks.spawn("watching ScaledObjects", rivals::keda(client(), shared()));
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
            "watching the record of ports",
            services::records(client(), options.namespace.clone(), shared(), known.part()),
        );
    }
    known
}

/// Kinds that are watched from the start, because a workload may have no pod whose owner references lead to it.
fn every_cluster_has() -> [ApiResource; 2] {
    [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<StatefulSet>(&()),
    ]
}

/// Takes the decisions that are due, without end.
async fn decide(shared: Arc<Shared>) {
    let mut swept = Instant::now();
    loop {
        let next = shared.with(|engine, now| {
            let due = engine.decide_due(now);
            due.map(|due| due.since(now))
        });
        shared.beat();
        if next == Some(Duration::ZERO) {
            // More decisions are due. Tasks that wait for the engine go first.
            tokio::task::yield_now().await;
            continue;
        }
        if swept.elapsed() > SWEEP {
            swept = Instant::now();
            shared.with(|engine, now: Timestamp| engine.sweep(now));
        }
        let wait = next.map_or(ROUND, |next| next.clamp(TOGETHER, ROUND));
        tokio::select! {
            () = time::sleep(wait) => {}
            () = shared.sooner.notified() => {}
        }
    }
}

/// Passes the effects of the engine to the tasks that carry them out.
async fn dispatch(
    mut effects: mpsc::UnboundedReceiver<Effect>,
    owners: Owners,
    events: Events,
    orders: mpsc::UnboundedSender<crate::engine::Order>,
    leadership: Arc<Leadership>,
) {
    while let Some(effect) = effects.recv().await {
        let leads = leadership.leads();
        match effect {
            Effect::Follow { namespace, owner } => owners.follow(namespace, owner),
            Effect::Confirm(target) => owners.confirm(target),
            Effect::Scale(order) if leads => {
                // The receiver is gone only at shutdown.
                let _ = orders.send(order);
            }
            Effect::Say(notice) if leads => events.say(notice),
            Effect::Scale(_) | Effect::Say(_) => {}
        }
    }
}

/// Passes each change of leadership to the engine and to the metric.
async fn follow_leading(
    mut leading: channel::Receiver<bool>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
) {
    loop {
        let leads = *leading.borrow_and_update();
        metrics.leads(leads);
        shared.with(|engine, _| engine.lead(leads));
        if leading.changed().await.is_err() {
            return;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Failure::Listen { address, source })
}

/// The certificate of the report port; a task keeps it up to date.
async fn certificate(
    options: &Options,
    client: Client,
    tasks: &Tasks,
) -> Result<Arc<Certificate>, Failure> {
    let source = match (&options.tls_certificate, &options.tls_key) {
        (Some(chain), Some(key)) => CertificateSource::Files(chain.clone(), key.clone()),
        _ => CertificateSource::Made(Keeper {
            client,
            namespace: options.namespace.clone(),
            names: options.tls_names.clone(),
        }),
    };
    let mut used = source.read().await?;
    let certificate = Certificate::new(&used)?;
    let kept = Arc::clone(&certificate);
    tasks.spawn("looking after the certificate", async move {
        loop {
            time::sleep(CERTIFICATE_AGAIN).await;
            match source.read().await {
                Ok(pem) if pem == used => {}
                Ok(pem) => match kept.replace(&pem) {
                    Ok(()) => {
                        info!("another certificate from now on");
                        used = pem;
                    }
                    Err(error) => {
                        warn!(%error, "the new certificate is no good; the old one stays")
                    }
                },
                Err(error) => warn!(%error, "cannot look after the certificate; trying again"),
            }
        }
    });
    Ok(certificate)
}

/// Where the certificate comes from.
enum CertificateSource {
    Files(PathBuf, PathBuf),
    Made(Keeper),
}

impl CertificateSource {
    async fn read(&self) -> Result<Pem, Failure> {
        match self {
            Self::Files(chain, key) => Ok(Pem::read(chain, key)?),
            Self::Made(keeper) => Ok(keeper.certificate().await?),
        }
    }
}
