//! One workload: its settings, its memory, and whether it may be scaled.
//!
//! Bias: a workload that is refused (bad annotations, another autoscaler) is still measured, so that its windows are
//! warm when the refusal ends. Settings that were good stay in force until there are better ones.

use std::{collections::BTreeSet, time::Duration};

use ebb_autoscaler_core::{
    Activity, Annotations, Class, Config, Decision, Facts, Settings, Status, Timestamp, Workload,
    annotations::Mode,
};
use ebb_page::Memory;

use super::{effect::Order, names::WorkloadId, pods::PodId, target::TargetFacts, unknown::Unknown};

/// A target that has been there for longer than this when it is first seen is not new: it keeps the pods it has and
/// does not begin with its initial scale. Longer than a watch takes to tell, shorter than a restart of all replicas.
const NEW_FOR: i64 = 15;

/// Longest note that an Event takes, in bytes; nothing longer is kept.
const LONGEST_NOTE: usize = 1024;

/// A workload.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: WorkloadId,
    pub(super) target: TargetFacts,
    /// Its pods.
    pub(super) pods: BTreeSet<PodId>,
    /// Why it is not scaled, if so; all reasons in one line.
    pub(super) refusal: Option<Refusal>,
    settings: Option<Settings>,
    pub(super) mode: Mode,
    /// Its memory; `None` before its first decision.
    pub(super) workload: Option<Workload>,
    pub(super) last: Option<Decided>,
    /// Whether activators are to be in its path, and how many; `None` before its first decision.
    pub(super) proxy: Option<(bool, u32)>,
    /// Whether every way to it can be held, so that it may have no pod.
    pub(super) can_be_held: bool,
    /// Since when all that comes to it comes to activators.
    pub(super) in_place_since: Option<Timestamp>,
    /// Requests counted while they were held that will be counted again where they reach a pod.
    pub(super) counted_ahead: f64,
    /// What is not known of it, if anything, and since when.
    pub(super) unknown: Option<(Unknown, Timestamp)>,
    /// Whether an Event has told of what is unknown.
    pub(super) unknown_told: bool,
    /// Since when all of it has been known once.
    pub(super) known_since: Option<Timestamp>,
    /// When its load will have been measured for a stable window, if that is to come.
    measured_from: Option<Timestamp>,
    /// Whether it has opted out, and gets a pod before it is left alone.
    pub(super) is_leaving: bool,
    /// What was ordered and is not carried out yet.
    pub(super) ordered: Option<u32>,
    /// Whether an order was refused because of a change that has not been told yet.
    pub(super) overtaken: bool,
    /// Its last hour, to be shown.
    pub(super) memory: Memory,
    /// Pods recommended last, where it may not be scaled.
    pub(super) recommended: Option<u32>,
    /// Result of the last write.
    pub(super) written: Option<Written>,
}

/// Why a workload is not scaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For machines.
    pub(super) reason: &'static str,
    /// For people.
    pub(super) note: String,
}

/// What reading the annotations anew has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Whether it is refused, or why.
    pub(super) refusal: bool,
    /// What decisions rest on.
    pub(super) settings: bool,
}

/// A decision and what it saw.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) decision: Decision,
    pub(super) facts: Facts,
    pub(super) in_flight: u64,
    pub(super) opaque: u64,
    /// Requests that activators hold.
    pub(super) held: u64,
    /// Pods whose figures are missing.
    pub(super) silent: Vec<Box<str>>,
}

/// How the last write went.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) at: Timestamp,
    pub(super) order: Order,
    pub(super) error: Option<String>,
}

