//! One workload: its settings, its metric windows, and whether it may be scaled.
//!
//! Bias: a workload that is not scaled (invalid annotations, or a conflicting autoscaler) is still measured, so that
//! its windows are filled when the reason ends. Valid settings stay in force until there are new valid ones.

use std::{collections::BTreeSet, time::Duration};

use ebb_autoscaler_core::{
    Activity, Annotations, Class, Config, CountedAhead, Decision, Facts, Settings, Status,
    Timestamp, Workload, annotations::Mode,
};
use ebb_page_model::Memory;

use super::{effect::Order, names::WorkloadId, pod::PodId, target::TargetFacts, unknown::Unknown};

/// A target older than this when it is first seen, in seconds, is not new: it keeps its replicas and does not begin
/// with its initial scale. The value is longer than a watch takes to report an object, and shorter than a restart of
/// all autoscaler replicas.
const NEW_FOR: i64 = 15;

/// Decisions of one workload are at least this far apart, however many sources request one: a burst reaches many nodes
/// at once, and each of them requests a decision.
const BETWEEN_DECISIONS: Duration = Duration::from_millis(50);

/// A workload that somebody else has scaled to zero is decided this often, and at once when it has pods or requests
/// again.
const PAUSED_AGAIN: Duration = Duration::from_secs(10);

/// Longest note of an Event, in bytes; anything longer is cut.
const LONGEST_NOTE: usize = 1024;

/// A workload.
#[derive(Debug)]
pub(super) struct WorkloadState {
    pub(super) id: WorkloadId,
    pub(super) target: TargetFacts,
    pub(super) pods: BTreeSet<PodId>,
    /// Why it is not scaled, with all reasons in one line; `None`: it is scaled.
    pub(super) refusal: Option<Refusal>,
    settings: Option<Settings>,
    pub(super) mode: Mode,
    /// Whether no workload is scaled, whatever its mode is.
    recommend_only: bool,
    /// Its windows and decision state; `None` before its first decision.
    pub(super) workload: Option<Workload>,
    pub(super) last: Option<Decided>,
    /// Whether activators are to be in its request path, and how many; `None` before its first decision.
    pub(super) proxy: Option<(bool, u32)>,
    /// Whether the activators can queue every request to it, so that it may have no pod.
    pub(super) can_be_queued: bool,
    /// Since when all requests to it go through activators (path switch confirmed).
    pub(super) path_confirmed_since: Option<Timestamp>,
    /// Requests counted while they were queued. They will be counted a second time when they reach a pod.
    pub(super) counted_ahead: CountedAhead,
    /// The first thing that is not known about it, and since when something has been unknown.
    pub(super) unknown: Option<(Unknown, Timestamp)>,
    /// Whether an Event has reported what is unknown.
    pub(super) unknown_reported: bool,
    /// When everything about it was known for the first time.
    pub(super) known_since: Option<Timestamp>,
    /// When its load will have been measured for a whole stable window; `None`: that is not waited for.
    measured_from: Option<Timestamp>,
    /// Whether it has opted out and still needs a pod before it is left alone.
    pub(super) is_leaving: bool,
    /// Replicas of the last order, until the order is carried out.
    pub(super) ordered: Option<u32>,
    /// Whether an order was refused because of a change that no watch has reported yet.
    pub(super) overtaken: bool,
    /// Its last hour, for the status page.
    pub(super) memory: Memory,
    /// Replicas recommended last, if the mode only allows recommendations.
    pub(super) recommended: Option<u32>,
    /// Result of the last write of `spec.replicas`.
    pub(super) written: Option<ScaleWrite>,
}

/// Why a workload is not scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Reason of the Event, for programs.
    pub(super) reason: &'static str,
    /// Note of the Event, for people.
    pub(super) note: String,
}

/// What a new validation of the annotations has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ValidationChange {
    /// Whether the refusal is a different one: it began, ended or has another reason.
    pub(super) refusal: bool,
    /// Whether the settings that decisions depend on changed.
    pub(super) settings: bool,
}

/// What a newer state of the object has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TargetChange {
    /// The annotations, or their size: they have to be validated again.
    pub(super) annotations: bool,
    /// The labels of its pods.
    pub(super) labels: bool,
    /// The requested replicas of a paused workload.
    pub(super) replicas: bool,
    /// It is the change because of which an order was refused.
    pub(super) awaited: bool,
}

/// A decision and the input that it was made from.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) decision: Decision,
    pub(super) facts: Facts,
    pub(super) in_flight: u64,
    pub(super) opaque: u64,
    /// Requests queued in activators.
    pub(super) queued: u64,
    /// Names of pods without current metrics.
    pub(super) without_metrics: Vec<Box<str>>,
}

