//! A limit on Events about what tenants write, for each namespace.
//!
//! Bias: towards few Events. A tenant with thousands of unusual objects gets the first Events of each kind; metrics
//! count the rest. Without the limit, the Events of one namespace would crowd out those of the others.

use std::{collections::HashMap, time::Duration};

use ebb_autoscaler_core::Timestamp;

/// Most Events of one kind for one namespace within [`AGAIN`].
const MOST: u32 = 10;
/// The time that kube-apiserver keeps an Event (`--event-ttl`, 1 h by default).
const AGAIN: Duration = Duration::from_secs(3600);
/// Entries of namespace and kind from which on the entries older than `AGAIN` are removed.
const REMEMBERED: usize = 10_000;

/// Number of Events by namespace and kind, each with the start of the hour.
#[derive(Debug, Default)]
pub(super) struct EventLimit(HashMap<(Box<str>, &'static str), (Timestamp, u32)>);

impl EventLimit {
    /// Returns whether one more Event may be published now; if so, it is counted.
    pub(super) fn admits(&mut self, namespace: &str, reason: &'static str, now: Timestamp) -> bool {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (since, _)| now.since(*since) < AGAIN);
        }
        if self.0.len() >= 2 * REMEMBERED {
            return false;
        }
        let known = self.0.entry((namespace.into(), reason));
        let (since, count) = known.or_insert((now, 0));
        if now.since(*since) >= AGAIN {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_told_some_and_the_others_as_much() {
        let mut limit = EventLimit::default();
        let now = Timestamp::from_secs(1_000);
        let mut count = |namespace, now| {
            (0..100)
                .filter(|_| limit.admits(namespace, "ForeignSlice", now))
                .count()
        };
        assert_eq!(count("hostile", now), 10);
        assert_eq!(count("shop", now), 10);
        assert_eq!(count("hostile", now), 0);
        assert_eq!(count("hostile", now + AGAIN), 10);
    }
}