impl Entry {
    pub(super) fn new(id: WorkloadId, target: TargetFacts) -> Self {
        Self {
            id,
            target,
            pods: BTreeSet::new(),
            refusal: None,
            settings: None,
            mode: Mode::Act,
            workload: None,
            last: None,
            proxy: None,
            can_be_held: false,
            in_place_since: None,
            counted_ahead: 0.0,
            unknown: None,
            unknown_told: false,
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

    /// Reads the annotations under `config`. `conflict`: who else scales it.
    pub(super) fn judge(
        &mut self,
        now: Timestamp,
        config: &Config,
        conflict: Option<&str>,
    ) -> Judged {
        let mut changed = Judged::default();
        let pairs = self.target.annotations.iter();
        let pairs = pairs.map(|(key, value)| (key.as_str(), value.as_str()));
        let refusal = match Annotations::parse(config, pairs) {
            Ok(annotations) => {
                changed.settings =
                    self.configure(now, settings(config, &annotations, self.can_be_held));
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

    /// Gives it a memory, if it has settings and none yet.
    pub(super) fn begin(&mut self, now: Timestamp, ready: u32) -> Option<&mut Workload> {
        if self.workload.is_none() {
            // Nobody knows yet what load the requested pods were started for, whether they are ready or not.
            let held = ready.max(self.target.replicas);
            let settings = self.settings.clone()?;
            let age = now.second() - self.target.created;
            self.workload = Some(if self.target.replicas == 0 {
                // At zero on purpose, whoever brought it there.
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
                Workload::restored(now, settings, held, status)
            });
        }
        self.workload.as_mut()
    }

    /// Whether somebody else gives it more pods while it has none, or before its load was measured for a stable window. What
    /// for, only their load can tell.
    pub(super) fn is_raised_by_others(&self, now: Timestamp, replicas: u32) -> bool {
        let window = self.settings.as_ref().map(|it| it.stable_window);
        let is_measured = self
            .known_since
            .zip(window)
            .is_some_and(|(since, window)| now.since(since) >= window);
        replicas > self.target.replicas
            && self.ordered != Some(replicas)
            && (self.target.replicas == 0 || !is_measured)
    }

    /// As if it had just been seen for the first time.
    pub(super) fn is_unknown_again(&mut self) {
        self.known_since = None;
        self.measured_from = None;
    }

    /// Takes in what is not known of it at `now`. Once all is known for the first time, the load of the past stable window
    /// is not: it is, when it has been measured for as long.
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
        self.unknown_told &= unknown.is_some();
        self.unknown = unknown.map(|unknown| (unknown, since));
    }

    /// Whether it has no pod on purpose and nobody could wake it: then it is left alone, as a HorizontalPodAutoscaler
    /// leaves a target of zero replicas alone.
    pub(super) fn is_paused(&self) -> bool {
        // Where only a part of what comes can be held, that part wakes it all the same.
        let waits = self.last.as_ref().is_some_and(|last| last.held > 0);
        self.target.replicas == 0 && !self.can_be_held && !waits
    }

    /// Pods it is asked to have. An order to zero counts as carried out, so that a request that comes meanwhile has a pod
    /// ordered at once.
    pub(super) fn replicas(&self) -> u32 {
        match self.ordered {
            Some(0) => 0,
            _ => self.target.replicas,
        }
    }

    /// Time the activators must have been in its path before its last pod goes.
    pub(super) fn grace(&self) -> Duration {
        self.settings
            .as_ref()
            .map_or(Duration::MAX, |it| it.scale_to_zero_grace)
    }

    /// Fewest pods.
    pub(super) fn min_scale(&self) -> u32 {
        self.settings.as_ref().map_or(0, |it| it.min_scale)
    }

    /// Most requests on a pod at a time; 0 for no limit.
    pub(super) fn hard_limit(&self) -> u32 {
        self.settings.as_ref().map_or(0, |it| it.hard_limit)
    }

    /// When to decide again: at the next even or odd second by its number. In the middle of a second, when nearly every
    /// source has reported up to the last full one; spread over the half of it, so that not all decide at once.
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

/// A note as long as an Event takes. What it quotes may be as long as an object.
fn shortened(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    note
}

/// What holds for a workload. Where requests cannot be held, at zero or in a burst, nothing may be taken for granted that
/// only an activator that is always in the path allows.
fn settings(config: &Config, annotations: &Annotations, can_be_held: bool) -> Settings {
    let mut settings = Settings::resolve(config, annotations, 0);
    debug_assert_eq!(
        settings.class,
        Class::Ebb,
        "only opted-in targets come here"
    );
    if !can_be_held && settings.target_burst_capacity < 0.0 {
        settings.target_burst_capacity = 0.0;
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::names::TargetKey;

    fn entry(id: u64) -> Entry {
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
        Entry::new(WorkloadId(id), target)
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
        assert!(!old.judge(now, &config, None).refusal);
        let workload = old.begin(now, 2).unwrap();
        assert_eq!(workload.decide(now, &Facts::local(2, 2)).step.apply, None);

        let mut new = entry(1);
        new.target.created = 995;
        new.judge(now, &config, None);
        let workload = new.begin(now, 0).unwrap();
        assert_eq!(
            workload.decide(now, &Facts::local(0, 1)).step.apply,
            Some(10)
        );
    }
}
