//! One workload from end to end: samples in, decisions out.
//!
//! The composition that every loop uses (`ebb run`, `ebb simulate`, the autoscaler), so that all of
//! them decide the same. Bias: missing knowledge never shrinks a workload. Without data, or without
//! knowing what is ready, the figure before stands; with a silent source it may rise and not fall.

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

/// Time from one decision to the next when nothing asks for one earlier.
pub const DECISION_TICK: Duration = Duration::from_secs(2);

/// What is known of one workload and decided about it.
#[derive(Clone, Debug)]
pub struct Workload {
    settings: Settings,
    windows: Windows,
    scaler: Scaler,
    reconciler: Reconciler,
    latest: Latest,
    /// Sum of its feeds' burst means, and when one last reported.
    burst: (f64, Timestamp),
    /// Ready pods at the last decision.
    ready: u32,
}

/// Why a decision should not wait for the next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poke {
    /// There are requests, and no pod is wanted yet.
    Wake,
    /// A burst has begun.
    Burst,
}

/// One decision, from the averages to what is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// When it was made.
    pub at: Timestamp,
    /// What the windows said; `None` without data.
    pub averages: Option<Averages>,
    /// Pods the load calls for, before bounds and the way to zero; `None` as long as nothing was
    /// ever decided.
    pub desired: Option<u32>,
    /// Whether it is a panic.
    pub panic_mode: bool,
    /// Room beyond load and reserve; below zero the activator belongs in the path.
    pub excess_burst_capacity: i32,
    /// Whether `desired`, or the sign of the excess, differs from the decision before.
    pub changed: bool,
    /// What to do.
    pub step: Step,
    /// How the workload stands now.
    pub status: Status,
    /// Why.
    pub reason: Reason,
}

impl Workload {
    /// A workload that has just been found with `ready` pods. Have it start with
    /// [`Self::initial_replicas`] when it is new.
    pub fn new(now: Timestamp, settings: Settings, ready: u32) -> Self {
        Self::restored(now, settings, ready, Status::new(now))
    }

    /// A workload of which it is known how it stood, e.g. after a restart.
    pub fn restored(now: Timestamp, settings: Settings, ready: u32, status: Status) -> Self {
        Self {
            windows: Windows::new(&settings),
            scaler: Scaler::new(now, ready),
            reconciler: Reconciler::new(status),
            latest: Latest::new(&settings),
            burst: (0.0, now),
            ready,
            settings,
        }
    }

    /// The settings in force.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How it stands.
    pub const fn status(&self) -> Status {
        self.reconciler.status()
    }

    /// The latest figure and excess.
    pub const fn latest(&self) -> Latest {
        self.latest
    }

    /// Pods a new workload is to start with.
    pub fn initial_replicas(&self) -> u32 {
        self.settings.initial_scale.max(self.settings.min_scale)
    }

    /// Changes the settings at once: windows are resized and keep what they hold.
    pub fn configure(&mut self, now: Timestamp, settings: Settings) {
        self.windows.configure(now, &settings);
        self.settings = settings;
    }

    /// Records a figure for the second `at` lies in, from a source that brings one a second (a
    /// scrape, a trace). A source that reports more often, or not quite on the second, goes through
    /// [`Self::observe`].
    ///
    /// # Errors
    /// A sample that is no measurement; nothing is recorded then.
    pub fn record(&mut self, at: Timestamp, sample: &Sample) -> Result<Option<Poke>, BadSample> {
        self.windows.record(at, sample)?;
        Ok((sample.concurrency > 0.0 && self.is_down()).then_some(Poke::Wake))
    }

    /// Takes a source's report: the exact mean concurrency since its last one, and the requests
    /// started since.
    ///
    /// # Errors
    /// Figures that are no measurement; nothing is recorded then.
    pub fn observe(
        &mut self,
        feed: &mut Feed,
        to: Timestamp,
        concurrency: f64,
        requests: f64,
    ) -> Result<Option<Poke>, BadSample> {
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
        let poke = self.told(feed, before, to, concurrency);
        if poke == Some(Poke::Wake) {
            feed.flush(&mut self.windows);
        }
        Ok(poke)
    }

