//! One workload from end to end: records samples and makes decisions.
//!
//! All callers (`ebb run`, `ebb simulate`, the autoscaler) use [`Workload`], so that all of them decide the same.
//!
//! Bias: missing knowledge never shrinks a workload. Without data, or without the number of ready pods, the last
//! desired number of pods still applies. While a source has no current metrics, the desired number may rise but not
//! fall.

use std::time::Duration;

use crate::{
    activity::Status,
    capacity::activators,
    class::Class,
    decision::{Observation, Scaler},
    facts::Facts,
    feed::Feed,
    latest::Latest,
    reason::{Basis, Limit, Reason},
    reconcile::{Reconciler, Step},
    settings::Settings,
    time::Timestamp,
    window::{Averages, BadSample, Sample, Windows},
};

/// Time between decisions if nothing requests an earlier decision.
pub const DECISION_TICK: Duration = Duration::from_secs(2);

/// The state of one workload: its settings, its windows and its last decision.
#[derive(Clone, Debug)]
pub struct Workload {
    settings: Settings,
    windows: Windows,
    scaler: Scaler,
    reconciler: Reconciler,
    latest: Latest,
    burst: BurstMean,
    /// Ready pods at the last decision.
    ready: u32,
}

/// The mean concurrency over the burst window, summed over all sources of reports.
#[derive(Clone, Copy, Debug)]
struct BurstMean {
    mean: f64,
    /// Time of the last report of any source.
    at: Timestamp,
}

/// Reason why a decision should not wait for its scheduled time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// There are requests, and no pod is desired yet.
    Wake,
    /// A burst has begun.
    Burst,
}

/// One decision, with its input, its result and its reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Time of the decision.
    pub at: Timestamp,
    /// Averages of the windows; `None` without data.
    pub averages: Option<Averages>,
    /// Pods that the load needs, before bounds and scale to zero are applied; `None` until the first decision.
    pub desired: Option<u32>,
    /// Whether panic mode is on.
    pub panic_mode: bool,
    /// Excess burst capacity; below zero, the activator belongs in the request path.
    pub excess_burst_capacity: i32,
    /// The step that the caller is to carry out.
    pub step: Step,
    /// Activity of the workload after this decision.
    pub status: Status,
    /// The reason of the decision.
    pub reason: Reason,
}

impl Workload {
    /// Creates a workload that was discovered at `now`, with `ready` ready pods. If the workload itself is new, the
    /// caller is to start it with [`Self::initial_replicas`].
    pub fn new(now: Timestamp, settings: Settings, ready: u32) -> Self {
        Self::restored(now, settings, ready, Status::new(now))
    }

    /// Creates a workload with a known status, e.g. after a restart of the autoscaler.
    pub fn restored(now: Timestamp, settings: Settings, ready: u32, status: Status) -> Self {
        Self {
            windows: Windows::new(&settings),
            scaler: Scaler::new(now, ready),
            reconciler: Reconciler::new(status),
            latest: Latest::new(&settings),
            burst: BurstMean { mean: 0.0, at: now },
            ready,
            settings,
        }
    }

    /// Returns the settings in force.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the status of the workload.
    pub const fn status(&self) -> Status {
        self.reconciler.status()
    }

    /// Returns the last desired number of pods and the last excess burst capacity.
    pub const fn latest(&self) -> Latest {
        self.latest
    }

    /// Returns the number of replicas that a new workload is to be started with.
    pub fn initial_replicas(&self) -> u32 {
        self.settings.initial_scale.max(self.settings.min_scale)
    }

    /// Changes the settings at once. Windows are resized and keep their samples as far as the samples fit.
    pub fn configure(&mut self, now: Timestamp, settings: Settings) {
        self.windows.configure(now, &settings);
        self.settings = settings;
    }

    /// Records a sample for the second that contains `at`, from a source with one sample a second (a scrape, a trace).
    /// A source that reports more often, or not exactly at the second, uses [`Self::observe`].
    ///
    /// # Errors
    /// If a value is NaN, negative or too large, so that it cannot be a measurement. Nothing is recorded in this case.
    pub fn record(&mut self, at: Timestamp, sample: &Sample) -> Result<Option<Trigger>, BadSample> {
        self.windows.record(at, sample)?;
        Ok((sample.concurrency > 0.0 && self.is_down()).then_some(Trigger::Wake))
    }

