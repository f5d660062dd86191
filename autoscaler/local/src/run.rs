//! The loop around the engine: it reads the load, passes it to the engine, and carries out the engine's orders.
//!
//! Failure mode: while the load cannot be read, nothing is reported to the engine. For the engine, the replicas then
//! have no current metrics, so it does not scale the workload down.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ebb_autoscaler_core::{Config, Decision, Settings, Timestamp};
use ebb_contract::{ActivatorReport, Pod, PortReport, Report, opt_in};
use ebb_engine::{
    Clock, Effect, Engine, Notice, Order, Owner, OwnerResolution, PodFacts, Queueing, Scope,
    ServiceFacts, TargetFacts, TargetKey,
};
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::{
    host::{Load, LoadSource, ObservedDecision, Observer, Phase, ReplicaLoad, ScaleTarget},
    totals::{CounterSums, Totals},
};

/// Number of readings in one burst window. A burst that begins just after a reading is detected at most a fifth of the
/// window late.
const READINGS_PER_BURST_WINDOW: u32 = 5;
/// Time between readings of the load if there is no burst window. So the mean load of a second is recorded at most this
/// long after the second.
const CALM_READING: Duration = Duration::from_millis(200);
/// Shortest time between readings, however short the burst window is. A reading takes only microseconds, but the
/// wake-up for it costs more.
const SHORTEST_READING: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);

/// The namespace and the kind of the run's workload in the engine, and the key of the label of its replicas. The
/// Service of the run selects the replicas by this label.
const NAMESPACE: &str = "local";
const KIND: &str = "Command";
const LABEL: &str = "run";
/// Name under which the engine knows the host, as a sender of reports.
const SENDER: &str = "this host";
/// Name of the run's proxy in the engine: as an activator, and as the Service that selects the replicas.
const PROXY: &str = "the proxy";

/// The workload of a run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Name of the workload, for people.
    pub name: String,
    /// The settings that are cluster-wide in Kubernetes. Here they apply to the run only.
    pub config: Config,
    /// Annotations of the workload. They must be valid.
    pub annotations: BTreeMap<String, String>,
    /// The settings that `config` and `annotations` resolve to.
    pub settings: Settings,
}

impl Run {
    /// Returns the name under which the engine knows the workload.
    #[must_use]
    pub fn key(&self) -> TargetKey {
        TargetKey::new("", KIND, NAMESPACE, &self.name)
    }

    /// Returns the number of replicas that the run starts with.
    #[must_use]
    pub fn initial_replicas(&self) -> u32 {
        self.settings.initial_scale.max(self.settings.min_scale)
    }

    /// Returns the workload of the run as the engine sees it: created at `now`, with the initial number of replicas.
    fn target(&self, now: Timestamp) -> TargetFacts {
        let mut annotations = self.annotations.clone();
        // The engine scales only workloads that have opted in with the class `ebb.dev`, so this class is set even if
        // the run has Knative's class. A run of Knative's class has no burst window. The annotation 0 keeps it so.
        annotations.insert(opt_in::CLASS_KEY.to_owned(), opt_in::CLASS.to_owned());
        if self.settings.burst_window.is_zero() {
            annotations.insert("ebb.dev/burst-window".to_owned(), "0".to_owned());
        }
        TargetFacts {
            key: self.key(),
            uid: Box::default(),
            resource_version: Box::default(),
            replicas: self.initial_replicas(),
            annotations,
            labels: self.labels(),
            oversized: 0,
            owned: false,
            created: now.second(),
        }
    }

