//! From what is known to what is to be done.

use std::time::Duration;

use ebb_autoscaler_core::{Facts, Timestamp, annotations::Mode};

use super::{
    Engine,
    effect::{Effect, Notice, Order},
    entry::{Decided, Written},
    names::WorkloadId,
    victims,
};

/// Decisions of one workload are at least this far apart, however many sources ask for one: a burst reaches many
/// nodes at once, and each of them says so.
const BETWEEN_DECISIONS: Duration = Duration::from_millis(50);

impl Engine {
    /// Decides at once, or as soon as it is long enough since the last time.
    pub(super) fn press(&mut self, now: Timestamp, id: WorkloadId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let earliest = match &entry.last {
            Some(last) => last.decision.at + BETWEEN_DECISIONS,
            None => now,
        };
        entry.due = entry.due.min(earliest.max(now));
        if entry.due <= now {
            self.decide(now, id);
        }
    }

    /// Decides what is due; answers when to come again at the latest.
    pub fn decide_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        if !self.deciding || self.config.is_none() {
            return None;
        }
        let due = self.entries.values().filter(|entry| entry.due <= now);
        let due: Vec<_> = due.map(|entry| entry.id).collect();
        for id in due {
            self.decide(now, id);
        }
        self.entries.values().map(|entry| entry.due).min()
    }

    fn decide(&mut self, now: Timestamp, id: WorkloadId) {
        if !self.deciding {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let mut members: Vec<_> = Vec::with_capacity(entry.pods.len());
        let (mut ready, mut in_flight, mut opaque) = (0, 0, 0);
        for uid in &entry.pods {
            if let Some(pod) = self.pods.get(uid) {
                ready += u32::from(pod.facts.ready);
                in_flight += pod.in_flight();
                opaque += pod.series.as_ref().map_or(0, |series| series.opaque);
                members.push(uid.clone());
            }
        }
        entry.schedule(now, None);
        let replicas = entry.target.replicas;
        let Some(workload) = entry.begin(now, ready) else {
            return;
        };
        let mut silent = Vec::new();
        for uid in &members {
            let Some(pod) = self.pods.get_mut(uid) else {
                continue;
            };
            let is_silent = pod.is_silent(now);
            if is_silent {
                silent.push(pod.facts.name.clone());
            }
            let deleting = pod.facts.deleting;
            let Some(series) = &mut pod.series else {
                continue;
            };
            match series.to_hold(now).filter(|_| !deleting) {
                Some(span) => {
                    // What makes no sense was refused when it was told.
                    let _ =
                        workload.observe(&mut series.feed, now, span.concurrency, span.requests);
                }
                None => workload.settle(now, &mut series.feed),
            }
        }
        let facts = Facts {
            stale: !silent.is_empty(),
            activator_answers: None,
            ..Facts::local(ready, replicas)
        };
        let decision = workload.decide(now, &facts);
        if let Some(again) = decision.step.again {
            entry.schedule(now, Some(again.max(BETWEEN_DECISIONS)));
        }
        entry.last = Some(Decided {
            decision,
            facts,
            in_flight,
            opaque,
            silent,
        });
        self.act(id);
    }

    /// Turns the last decision into an order, or a recommendation.
    fn act(&mut self, id: WorkloadId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let Some(last) = &entry.last else {
            return;
        };
        if entry.refusal.is_some() || entry.is_paused(self.activator) || !self.leading {
            return;
        }
        let from = entry.target.replicas;
        // Without an activator nobody would hear the request that should wake it.
        let to = last.decision.step.apply;
        let to = to.filter(|&pods| pods > 0 || self.activator);
        if entry.mode == Mode::Recommend || self.recommend_only {
            if to.is_some() && to != entry.recommended {
                self.effects.push(Effect::Say(Notice {
                    about: entry.target.key.clone(),
                    uid: entry.target.uid.clone(),
                    warning: false,
                    reason: "Recommended",
                    note: format!(
                        "from {from} to {}: {}",
                        to.unwrap_or(from),
                        last.decision.reason
                    ),
                }));
            }
            entry.recommended = to;
            return;
        }
        let Some(to) = to else { return };
        let costs = if to < from && entry.target.minds_deletion_costs() {
            let pods = entry.pods.iter().filter_map(|uid| self.pods.get(uid));
            victims::costs(pods, from - to)
        } else {
            Vec::new()
        };
        self.effects.push(Effect::Scale(Order {
            workload: id,
            target: entry.target.key.clone(),
            uid: entry.target.uid.clone(),
            from,
            to,
            reason: last.decision.reason.to_string(),
            costs,
        }));
    }

    /// How an order went. What was not done is decided anew with the next decision.
    pub fn written(&mut self, now: Timestamp, order: Order, error: Option<String>) {
        let Some(entry) = self.entries.get_mut(&order.workload) else {
            return;
        };
        if error.is_none() {
            // The watch will say the same in a moment; until then nothing need be ordered twice.
            entry.target.replicas = order.to;
        }
        entry.written = Some(Written {
            at: now,
            order,
            error,
        });
    }
}