    /// Records a report of a source: the exact mean concurrency since the source's last report, and the number of
    /// requests started since then.
    ///
    /// # Errors
    /// If a value is NaN, negative or too large, so that it cannot be a measurement. Nothing is recorded in this case.
    pub fn observe(
        &mut self,
        feed: &mut Feed,
        to: Timestamp,
        concurrency: f64,
        requests: f64,
    ) -> Result<Option<Trigger>, BadSample> {
        let before = feed.burst_mean;
        let longest = self.settings.stable_window;
        feed.report(
            &mut self.windows,
            to,
            concurrency,
            requests,
            longest,
            self.settings.burst_window,
        )?;
        let trigger = self.update_burst(feed, before, to, concurrency);
        if trigger == Some(Trigger::Wake) {
            feed.flush(&mut self.windows);
        }
        Ok(trigger)
    }

    /// Records the requests that are queued at a source while there is no pod. Queued requests count in full at once,
    /// both as concurrency and as requests per second, although requests that have just arrived have no weight in a
    /// mean yet. For the same reason, Knative's activator reports a queued request as a concurrency of 1. Equal reports
    /// within one second count once.
    ///
    /// # Errors
    /// If a value is NaN, negative or too large, so that it cannot be a measurement. Nothing is recorded in this case.
    pub fn observe_waiting(
        &mut self,
        feed: &mut Feed,
        at: Timestamp,
        concurrency: f64,
        rate: f64,
    ) -> Result<Option<Trigger>, BadSample> {
        let before = feed.burst_mean;
        let burst_window = self.settings.burst_window;
        feed.level(&mut self.windows, at, concurrency, rate, burst_window)?;
        Ok(self.update_burst(feed, before, at, concurrency))
    }

    /// Updates the burst mean (mean concurrency over the burst window) after a report of one source about the time
    /// until `to`. Returns why a decision should not wait for its scheduled time; `None` if it can wait. `before` is
    /// the burst mean of this source before the report.
    fn update_burst(
        &mut self,
        feed: &Feed,
        before: f64,
        to: Timestamp,
        concurrency: f64,
    ) -> Option<Trigger> {
        self.burst = BurstMean {
            mean: (self.burst.mean + feed.burst_mean - before).max(0.0),
            at: self.burst.at.max(to),
        };
        if concurrency > 0.0 && self.is_down() {
            return Some(Trigger::Wake);
        }
        self.is_burst(to).then_some(Trigger::Burst)
    }

    /// Prepares a source for a decision at `now`. If the source's last report ends in an earlier second than `now`,
    /// this earlier second is recorded as the mean over the part that reports cover. Otherwise the newest bucket would
    /// contain only the load of sources that report earlier in a second. When the next report covers the rest of that
    /// second, only the difference to the recorded mean is added.
    pub fn settle(&mut self, now: Timestamp, feed: &mut Feed) {
        if feed.upto().second() < now.second() {
            feed.flush(&mut self.windows);
        }
    }

    /// Removes a source that no longer serves any request. The unreported rest of its current second counts as zero.
    pub fn end(&mut self, mut feed: Feed) {
        feed.end(&mut self.windows);
        self.burst.mean = (self.burst.mean - feed.burst_mean).max(0.0);
    }

    /// Removes a source that will not report again, but may still serve requests. Its current second is recorded as the
    /// mean over the part that reports cover.
    pub fn forget(&mut self, mut feed: Feed) {
        feed.flush(&mut self.windows);
        self.burst.mean = (self.burst.mean - feed.burst_mean).max(0.0);
    }

    /// Makes a decision. Call this every [`DECISION_TICK`], after a [`Trigger`], and at the time that the last [`Step`]
    /// requested.
    pub fn decide(&mut self, now: Timestamp, facts: &Facts) -> Decision {
        let averages = self.windows.averages(now, &self.settings.metric);
        self.decide_on(now, facts, averages)
    }