    /// Returns the Service that stands for the run's proxy in the engine. The Service selects the replicas.
    fn service(&self) -> ServiceFacts {
        ServiceFacts {
            namespace: NAMESPACE.into(),
            name: PROXY.into(),
            selector: self.labels(),
            ports: [(String::new(), None)].into(),
            ..ServiceFacts::default()
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        [(LABEL.to_owned(), self.name.clone())].into()
    }

    fn reading_interval(&self) -> Duration {
        let burst_window = self.settings.burst_window;
        if burst_window.is_zero() {
            CALM_READING
        } else {
            (burst_window / READINGS_PER_BURST_WINDOW).max(SHORTEST_READING)
        }
    }
}

/// The engine of a run, shared with the code that shows the engine's state.
#[derive(Debug, Clone)]
pub struct SharedEngine(Arc<Mutex<Engine>>);

impl SharedEngine {
    /// Calls `read` with the engine, and returns the result.
    pub fn with<T>(&self, read: impl FnOnce(&Engine) -> T) -> T {
        read(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Engine> {
        // A poisoned lock is used: the engine stays usable even after a call that panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for SharedEngine {
    fn default() -> Self {
        let mut engine = Engine::new(Queueing::Proxy);
        engine.lead(true);
        Self(Arc::new(Mutex::new(engine)))
    }
}

/// The autoscaler of a run.
#[derive(Debug)]
pub struct Autoscaler<L, T, O> {
    run: Run,
    clock: Clock,
    engine: SharedEngine,
    source: L,
    target: T,
    observer: O,
    /// The replicas that the engine knows, by number, each with its last phase.
    known: BTreeMap<u64, Phase>,
    sums: CounterSums,
    /// Actions that the engine returned and that are still to be carried out.
    pending: Vec<Effect>,
    reading: FailureState,
    scaling: FailureState,
}

/// Whether an operation fails at present. A message is logged only when the operation begins to fail or succeeds again.
#[derive(Debug, Default)]
struct FailureState(bool);

impl FailureState {
    fn begins(&mut self, what: &str) {
        if !std::mem::replace(&mut self.0, true) {
            warn!("{what}; trying again");
        }
    }

    fn is_over(&mut self, what: &str) {
        if std::mem::take(&mut self.0) {
            info!("{what} again");
        }
    }
}

/// The totals at the starts of the periods over which means are computed, and the latest totals.
struct PeriodTotals {
    start: Instant,
    last: Totals,
    /// The totals at the last decision that was passed to the observer.
    decided: Totals,
    decided_at: Option<Timestamp>,
    /// The totals when the current second began.
    second: Totals,
}

impl<L: LoadSource, T: ScaleTarget, O: Observer> Autoscaler<L, T, O> {
    /// Creates the autoscaler of a run without replicas. No other code must change `engine`.
    pub fn new(
        run: Run,
        engine: SharedEngine,
        clock: Clock,
        source: L,
        target: T,
        observer: O,
    ) -> Self {
        Self {
            run,
            clock,
            engine,
            source,
            target,
            observer,
            known: BTreeMap::new(),
            sums: CounterSums::default(),
            pending: Vec::new(),
            reading: FailureState::default(),
            scaling: FailureState::default(),
        }
    }

    /// Runs without end. Dropping the future stops the loop and does not change the replicas.
    ///
    /// # Errors
    ///
    /// If the first reading of the load fails. Later readings that fail are repeated.
    pub async fn run(mut self) -> Result<(), L::Error> {
        let start = Instant::now();
        let first = self.source.load().await?;
        let totals = Totals::zero(start);
        let mut periods = PeriodTotals {
            start,
            last: totals,
            decided: totals,
            decided_at: None,
            second: totals,
        };
        self.begin().await;
        self.update_engine(&mut periods, &first);
        let mut due = self.decide(&mut periods).await;
        let mut tick = time::interval(self.run.reading_interval());
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.source.woken() => {}
                _ = tick.tick() => {}
                () = at(due) => {}
            }
            match self.source.load().await {
                Ok(load) => {
                    self.reading.is_over("the load can be read again");
                    self.update_engine(&mut periods, &load);
                }
                Err(error) => self
                    .reading
                    .begins(&format!("cannot read the load: {error}")),
            }
            due = self.decide(&mut periods).await;
        }
    }

    /// Passes the configuration, the workload and the Service of the run to the engine, and starts the first replicas.
    async fn begin(&mut self) {
        let now = self.now();
        {
            let mut engine = self.engine.lock();
            engine.configure(now, self.run.config.clone());
            engine.target_seen(now, self.run.target(now));
            engine.service_seen(self.run.service());
            engine.begin(now);
        }
        let replicas = self.run.initial_replicas();
        if replicas > 0 {
            // If the start fails, the engine requests the replicas again.
            let _ = self.start(replicas).await;
        }
    }

    /// Passes a reading of the load to the engine.
    fn update_engine(&mut self, periods: &mut PeriodTotals, load: &Load) {
        let read = Instant::now();
        let now = self.clock.at(read);
        periods.last = self.sums.add(read, load);
        if read.saturating_duration_since(periods.second.at) >= SECOND {
            self.observer
                .second(periods.last.concurrency_since(&periods.second));
            periods.second = periods.last;
        }
        let mut engine = self.engine.lock();
        // A new replica has served no request before its counter began. So the engine gets each new replica first as a
        // pod that is starting, and only then with its phase.
        for replica in &load.replicas {
            if let Entry::Vacant(new) = self.known.entry(replica.number) {
                new.insert(Phase::Starting);
                let starting = pod(&self.run.name, replica.number, Phase::Starting, now);
                engine.pod_seen(now, starting);
            }
        }
        // The engine's requests for the owners of new pods are answered before the report is passed on: the engine
        // drops the counters of a pod whose workload is unknown.
        for effect in engine.effects() {
            match effect {
                Effect::ResolveOwner { namespace, owner } => {
                    let to = OwnerResolution::Target(self.run.key());
                    engine.owner_resolved(now, &namespace, &owner, to);
                }
                other => self.pending.push(other),
            }
        }
        let pods = load.replicas.iter().map(figures).collect();
        let report = Report {
            node: SENDER.into(),
            boot: "".into(),
            pods,
            ..Report::default()
        };
        engine.report(now, Scope::Cluster, SENDER, &report);
        engine.activator_report(
            now,
            &queue(load, read.saturating_duration_since(periods.start)),
        );
        for &ReplicaLoad { number, phase, .. } in &load.replicas {
            if phase == Phase::Gone {
                engine.pod_gone(&uid(number));
                self.known.remove(&number);
            } else if self.known.insert(number, phase) != Some(phase) {
                engine.pod_seen(now, pod(&self.run.name, number, phase, now));
            }
        }
    }

    /// Makes a decision if one is due, shows the decision, and carries out the orders. Returns the time by which this
    /// function must be called again; `None` if no decision is scheduled.
    async fn decide(&mut self, periods: &mut PeriodTotals) -> Option<Instant> {
        let now = self.now();
        let due = {
            let mut engine = self.engine.lock();
            let due = engine.decide_due(now);
            self.pending.extend(engine.effects());
            due
        };
        self.show(periods);
        for effect in std::mem::take(&mut self.pending) {
            match effect {
                Effect::Scale(order) => self.scale(order).await,
                Effect::Say(notice) => say(&notice),
                // Nothing is left to do for `ResolveOwner` and `Confirm`: `update_engine` has already answered each
                // `ResolveOwner`, and the engine returns `Confirm` only for EndpointSlices, which a run does not have.
                Effect::ResolveOwner { .. } | Effect::Confirm(_) => {}
            }
        }
        due.map(|due| Instant::now() + due.since(self.now()))
    }

    /// Passes the last decision to the observer, if the observer does not have it yet.
    fn show(&mut self, periods: &mut PeriodTotals) {
        let key = self.run.key();
        let decision: Option<Decision> = self.engine.with(|engine| engine.decision(&key).copied());
        let Some(decision) = decision.filter(|it| periods.decided_at != Some(it.at)) else {
            return;
        };
        periods.decided_at = Some(decision.at);
        let earlier = std::mem::replace(&mut periods.decided, periods.last);
        self.observer.decided(&ObservedDecision {
            decision: &decision,
            in_flight: periods.last.in_flight,
            queued: periods.last.queued,
            requests: periods.last.requests,
            concurrency: periods.last.concurrency_since(&earlier),
        });
    }

    async fn scale(&mut self, order: Order) {
        let error = self.start(order.to).await.err();
        let now = self.now();
        self.engine.lock().written(now, order, error);
    }

    fn now(&self) -> Timestamp {
        self.clock.at(Instant::now())
    }

    /// Requests this number of replicas from the host. Returns the error message if the request fails.
    async fn start(&mut self, replicas: u32) -> Result<(), String> {
        let result = self.target.scale(replicas).await;
        match &result {
            Ok(()) => self.scaling.is_over("replicas can be changed"),
            Err(error) => self
                .scaling
                .begins(&format!("cannot scale to {replicas}: {error}")),
        }
        result.map_err(|error| error.to_string())
    }
}

/// Resolves at the instant `due`; never if it is `None`.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Returns a replica as a pod, for the engine.
fn pod(run: &str, number: u64, phase: Phase, now: Timestamp) -> PodFacts {
    PodFacts {
        uid: uid(number),
        namespace: NAMESPACE.into(),
        name: format!("replica {number}").into(),
        node: Some(SENDER.into()),
        ready: phase == Phase::Ready,
        deleting: phase == Phase::Leaving,
        opted_in: true,
        owner: Some(Arc::new(Owner {
            api_version: "v1".into(),
            kind: KIND.into(),
            name: run.into(),
            uid: Box::default(),
        })),
        deletion_cost: None,
        created: now.second(),
    }
}

/// Returns the counters of a replica as those of a pod in a report.
fn figures(replica: &ReplicaLoad) -> Pod<'static> {
    Pod {
        uid: uid(replica.number).into_string().into(),
        since: nanos(replica.since),
        at: nanos(replica.at),
        integral: replica.integral,
        in_flight: replica.in_flight,
        started: replica.started,
        opaque: replica.opaque,
        ..Pod::default()
    }
}

/// Returns the queued requests of the proxy as the report of an activator. `at` is the time since the start of the run.
fn queue(load: &Load, at: Duration) -> ActivatorReport {
    ActivatorReport {
        activator: PROXY.to_owned(),
        address: "127.0.0.1".to_owned(),
        boot: String::new(),
        leaving: false,
        ports: vec![PortReport {
            namespace: NAMESPACE.to_owned(),
            service: PROXY.to_owned(),
            in_path: true,
            at: nanos(at),
            queued_integral: nanos(load.queue.integral),
            queued: load.queue.now,
            queued_ever: load.queue.total,
            ..PortReport::default()
        }],
    }
}

fn uid(replica: u64) -> Box<str> {
    replica.to_string().into()
}

/// Returns a time in nanoseconds. The result fits into 64 bits, because 2^64 ns are 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn say(notice: &Notice) {
    match notice.warning {
        true => warn!("{}", notice.note),
        false => info!("{}", notice.note),
    }
}

#[cfg(test)]
mod tests;