    /// While there is no pod: takes how many requests wait at a source. They count in full at once, as concurrency and as
    /// requests a second, although they have just come and weigh nothing in a mean yet; Knative's activator reports such a
    /// request as a concurrency of 1 for the same reason. Reports that say the same of one second count once.
    ///
    /// # Errors
    /// Figures that are no measurement; nothing is recorded then.
    pub fn observe_waiting(
        &mut self,
        feed: &mut Feed,
        at: Timestamp,
        concurrency: f64,
        rate: f64,
    ) -> Result<Option<Poke>, BadSample> {
        let before = feed.burst_mean;
        let burst_window = self.settings.burst_window;
        feed.level(&mut self.windows, at, concurrency, rate, burst_window)?;
        Ok(self.told(feed, before, at, concurrency))
    }

    /// After a report up to `to`: why a decision should not wait. `before` was the source's burst mean.
    fn told(&mut self, feed: &Feed, before: f64, to: Timestamp, concurrency: f64) -> Option<Poke> {
        self.burst = (
            (self.burst.0 + feed.burst_mean - before).max(0.0),
            self.burst.1.max(to),
        );
        if concurrency > 0.0 && self.is_down() {
            return Some(Poke::Wake);
        }
        self.is_burst(to).then_some(Poke::Burst)
    }

    /// Before a decision at `now`: has a source that has not reported up to the last full second count in it with the
    /// part it has reported. Otherwise the newest bucket would hold the load of those sources alone that report
    /// earlier in a second. What the next report adds is recorded as the difference.
    pub fn settle(&mut self, now: Timestamp, feed: &mut Feed) {
        if feed.upto().second() < now.second() {
            feed.flush(&mut self.windows);
        }
    }

    /// Takes a source out that will not report again, its open second included.
    pub fn forget(&mut self, mut feed: Feed) {
        feed.flush(&mut self.windows);
        self.burst.0 = (self.burst.0 - feed.burst_mean).max(0.0);
    }

    /// Decides. To be called every [`DECISION_TICK`], after a [`Poke`], and when the last [`Step`]
    /// said so.
    pub fn decide(&mut self, now: Timestamp, facts: &Facts) -> Decision {
        let averages = self.windows.averages(now, &self.settings.metric);
        self.decide_on(now, facts, averages)
    }

    /// Decides on averages from elsewhere, e.g. recorded ones, instead of the workload's own
    /// windows. `None`: there is no data.
    pub fn decide_on(
        &mut self,
        now: Timestamp,
        facts: &Facts,
        averages: Option<Averages>,
    ) -> Decision {
        let always_proxied = self.settings.target_burst_capacity == -1.0;
        // Without a scrape target Knative reads silence as no load: the activator would have told.
        let averages_to_go_by = averages.or_else(|| always_proxied.then(Averages::default));
        let before = self.latest;
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
            changed: self.latest.differs_from(&before),
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

    /// The figure for `averages`, kept as the latest.
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

    /// True while no pod is wanted.
    const fn is_down(&self) -> bool {
        matches!(self.latest.desired, None | Some(0))
    }

    /// The burst mean, where the class has one and it is not from a source that fell silent.
    fn fresh_burst(&self, now: Timestamp) -> Option<f64> {
        let (mean, at) = self.burst;
        let on = self.settings.class == Class::Ebb && !self.settings.burst_window.is_zero();
        (on && now.since(at) <= DECISION_TICK).then_some(without_noise(mean))
    }

    /// Whether the burst mean is over the threshold, and a decision would raise the figure for it.
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

    /// Bytes this workload takes in memory, heap included; its feeds take theirs on top
    /// ([`Feed::footprint`]).
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.windows.heap_bytes() + self.scaler.heap_bytes()
    }
}

/// Without what adding and taking away the parts of many sources leaves in the last digits: 4.000000000001 requests in
/// flight would need a fifth pod where each may have one.
fn without_noise(mean: f64) -> f64 {
    const DIGITS: f64 = 1e9;
    let rounded = (mean * DIGITS).round() / DIGITS;
    if rounded.is_finite() { rounded } else { mean }
}