/// Result of the last write of `spec.replicas`.
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
            refusal: None,
            settings: None,
            mode: Mode::Act,
            recommend_only,
            workload: None,
            last: None,
            proxy: None,
            can_be_queued: false,
            path_confirmed_since: None,
            counted_ahead: CountedAhead::default(),
            unknown: None,
            unknown_reported: false,
            known_since: None,
            measured_from: None,
            is_leaving: false,
            ordered: None,
            overtaken: false,
            memory: Memory::default(),
            recommended: None,
            written: None,
        }
    }

    /// Takes in a newer state of the object.
    pub(super) fn update(&mut self, now: Timestamp, mut facts: TargetFacts) -> TargetChange {
        if facts.oversized > 0 {
            // The valid values stay in force.
            facts.annotations.clone_from(&self.target.annotations);
            facts.labels.clone_from(&self.target.labels);
        }
        let opts_in_again = std::mem::take(&mut self.is_leaving);
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
                    note: format!("not scaled: {other} scales it too; delete one of the two"),
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

    /// Creates the decision state if it does not exist yet; `None` without valid settings.
    pub(super) fn begin(&mut self, now: Timestamp, ready: u32) -> Option<&mut Workload> {
        if self.workload.is_none() {
            // Nobody knows yet for what load the requested replicas were started, so all of them are kept, ready or
            // not.
            let kept = ready.max(self.target.replicas);
            let settings = self.settings.clone()?;
            let age = now.second() - self.target.created;
            self.workload = Some(if self.target.replicas == 0 {
                // It is at zero on purpose, whoever scaled it there.
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

    /// Returns whether somebody else raises `spec.replicas` while it is 0, or before its load was measured for a stable
    /// window. Only the load of the new pods can show what they are for.
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

    /// Resets what is known about it, as if it had just been seen for the first time.
    fn is_unknown_again(&mut self) {
        self.known_since = None;
        self.measured_from = None;
    }

    /// Records at `now` what is not known about it. When everything is known for the first time, the load of the past
    /// stable window is still unknown; it becomes known after a stable window of measurement.
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

    /// Returns whether it has no pod on purpose and no request can wake it. Then it is left alone, as a
    /// HorizontalPodAutoscaler leaves a target with zero replicas alone.
    pub(super) fn is_paused(&self) -> bool {
        // If only some of the requests can be queued, those requests still wake it.
        let waits = self.last.as_ref().is_some_and(|last| last.queued > 0);
        self.target.replicas == 0 && !self.can_be_queued && !waits
    }

    /// Returns whether its decisions are only recommendations.
    pub(super) fn recommends(&self) -> bool {
        self.mode == Mode::Recommend || self.recommend_only
    }

    /// Returns whether it has no replicas, and none are desired.
    pub(super) fn is_asleep(&self) -> bool {
        let desired = self.workload.as_ref().and_then(|it| it.latest().desired);
        self.replicas() == 0 && desired.unwrap_or(0) == 0
    }

    /// Ends the open order if it is one to `replicas`.
    pub(super) fn end_order(&mut self, replicas: u32) {
        self.ordered.take_if(|ordered| *ordered == replicas);
    }

    /// Returns its requested replicas. An order to zero counts as carried out, so that a request that arrives in the
    /// meantime gets a pod at once.
    pub(super) fn replicas(&self) -> u32 {
        match self.ordered {
            Some(0) => 0,
            _ => self.target.replicas,
        }
    }

    /// Time that the activators must have been in its request path before its last pod is removed.
    pub(super) fn grace(&self) -> Duration {
        self.settings
            .as_ref()
            .map_or(Duration::MAX, |it| it.scale_to_zero_grace)
    }

    /// Minimum scale, in replicas.
    pub(super) fn min_scale(&self) -> u32 {
        self.settings.as_ref().map_or(0, |it| it.min_scale)
    }

    /// Hard limit of concurrent requests on one pod; 0 for no limit.
    pub(super) fn hard_limit(&self) -> u32 {
        self.settings.as_ref().map_or(0, |it| it.hard_limit)
    }

    /// Returns when a requested decision may be made: at once, or as soon as `BETWEEN_DECISIONS` has passed since the
    /// last one.
    pub(super) fn earliest(&self, now: Timestamp) -> Timestamp {
        match &self.last {
            // The first request that is queued at zero waits for nothing.
            Some(last) if last.queued == 0 && self.is_asleep() => now,
            Some(last) => now.max(last.decision.at + BETWEEN_DECISIONS),
            None => now,
        }
    }

    /// Returns when to decide again if the last decision, at `now`, asks for another time than [`Self::next`].
    pub(super) fn again(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_paused() {
            return Some(now + PAUSED_AGAIN);
        }
        let again = self.last.as_ref()?.decision.step.again?;
        Some(self.next(now, Some(again.max(BETWEEN_DECISIONS))))
    }

    /// Returns when to decide again: in an even or an odd second, by its id, so that decisions are two seconds apart.
    /// The time is 300 ms to 800 ms into that second: nearly every source has then reported up to the last full second,
    /// and not all workloads are decided at once.
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

/// Cuts a note to the length that an Event accepts. The quoted text may be as long as an object.
fn shortened(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
}

/// Resolves the settings of a workload. If some requests cannot be queued, a negative target burst capacity (activator
/// always in the request path) becomes 0, because neither scale to zero nor a burst can rely on the activator then.
fn settings(config: &Config, annotations: &Annotations, can_be_queued: bool) -> Settings {
    let mut settings = Settings::resolve(config, annotations, 0);
    debug_assert_eq!(
        settings.class,
        Class::Ebb,
        "only opted-in targets come here"
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
