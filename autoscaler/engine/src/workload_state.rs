//! The state of one workload: settings, metric windows, and whether Ebb may scale the workload.
//!
//! Bias: a workload that is not scaled (invalid annotations, or a conflicting autoscaler) is still measured, so that
//! its metric windows are filled when scaling resumes. The last valid settings apply until new valid settings exist.

use std::{collections::BTreeSet, time::Duration};

use ebb_autoscaler_core::{
    Activity, Annotations, Class, Config, CountedAhead, Decision, Facts, Settings, Status,
    Timestamp, Workload, annotations::Mode,
};
use ebb_page_model::Memory;

use super::{
    counted_at::{Choices, CountedPods},
    effect::Order,
    names::WorkloadId,
    pod::PodId,
    target::TargetFacts,
    unknown::Unknown,
};

/// Age in seconds up to which an object that the watch reports for the first time is new and starts with its initial
/// scale. An older object keeps its replicas. The value is longer than a watch takes to report an object, and shorter
/// than a restart of all autoscaler replicas.
const NEW_FOR: i64 = 15;

/// Minimum interval between two requested decisions for one workload. A burst of requests reaches many nodes at once,
/// and each node requests a decision.
const BETWEEN_DECISIONS: Duration = Duration::from_millis(50);

/// Interval between decisions for a paused workload (scaled to zero by somebody other than Ebb). When the workload has
/// pods or queued requests again, a decision is made at once.
const PAUSED_AGAIN: Duration = Duration::from_secs(10);

/// Maximum length of the note of an Event, in bytes; a longer note is truncated.
const LONGEST_NOTE: usize = 1024;

/// The state of one workload.
#[derive(Debug)]
pub(super) struct WorkloadState {
    pub(super) id: WorkloadId,
    pub(super) target: TargetFacts,
    pub(super) pods: BTreeSet<PodId>,
    /// The hops at which the pods are counted.
    pub(super) choices: Choices,
    /// Reason why the workload is not scaled; `None`: the workload is scaled.
    pub(super) refusal: Option<Refusal>,
    settings: Option<Settings>,
    pub(super) mode: Mode,
    /// Whether the whole autoscaler only recommends, whatever the mode of this workload is.
    recommend_only: bool,
    /// Metric windows and decision state; `None` before the first decision.
    pub(super) workload: Option<Workload>,
    pub(super) last: Option<DecisionRecord>,
    /// The activators that the last decision needs; `None` before the first decision.
    pub(super) activators: Option<ActivatorNeed>,
    /// Whether the activators can queue every request to the workload, so that it can be scaled to zero.
    pub(super) can_be_queued: bool,
    /// Time since which it is confirmed that all requests go through activators; `None`: not confirmed.
    pub(super) path_confirmed_since: Option<Timestamp>,
    /// Number of requests that were counted while queued. This number is subtracted when the same requests are counted
    /// again at a pod.
    pub(super) counted_ahead: CountedAhead,
    /// The missing fact about the workload (if several facts are missing, the first one that the check finds), and the
    /// time since which at least one fact has been missing.
    pub(super) unknown: Option<(Unknown, Timestamp)>,
    /// Whether an Event has reported that a fact about the workload is missing.
    pub(super) unknown_reported: bool,
    /// First time at which no fact about the workload was missing; `None`: at least one fact has been missing so far.
    pub(super) known_since: Option<Timestamp>,
    /// Time before which the workload is not scaled down, because the load has not been measured for a whole stable
    /// window yet; `None`: no wait.
    measured_from: Option<Timestamp>,
    /// Whether the workload has opted out, but still needs a ready pod before Ebb can remove the activators from its
    /// request path.
    pub(super) is_opting_out: bool,
    /// Requested replicas of the pending scale order; `None`: no scale order is pending.
    pub(super) ordered: Option<u32>,
    /// Whether the API server refused a scale order because of a change that the watch has not reported yet.
    pub(super) overtaken: bool,
    /// History of the last hour, for the status page.
    pub(super) memory: Memory,
    /// Last recommended replicas, if the mode is `recommend`.
    pub(super) recommended: Option<u32>,
    /// Last write of `spec.replicas`, and whether the write succeeded.
    pub(super) written: Option<ScaleWrite>,
}

/// The activators that a workload needs in its request path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ActivatorNeed {
    /// Whether activators are to be in the request path.
    pub(super) in_path: bool,
    /// Number of these activators.
    pub(super) count: u32,
}

/// Reason why a workload is not scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Reason of the Event, for programs.
    pub(super) reason: &'static str,
    /// Note of the Event, for people.
    pub(super) note: String,
}

