//! The order in which owners are looked up in the API server. Namespaces take turns, so a namespace with thousands of
//! pods without a workload delays no other namespace.
//!
//! This module reads no clock: callers pass the time. Bias: the first lookup of an owner is made at once; repetitions
//! are made at long intervals. Failure mode: in a namespace with many owners without a workload, new permissions take
//! effect late; other namespaces are not affected.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// Maximum number of lookups of one namespace that are under way at the same time: a quarter of the maximum for all
/// namespaces.
const PER_NAMESPACE: usize = super::AT_A_TIME / 4;
/// Shortest time between two repeated lookups of one namespace.
const BETWEEN_IN_NAMESPACE: Duration = Duration::from_secs(1);
/// Shortest time between two repeated lookups in the whole cluster. It allows eight lookups per second; an API server
/// answers some hundreds of requests per second.
const BETWEEN_IN_CLUSTER: Duration = Duration::from_millis(125);

/// The requested lookups in the API server, by namespace.
#[derive(Debug)]
pub(super) struct Queue<Q> {
    /// Namespaces with lookups that are due, the next one first.
    turn: VecDeque<Box<str>>,
    now: HashMap<Box<str>, VecDeque<Q>>,
    /// Number of lookups under way, by namespace.
    busy: HashMap<Box<str>, usize>,
    /// Scheduled lookups, by (time, number). The number makes the key unique, because two lookups may have the same
    /// time.
    later: BTreeMap<(Instant, u64), (Box<str>, Q)>,
    number: u64,
    /// Time of the last scheduled repetition of a lookup, by namespace.
    last: HashMap<Box<str>, Instant>,
    last_of_all: Option<Instant>,
}

impl<Q> Default for Queue<Q> {
    fn default() -> Self {
        Self {
            turn: VecDeque::new(),
            now: HashMap::new(),
            busy: HashMap::new(),
            later: BTreeMap::new(),
            number: 0,
            last: HashMap::new(),
            last_of_all: None,
        }
    }
}

impl<Q> Queue<Q> {
    /// Adds a lookup that is due at once. Namespaces take turns, so the lookup is made when its namespace is next.
    pub(super) fn ask(&mut self, namespace: Box<str>, lookup: Q) {
        let lookups = self.now.entry(namespace.clone()).or_default();
        if lookups.is_empty() {
            self.turn.push_back(namespace);
        }
        lookups.push_back(lookup);
    }

    /// Schedules a lookup for the time `at`.
    pub(super) fn ask_at(&mut self, at: Instant, namespace: Box<str>, lookup: Q) {
        self.number += 1;
        self.later.insert((at, self.number), (namespace, lookup));
    }

    /// Schedules a repeated lookup after `wait`, or later if the limits of the namespace or the cluster require it.
    pub(super) fn ask_again(
        &mut self,
        now: Instant,
        wait: Duration,
        namespace: Box<str>,
        lookup: Q,
    ) {
        let mut at = now + wait;
        if let Some(last) = self.last.get(&namespace) {
            at = at.max(*last + BETWEEN_IN_NAMESPACE);
        }
        if let Some(last) = self.last_of_all.filter(|last| *last <= at) {
            at = at.max(last + BETWEEN_IN_CLUSTER);
        }
        self.last.retain(|_, last| *last > now);
        self.last.insert(namespace.clone(), at);
        self.last_of_all = Some(self.last_of_all.map_or(at, |last| last.min(at).max(now)));
        self.ask_at(at, namespace, lookup);
    }

    /// Returns the next lookup that is due. The lookup counts as under way until [`Self::done`].
    pub(super) fn next(&mut self, now: Instant) -> Option<(Box<str>, Q)> {
        while let Some(first) = self.later.first_entry()
            && first.key().0 <= now
        {
            let (namespace, lookup) = first.remove();
            self.ask(namespace, lookup);
        }
        for _ in 0..self.turn.len() {
            let namespace = self.turn.pop_front()?;
            let busy = self.busy.entry(namespace.clone()).or_default();
            if *busy >= PER_NAMESPACE {
                self.turn.push_back(namespace);
                continue;
            }
            let lookups = self.now.get_mut(&namespace)?;
            let lookup = lookups.pop_front()?;
            *busy += 1;
            if lookups.is_empty() {
                self.now.remove(&namespace);
            } else {
                self.turn.push_back(namespace.clone());
            }
            return Some((namespace, lookup));
        }
        None
    }

    /// Records that a lookup of the namespace is no longer under way.
    pub(super) fn done(&mut self, namespace: &str) {
        if let Some(busy) = self.busy.get_mut(namespace) {
            *busy = busy.saturating_sub(1);
            if *busy == 0 {
                self.busy.remove(namespace);
            }
        }
    }

    /// Returns when the next scheduled lookup is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.later.keys().next().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(queue: &mut Queue<u32>, now: Instant) -> Vec<(String, u32)> {
        let mut all = Vec::new();
        while let Some((namespace, lookup)) = queue.next(now) {
            all.push((namespace.to_string(), lookup));
        }
        all
    }

    #[test]
    fn t8_a_namespace_with_thousands_of_questions_delays_nobody() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for lookup in 0..2_000 {
            queue.ask("odd".into(), lookup);
        }
        queue.ask("shop".into(), 1);
        let first = names(&mut queue, now);
        assert_eq!(first.len(), PER_NAMESPACE + 1, "{first:?}");
        assert_eq!(first[1], ("shop".to_owned(), 1));
        queue.done("odd");
        assert_eq!(names(&mut queue, now).len(), 1);
    }

    #[test]
    fn t8_repeated_questions_are_few_however_many_there_are() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let wait = Duration::from_secs(45);
        for lookup in 0..2_000 {
            queue.ask_again(start, wait, "odd".into(), lookup);
        }
        queue.ask_again(start, wait, "shop".into(), 1);
        let mut asked = 0;
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            while let Some((namespace, _)) = queue.next(now) {
                queue.done(&namespace);
                asked += 1;
                if &*namespace == "shop" {
                    assert!(second >= 45, "not before");
                }
            }
        }
        assert!((10..=20).contains(&asked), "{asked}: one a second");
        assert!(
            !queue
                .later
                .values()
                .any(|(namespace, _)| &**namespace == "shop")
        );
    }
}
