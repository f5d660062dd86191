//! A limit on the number of Events about objects that tenants write, for each namespace.
//!
//! Bias: towards few Events. A tenant with thousands of invalid objects gets only the first Events with each reason;
//! metrics count all invalid objects. Without the limit, the Events of one namespace would displace the Events of other
//! namespaces.

use std::{collections::HashMap, time::Duration};

use ebb_autoscaler_core::Timestamp;

/// Maximum number of Events with one reason in one namespace within [`AGAIN`].
const MOST: u32 = 10;
/// Period of the limit: the time for which kube-apiserver stores an Event (`--event-ttl`, 1 h by default).
const AGAIN: Duration = Duration::from_secs(3600);
/// If the map has at least this number of entries (pairs of namespace and reason), entries older than [`AGAIN`] are
/// removed. If at least twice this number remains, no Event is published.
const REMEMBERED: usize = 10_000;

/// Start of the current period and number of Events in this period, by namespace and reason.
#[derive(Debug, Default)]
pub(super) struct EventLimit(HashMap<(Box<str>, &'static str), (Timestamp, u32)>);

impl EventLimit {
    /// Counts an Event, and returns whether the Event may be published.
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
