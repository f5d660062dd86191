//! The decision loop of one workload: read the load, decide, scale.
//!
//! It decides every [`DECISION_TICK`], and at once when a request finds no replica or a burst begins.
//!
//! Bias: no data is not zero. While the load cannot be read, the workload may grow and does not shrink. While the
//! number of ready replicas is unknown, it stays as it is. A failed change is tried again with the next decision,
//! because each decision compares the requested with the desired replicas.

use std::time::Duration;

use ebb_autoscaler_core::{DECISION_TICK, Facts, Feed, Settings, Timestamp, Workload};
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    ports::{Decided, Load, LoadSource, Observer, ScaleTarget},
};

/// Readings in one burst window: a burst that begins just after a reading is seen at most a fifth of the window late.
const READINGS_PER_BURST_WINDOW: u32 = 5;
/// Time between readings without a burst window: a second's mean enters the windows at most this late.
const CALM_READING: Duration = Duration::from_millis(200);
/// Shortest time between readings, however short the burst window is. A reading takes microseconds, and a wake-up costs
/// more than that.
const SHORTEST_READING: Duration = Duration::from_millis(10);
const SECOND: Duration = Duration::from_secs(1);

/// The decision loop of one workload.
#[derive(Debug)]
pub struct Autoscaler<L, T, O> {
    clock: Clock,
    workload: Workload,
    source: L,
    target: T,
    observer: O,
    /// Whether the last reading or the last change of replicas failed. Only a change of this value is logged.
    troubled: bool,
}

/// State that is kept between readings.
struct Readings {
    feed: Feed,
    last: Load,
    /// The reading at the last decision.
    decided: Load,
    /// The reading at which the current second began.
    second: Load,
    /// Requests already counted while they were queued. They will be counted a second time when they reach a replica.
    counted_ahead: f64,
    /// Whether the newest reading failed.
    stale: bool,
}

impl<L: LoadSource, T: ScaleTarget, O: Observer> Autoscaler<L, T, O> {
    /// Creates the loop for a workload without replicas.
    pub fn new(settings: Settings, clock: Clock, source: L, target: T, observer: O) -> Self {
        Autoscaler {
            workload: Workload::new(clock.at(Instant::now()), settings, 0),
            clock,
            source,
            target,
            observer,
            troubled: false,
        }
    }

    /// Runs for ever. Dropping the future stops the loop and leaves the workload as it is.
    ///
    /// # Errors
    ///
    /// Only if the load cannot be read at the very start; later failures are retried.
    pub async fn run(mut self) -> Result<(), L::Error> {
        let first = self.source.load().await?;
        let mut readings = Readings {
            feed: Feed::starting(self.clock.at(first.at)),
            last: first,
            decided: first,
            second: first,
            counted_ahead: 0.0,
            stale: false,
        };
        self.order(self.workload.initial_replicas()).await;
        let mut tick = time::interval(self.reading_interval());
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut regular = Instant::now() + DECISION_TICK;
        let mut asked = None;
        loop {
            tokio::select! {
                () = self.source.woken() => {}
                _ = tick.tick() => {}
            }
            let poked = self.read(&mut readings).await;
            let now = Instant::now();
            let due = now >= regular;
            if due {
                // Regular decisions keep their rhythm, whatever happened between them; missed ones are not made up for.
                regular = (regular + DECISION_TICK).max(now);
            }
            if poked || due || asked.is_some_and(|asked| now >= asked) {
                let again = self.decide(&mut readings).await;
                asked = again.and_then(|again| now.checked_add(again));
            }
        }
    }

    fn reading_interval(&self) -> Duration {
        let burst_window = self.workload.settings().burst_window;
        if burst_window.is_zero() {
            CALM_READING
        } else {
            (burst_window / READINGS_PER_BURST_WINDOW).max(SHORTEST_READING)
        }
    }

    /// Reads the load and records it. Returns whether to decide at once.
    async fn read(&mut self, readings: &mut Readings) -> bool {
        let load = match self.source.load().await {
            Ok(load) => load,
            Err(error) => {
                self.trouble(&format!("cannot read the load: {error}"));
                readings.stale = true;
                return false;
            }
        };
        readings.stale = false;
        let asleep = self.is_asleep().await;
        let earlier = std::mem::replace(&mut readings.last, load);
        if load.at.saturating_duration_since(readings.second.at) >= SECOND {
            self.observer
                .second(load.concurrency_since(&readings.second));
            readings.second = load;
        }
        let now = self.clock.at(load.at);
        let (concurrency, mut requests) = (
            load.concurrency_since(&earlier),
            load.requests_since(&earlier) as f64,
        );
        let known = requests.min(readings.counted_ahead);
        readings.counted_ahead -= known;
        requests -= known;
        if asleep && load.is_idle_since(&earlier) {
            // No replica is there and none is desired: nothing is recorded, as for a revision without pods. So the
            // first request is not averaged with an hour of zeros.
            self.restart_feed(readings, now);
            return false;
        }
        let (workload, feed) = (&mut self.workload, &mut readings.feed);
        let observed = if asleep {
            // No replica has begun a queued request yet; these requests must not be counted again when one does.
            readings.counted_ahead = load.held as f64;
            let (concurrency, requests) = (
                concurrency.max(load.held as f64),
                requests.max(load.held as f64),
            );
            workload.observe_waiting(feed, now, concurrency, requests)
        } else {
            workload.observe(feed, now, concurrency, requests)
        };
        match observed {
            Ok(poke) => poke.is_some(),
            Err(error) => {
                self.trouble(&format!("a reading makes no sense: {error}"));
                false
            }
        }
    }

    /// Returns whether there is no replica and none is requested.
    async fn is_asleep(&mut self) -> bool {
        let facts = self.target.facts().await;
        facts.is_ok_and(|facts| facts.ready == Some(0) && facts.replicas == 0)
    }

    fn restart_feed(&mut self, readings: &mut Readings, now: Timestamp) {
        let ended = std::mem::replace(&mut readings.feed, Feed::starting(now));
        self.workload.forget(ended);
    }

    /// Decides and applies the decision. Returns after what time to decide again at the latest.
    async fn decide(&mut self, readings: &mut Readings) -> Option<Duration> {
        let facts = match self.target.facts().await {
            Ok(facts) => Facts {
                stale: readings.stale || facts.stale,
                ..facts
            },
            Err(error) => {
                self.trouble(&format!("cannot tell how many replicas are ready: {error}"));
                Facts {
                    ready: None,
                    ..Facts::local(0, 0)
                }
            }
        };
        let decision = self.workload.decide(self.clock.at(Instant::now()), &facts);
        let earlier = std::mem::replace(&mut readings.decided, readings.last);
        self.observer.decided(&Decided {
            decision: &decision,
            load: readings.last,
            concurrency: readings.last.concurrency_since(&earlier),
        });
        if let Some(replicas) = decision.step.apply {
            self.order(replicas).await;
        } else if !readings.stale && facts.ready.is_some() {
            self.well();
        }
        decision.step.again
    }

    async fn order(&mut self, replicas: u32) {
        match self.target.scale(replicas).await {
            Ok(()) => self.well(),
            Err(error) => self.trouble(&format!("cannot scale to {replicas}: {error}")),
        }
    }

    fn trouble(&mut self, what: &str) {
        if !self.troubled {
            warn!("{what}; trying again");
        }
        self.troubled = true;
    }

    fn well(&mut self) {
        if self.troubled {
            info!("well again");
        }
        self.troubled = false;
    }
}

#[cfg(test)]
mod tests;
