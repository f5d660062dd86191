//! The main loop of the agent.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use hyper::body::Bytes;
use kube::runtime::watcher::Event;
use tokio::{
    io::unix::AsyncFd,
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tracing::{error, warn};

use super::{
    announce::Announcer,
    burst::Burst,
    counting::Counting,
    metrics::{CountingStatus, Metrics, SharedView},
    pod::Pod,
    pods::Pods,
    report::Reporter,
    unavailable::{CounterPaths, LoadedCounter, UnavailableReason},
};
use ebb_agent::counter::{Counter, WakeUps};

/// Interval of readings and reports. It is the length of a bucket in the autoscaler's windows.
const ROUND: Duration = Duration::from_secs(1);
/// Interval of searches for the cgroups of waiting pods. It is shorter than the start of a container, so a cgroup is
/// usually found before its pod serves requests.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Minimum interval between two checks for a burst. The kernel wakes the agent after a number of requests have begun,
/// and does not subtract requests that have ended. Without a minimum interval, a busy pod would wake the agent
/// continually.
const PEEK_EVERY: Duration = Duration::from_millis(20);
/// Interval of attempts to load the counter. The interval is long, because the cause of a failure is seldom removed
/// while the node runs.
const TRY_AGAIN: Duration = Duration::from_secs(60);

/// The state of the agent of a node.
pub(super) struct Node {
    pub(super) pods: Pods,
    pub(super) announcer: Announcer,
    pub(super) reporter: Reporter,
    pub(super) counting: Counting<Counter>,
    pub(super) paths: CounterPaths,
    pub(super) view: SharedView,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reports: watch::Sender<Bytes>,
}

impl Node {
    /// Runs forever. Returns only in case of an error.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut burst = Burst::default();
        let mut wake_ups = None;
        let (mut look, mut looked): (Option<Instant>, _) = (None, Instant::now());
        let mut loading = Some(self.load());
        let mut again = Instant::now();
        loop {
            tokio::select! {
                event = self.pods.next() => match event {
                    Some(Ok(event)) => self.handle_pod_event(event),
                    Some(Err(error)) => {
                        self.metrics.watch_broke();
                        warn!(%error, "the watch of this node's pods was interrupted; it begins again");
                    }
                    None => anyhow::bail!("the watch of this node's pods ended"),
                },
                _ = rounds.tick() => self.round(),
                _ = looks.tick(), if self.counting.pod_counts().waiting > 0 => {
                    // The counts of a new pod are reported at once, because its activator waits for them.
                    if self.counting.try_waiting() {
                        self.round();
                    }
                }
                () = woken(&mut wake_ups) => {
                    look = Some(look.unwrap_or(looked + PEEK_EVERY));
                }
                () = at(look) => {
                    let now = Instant::now();
                    looked = now;
                    if self.counting.bursts() {
                        self.metrics.woken();
                        burst.begins(now);
                    } else {
                        self.counting.arm();
                    }
                    if burst.is_due(now) {
                        self.round();
                    }
                    look = burst.lasts(now).then_some(now + PEEK_EVERY);
                }
                loaded = finished(&mut loading) => {
                    loading = None;
                    wake_ups = self.loaded(loaded?);
                    again = Instant::now() + TRY_AGAIN;
                }
                () = sleep_until(again), if loading.is_none() && self.counting.meter().is_none() => {
                    loading = Some(self.load());
                }
            }
        }
    }

    /// Loads the counter on another thread, because the kernel takes seconds to verify the programs.
    fn load(&self) -> JoinHandle<Result<LoadedCounter, UnavailableReason>> {
        let paths = self.paths.clone();
        spawn_blocking(move || {
            let counter = paths.load();
            // Frees the memory used for reading and linking the programs: two thirds of the agent's memory.
            ebb_metrics::memory::give_back();
            counter
        })
    }

    /// Handles the result of loading the counter. Returns the source of kernel wake-ups if counting has begun.
    fn loaded(
        &mut self,
        loaded: Result<LoadedCounter, UnavailableReason>,
    ) -> Option<AsyncFd<WakeUps>> {
        let previous = match &self.view().status {
            CountingStatus::Unavailable(_, why) => Some(why.clone()),
            _ => None,
        };
        match loaded {
            Ok(mut ready) => {
                let wake_ups = ready.counter.wake_ups().map_err(anyhow::Error::from);
                // SAFETY: the registered value owns its descriptor and keeps it open.
                let wake_ups =
                    wake_ups.and_then(|wake_ups| Ok(unsafe { AsyncFd::register(wake_ups) }?));
                self.view().status = CountingStatus::Counting {
                    pinned: ready.pinned,
                    adoption: ready.adoption,
                };
                self.counting.set_meter(ready.counter);
                self.round();
                if previous.is_some() {
                    self.announcer.node_counting();
                }
                wake_ups
                    .inspect_err(|error| warn!(%error, "no kernel wake-ups: bursts are detected only once a second"))
                    .ok()
            }
            Err(reason) => {
                let why = reason.to_string();
                self.view().status = CountingStatus::Unavailable(reason.label(), why.clone());
                if previous.as_ref() != Some(&why) {
                    error!(
                        reason = reason.label(),
                        why, "requests cannot be counted on this node"
                    );
                }
                // An Event is written after each failed attempt, because the API server deletes Events after an hour by
                // default.
                self.announcer.node_unavailable(&reason);
                None
            }
        }
    }

    fn handle_pod_event(&mut self, event: Event<Pod>) {
        let now = Instant::now();
        match event {
            Event::Init => self.counting.list_begins(),
            Event::InitApply(pod) | Event::Apply(pod) => self.counting.apply(&pod, now),
            Event::InitDone => {
                self.counting.list_ends(now);
                self.round();
            }
            Event::Delete(pod) => self.counting.remove(pod.uid(), now),
        }
    }

    /// Reads all pods, and publishes and reports the readings.
    fn round(&mut self) {
        let now = Instant::now();
        self.counting.read(now);
        for (pod, why) in self.counting.rejections(now) {
            self.announcer.pod_rejected(&pod, &why);
        }
        for (pod, advice) in self.counting.advised(now) {
            self.announcer.pod_advised(&pod, &advice);
        }
        let readings: Vec<_> = self.counting.readings().collect();
        // A report is sent only with a complete list of pods and a loaded counter: an empty report would mean that the
        // node has no pods.
        if self.counting.is_synced() && self.counting.meter().is_some() {
            let rejected = self.counting.rejected();
            match self.reporter.body(readings.iter().cloned(), rejected) {
                Ok(body) => drop(self.reports.send_replace(body)),
                Err(error) => error!(%error, "a report cannot be written"),
            }
        }
        let (pod_counts, synced, missed) = (
            self.counting.pod_counts(),
            self.counting.is_synced(),
            self.counting.missed,
        );
        let events = self.counting.meter_mut().and_then(|counter| {
            counter.flush_log();
            counter
                .events()
                .inspect_err(|error| warn!(%error, "cannot read kernel event counts"))
                .ok()
        });
        let mut view = self.view();
        view.events = events.unwrap_or(view.events);
        view.readings = readings;
        view.pod_counts = pod_counts;
        view.missed = missed;
        view.synced = synced;
    }

    fn view(&self) -> std::sync::MutexGuard<'_, super::metrics::View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until the kernel wakes the agent.
async fn woken(wake_ups: &mut Option<AsyncFd<WakeUps>>) {
    let ready = match wake_ups {
        Some(wake_ups) => wake_ups.readable_mut().await,
        None => return std::future::pending().await,
    };
    match ready {
        Ok(mut ready) => {
            while ready.get_inner_mut().next_pod().is_some() {}
            ready.clear_ready();
        }
        Err(error) => {
            warn!(%error, "no kernel wake-ups: bursts are detected only once a second");
            *wake_ups = None;
        }
    }
}

/// Waits until a time, or forever if it is `None`.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> anyhow::Result<T> {
    match task {
        Some(task) => Ok(task.await?),
        None => std::future::pending().await,
    }
}