    /// Makes a decision from the given averages (for example recorded ones) instead of the averages of the workload's
    /// own windows. `None` means that there is no data.
    pub fn decide_on(
        &mut self,
        now: Timestamp,
        facts: &Facts,
        averages: Option<Averages>,
    ) -> Decision {
        let always_proxied = self.settings.target_burst_capacity == -1.0;
        // With a target burst capacity of -1, Knative scrapes no pods and treats missing data as no load: the activator
        // would have reported any load.
        let averages_to_go_by = averages.or_else(|| always_proxied.then(Averages::default));
        let (basis, limit) = match (facts.ready, averages_to_go_by) {
            (None, _) => (Basis::ReadyUnknown, None),
            (Some(_), None) if self.latest.desired.is_none() => (Basis::Undecided, None),
            (Some(_), None) => (Basis::NoData, None),
            (Some(ready), Some(averages)) => self.scale(now, facts, ready, averages),
        };
        self.ready = facts.ready.unwrap_or(self.ready);
        let mut step = match facts.ready {
            Some(ready) => self.reconciler.step(
                now,
                &self.settings,
                facts,
                ready,
                self.latest.desired,
                self.latest.excess_burst_capacity,
            ),
            None => Step {
                activators: activators(&self.settings, self.ready),
                ..Step::hold(None)
            },
        };
        if facts.stale {
            step.apply = step.apply.filter(|&pods| pods > facts.replicas);
        }
        Decision {
            at: now,
            averages,
            desired: self.latest.desired,
            panic_mode: self.scaler.is_panicking(),
            excess_burst_capacity: self.latest.excess_burst_capacity,
            step,
            status: self.reconciler.status(),
            reason: Reason {
                at: now,
                basis,
                limit,
                bound: step.bound,
                to_zero: step.to_zero,
            },
        }
    }

    /// Computes the desired number of pods for `averages`, and stores it in `self.latest`.
    fn scale(
        &mut self,
        now: Timestamp,
        facts: &Facts,
        ready: u32,
        averages: Averages,
    ) -> (Basis, Option<Limit>) {
        let observation = Observation {
            ready,
            reachable: facts.reachable,
            averages,
            burst: self.fresh_burst(now),
        };
        let scale = self.scaler.scale(now, &self.settings, &observation);
        let mut desired = scale.desired;
        let mut why = (scale.basis, scale.limit);
        if facts.stale {
            let held = self.latest.desired.unwrap_or(0).max(facts.replicas);
            if desired < held {
                why = (
                    Basis::Stale {
                        needs: desired,
                        held,
                    },
                    None,
                );
                desired = held;
            }
        }
        self.latest = Latest {
            desired: Some(desired),
            excess_burst_capacity: scale.excess_burst_capacity,
        };
        why
    }

    /// Returns whether no pod is desired, or no decision was made yet.
    const fn is_down(&self) -> bool {
        matches!(self.latest.desired, None | Some(0))
    }

    /// Returns the burst mean, if the class has a burst window and the mean is not out of date.
    fn fresh_burst(&self, now: Timestamp) -> Option<f64> {
        let BurstMean { mean, at } = self.burst;
        let on = self.settings.class == Class::Ebb && !self.settings.burst_window.is_zero();
        (on && now.since(at) <= DECISION_TICK).then_some(without_noise(mean))
    }

    /// Returns whether the burst mean (mean concurrency over the burst window) has reached the panic threshold and
    /// would raise the desired number of pods.
    fn is_burst(&self, now: Timestamp) -> bool {
        let Some(mean) = self.fresh_burst(now) else {
            return false;
        };
        let needs = (mean / self.settings.target).ceil();
        let ready = f64::from(self.ready.max(1));
        let reach = needs.min((self.settings.max_scale_up_rate * ready).ceil());
        needs / ready >= self.settings.panic_threshold
            && reach > f64::from(self.latest.desired.unwrap_or(0))
    }

    /// Returns the size of this workload in memory in bytes, including the heap. The feeds (one per source of reports)
    /// are not included; see [`Feed::footprint`].
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.windows.heap_bytes() + self.scaler.heap_bytes()
    }
}

/// Removes the rounding error that remains after adding and subtracting the burst means of many sources. Because of
/// such an error, 4.000000000001 requests in flight would need a fifth pod at a target of one request per pod.
fn without_noise(mean: f64) -> f64 {
    const DIGITS: f64 = 1e9;
    let rounded = (mean * DIGITS).round() / DIGITS;
    if rounded.is_finite() { rounded } else { mean }
}