/// Results of a validation that differ from the previous validation of the annotations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ValidationChange {
    /// Whether the [`Refusal`] of the workload is new, has ended or has another reason.
    pub(super) refusal: bool,
    /// Whether the settings have changed.
    pub(super) settings: bool,
}

/// Changes between two states of a scalable object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetChange {
    /// Whether the annotations or their size have changed, so that a new validation is needed.
    pub(super) annotations: bool,
    /// Whether the labels of the pod template have changed.
    pub(super) labels: bool,
    /// Whether the requested replicas of a paused workload have changed.
    pub(super) replicas: bool,
    /// Whether the API server refused a scale order because the watch had not reported this change to the engine yet.
    pub(super) awaited: bool,
}

/// A decision and its input.
#[derive(Clone, Debug)]
pub(super) struct DecisionRecord {
    pub(super) decision: Decision,
    pub(super) facts: Facts,
    pub(super) in_flight: u64,
    pub(super) opaque: u64,
    /// Number of requests queued in activators.
    pub(super) queued: u64,
    /// Names of pods without current metrics.
    pub(super) without_metrics: Vec<Box<str>>,
    /// Where the pods are counted.
    pub(super) counted: CountedPods,
}

/// Last write of `spec.replicas`, and whether the write succeeded.
#[derive(Clone, Debug)]
pub(super) struct ScaleWrite {
    pub(super) at: Timestamp,
    pub(super) order: Order,
    pub(super) error: Option<String>,
}

impl WorkloadState {
    pub(super) fn new(id: WorkloadId, target: TargetFacts, recommend_only: bool) -> Self {
        Self {
            id,
            target,
            pods: BTreeSet::new(),
            choices: Choices::default(),
            refusal: None,
            settings: None,
            mode: Mode::Act,
            recommend_only,
            workload: None,
            last: None,
            activators: None,
            can_be_queued: false,
            path_confirmed_since: None,
            counted_ahead: CountedAhead::default(),
            unknown: None,
            unknown_reported: false,
            known_since: None,
            measured_from: None,
            is_opting_out: false,
            ordered: None,
            overtaken: false,
            memory: Memory::default(),
            recommended: None,
            written: None,
        }
    }

    /// Replaces the facts about a scalable object by newer facts. Returns the changes.
    pub(super) fn update(&mut self, now: Timestamp, mut facts: TargetFacts) -> TargetChange {
        if facts.oversized > 0 {
            // The new annotations and labels exceed the size limit, so the last valid ones still apply.
            facts.annotations.clone_from(&self.target.annotations);
            facts.labels.clone_from(&self.target.labels);
        }
        let opts_in_again = std::mem::take(&mut self.is_opting_out);
        if opts_in_again || self.is_raised_by_others(now, facts.replicas) {
            self.is_unknown_again();
        }
        let has_changed = self.target.resource_version != facts.resource_version;
        let change = TargetChange {
            annotations: self.target.annotations != facts.annotations
                || self.target.oversized != facts.oversized,
            labels: self.target.labels != facts.labels,
            replicas: self.is_paused() && self.target.replicas != facts.replicas,
            awaited: has_changed && std::mem::take(&mut self.overtaken),
        };
        self.target = facts;
        change
    }

    /// Validates the annotations under `config`. `conflict`: names of conflicting autoscalers.
    pub(super) fn validate(
        &mut self,
        now: Timestamp,
        config: &Config,
        conflict: Option<&str>,
    ) -> ValidationChange {
        let mut changed = ValidationChange::default();
        let pairs = self.target.annotations.iter();
        let pairs = pairs.map(|(key, value)| (key.as_str(), value.as_str()));
        let refusal = match Annotations::parse(config, pairs) {
            Ok(annotations) => {
                changed.settings =
                    self.configure(now, settings(config, &annotations, self.can_be_queued));
                self.mode = annotations.mode;
                conflict.map(|other| Refusal {
                    reason: "ConflictingAutoscaler",
                    note: format!(
                        "not scaled: {other} also scales this workload; keep only one autoscaler"
                    ),
                })
            }
            Err(problems) => Some(Refusal {
                reason: "InvalidAnnotations",
                note: shortened(format!("not scaled: {problems}")),
            }),
        };
        let oversized = self.target.complaint().map(|note| Refusal {
            reason: "InvalidAnnotations",
            note,
        });
        let refusal = oversized.or(refusal);
        changed.refusal = self.refusal != refusal;
        self.refusal = refusal;
        changed
    }

    fn configure(&mut self, now: Timestamp, settings: Settings) -> bool {
        if self.settings.as_ref() == Some(&settings) {
            return false;
        }
        if let Some(workload) = &mut self.workload {
            workload.configure(now, settings.clone());
        }
        self.settings = Some(settings);
        true
    }

    /// Returns the decision state, which is created at the first call; `None` if no valid settings exist.
    pub(super) fn begin(&mut self, now: Timestamp, ready: u32) -> Option<&mut Workload> {
        if self.workload.is_none() {
            // The load of the workload is not known yet, so all requested replicas are kept, whether ready or not.
            let kept = ready.max(self.target.replicas);
            let settings = self.settings.clone()?;
            let age = now.second() - self.target.created;
            self.workload = Some(if self.target.replicas == 0 {
                // If zero replicas are requested, somebody (Ebb or a person) intends the workload to be at zero. So it
                // starts as inactive.
                let status = Status {
                    activity: Activity::Inactive,
                    since: now,
                    initialized: true,
                };
                Workload::restored(now, settings, ready, status)
            } else if age <= NEW_FOR && ready == 0 {
                Workload::new(now, settings, ready)
            } else {
                let activity = if ready > 0 {
                    Activity::Active
                } else {
                    Activity::Activating
                };
                let status = Status {
                    activity,
                    since: now,
                    initialized: true,
                };
                Workload::restored(now, settings, kept, status)
            });
        }
        self.workload.as_mut()
    }

    /// Returns whether somebody other than Ebb raises `spec.replicas` while the load that the new replicas will serve
    /// is unknown: the replicas were 0, or the load has not been measured for a stable window. The new replicas are
    /// then kept until the load has been measured.
    fn is_raised_by_others(&self, now: Timestamp, replicas: u32) -> bool {
        let window = self.settings.as_ref().map(|it| it.stable_window);
        let is_measured = self
            .known_since
            .zip(window)
            .is_some_and(|(since, window)| now.since(since) >= window);
        replicas > self.target.replicas
            && self.ordered != Some(replicas)
            && (self.target.replicas == 0 || !is_measured)
    }

    /// Makes the next scale-down wait until the load has been measured for a whole stable window, as for a new
    /// workload.
    fn is_unknown_again(&mut self) {
        self.known_since = None;
        self.measured_from = None;
    }

    /// Records which fact about the workload is missing at `now`; `None`: no fact is missing. When this is `None` for
    /// the first time, the load of the past stable window is still unknown, so a scale-down waits for one stable
    /// window.
    pub(super) fn knows(&mut self, now: Timestamp, unknown: Option<Unknown>) {
        if unknown.is_none() && self.known_since.is_none() {
            self.known_since = Some(now);
            let window = self.settings.as_ref().map(|it| it.stable_window);
            let window = window.filter(|_| self.replicas() > 0);
            self.measured_from = window.map(|window| now + window);
        }
        let unmeasured = self.measured_from.filter(|&from| now < from);
        self.measured_from = unmeasured;
        let unknown = unknown.or(unmeasured.map(|from| Unknown::Window(from.since(now))));
        let since = self.unknown.as_ref().map_or(now, |(_, since)| *since);
        self.unknown_reported &= unknown.is_some();
        self.unknown = unknown.map(|unknown| (unknown, since));
    }

    /// Returns whether the workload is paused: it has zero requested replicas and no request can wake it. Ebb does not
    /// scale a paused workload; a HorizontalPodAutoscaler treats a target with zero replicas in the same way.
    pub(super) fn is_paused(&self) -> bool {
        // Even if the activators can queue only some requests to the workload, a queued request wakes the workload.
        let waits = self.last.as_ref().is_some_and(|last| last.queued > 0);
        self.target.replicas == 0 && !self.can_be_queued && !waits
    }

    /// Returns whether decisions for the workload are only recommendations.
    pub(super) fn recommends(&self) -> bool {
        self.mode == Mode::Recommend || self.recommend_only
    }

    /// Returns whether the workload has zero requested replicas and zero desired replicas.
    pub(super) fn is_asleep(&self) -> bool {
        let desired = self.workload.as_ref().and_then(|it| it.latest().desired);
        self.replicas() == 0 && desired.unwrap_or(0) == 0
    }

    /// Ends the pending scale order if its requested replicas are `replicas`.
    pub(super) fn end_order(&mut self, replicas: u32) {
        self.ordered.take_if(|ordered| *ordered == replicas);
    }

    /// Returns the requested replicas of the workload. A pending scale order to zero counts as carried out, so that a
    /// request that arrives before the API server answers wakes the workload at once.
    pub(super) fn replicas(&self) -> u32 {
        match self.ordered {
            Some(0) => 0,
            _ => self.target.replicas,
        }
    }

    /// Returns the time for which the activators must have been in the request path before the last pod is removed.
    pub(super) fn grace(&self) -> Duration {
        self.settings
            .as_ref()
            .map_or(Duration::MAX, |it| it.scale_to_zero_grace)
    }

    /// Returns the minimum number of replicas.
    pub(super) fn min_scale(&self) -> u32 {
        self.settings.as_ref().map_or(0, |it| it.min_scale)
    }

    /// Returns the maximum number of concurrent requests on one pod; 0 means no limit.
    pub(super) fn hard_limit(&self) -> u32 {
        self.settings.as_ref().map_or(0, |it| it.hard_limit)
    }

    /// Returns the earliest time of a requested decision: `now`, or `BETWEEN_DECISIONS` after the last decision.
    pub(super) fn earliest(&self, now: Timestamp) -> Timestamp {
        match &self.last {
            // A workload at zero gets the decision for its first queued request at once, without the minimum interval.
            Some(last) if last.queued == 0 && self.is_asleep() => now,
            Some(last) => now.max(last.decision.at + BETWEEN_DECISIONS),
            None => now,
        }
    }

    /// Returns the time of the next decision if the last decision, made at `now`, determines this time; `None` if the
    /// regular time applies ([`Self::next`]).
    pub(super) fn again(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_paused() {
            return Some(now + PAUSED_AGAIN);
        }
        let again = self.last.as_ref()?.decision.step.again?;
        Some(self.next(now, Some(again.max(BETWEEN_DECISIONS))))
    }

    /// Returns the time of the next decision. Decisions are two seconds apart: in even or in odd seconds, depending on
    /// the id of the workload. Each decision is 300 ms to 800 ms after the full second, because nearly every agent has
    /// reported the load of the previous second by this time. The delay differs from workload to workload, so that not
    /// all decisions are made at once. If `again` is given, the result is at most `again` after `now`.
    pub(super) fn next(&self, now: Timestamp, again: Option<Duration>) -> Timestamp {
        let seconds = now.since_epoch().as_secs();
        let parity = (seconds + self.id.0) % 2;
        let spread = Duration::from_millis(300 + self.id.0 * 37 % 500);
        let next = Timestamp::from_secs(seconds + 2 - parity) + spread;
        match again {
            Some(again) => next.min(now + again),
            None => next,
        }
    }
}

/// Truncates a note to the length that an Event accepts. A note may quote a long annotation.
fn shortened(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
}

/// Returns the settings of a workload. A negative target burst capacity keeps the activator always in the request path.
/// If the activators cannot queue every request, a negative value becomes 0, because the activator cannot absorb the
/// bursts of requests that do not reach it.
fn settings(config: &Config, annotations: &Annotations, can_be_queued: bool) -> Settings {
    let mut settings = Settings::resolve(config, annotations, 0);
    debug_assert_eq!(
        settings.class,
        Class::Ebb,
        "settings are resolved only for opted-in targets"
    );
    if !can_be_queued && settings.target_burst_capacity < 0.0 {
        settings.target_burst_capacity = 0.0;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::TargetKey;

    fn entry(id: u64) -> WorkloadState {
        let target = TargetFacts {
            key: TargetKey::new("apps", "Deployment", "shop", "web"),
            uid: "u".into(),
            resource_version: "1".into(),
            replicas: 1,
            annotations: [(
                "autoscaling.knative.dev/class".to_owned(),
                "ebb.dev".to_owned(),
            )]
            .into(),
            labels: [].into(),
            oversized: 0,
            owned: false,
            created: 0,
        };
        WorkloadState::new(WorkloadId(id), target, false)
    }

    #[test]
    fn decisions_are_two_seconds_apart_and_in_the_middle_of_one() {
        for id in 0..100 {
            let entry = entry(id);
            let mut now = entry.next(Timestamp::from_secs(1_000), None);
            for _ in 0..5 {
                let part = now.since_epoch().subsec_millis();
                assert!((300..800).contains(&part), "{part}");
                let next = entry.next(now, None);
                assert_eq!(next.since(now), Duration::from_secs(2), "{now:?}");
                now = next;
            }
        }
    }

    #[test]
    fn a_step_that_says_when_comes_again_then() {
        let now = Timestamp::from_secs(1_000);
        let again = entry(0).next(now, Some(Duration::from_millis(10)));
        assert_eq!(again, now + Duration::from_millis(10));
    }

    #[test]
    fn what_was_there_before_does_not_begin_anew() {
        let config = Config {
            initial_scale: 10,
            ..Config::default()
        };
        let now = Timestamp::from_secs(1_000);
        let mut old = entry(0);
        assert!(!old.validate(now, &config, None).refusal);
        let workload = old.begin(now, 2).unwrap();
        assert_eq!(workload.decide(now, &Facts::local(2, 2)).step.apply, None);

        let mut new = entry(1);
        new.target.created = 995;
        new.validate(now, &config, None);
        let workload = new.begin(now, 0).unwrap();
        assert_eq!(
            workload.decide(now, &Facts::local(0, 1)).step.apply,
            Some(10)
        );
    }
}
