//! The rate limit of the Events of a namespace. A namespace with thousands of invalid objects must neither overload the
//! API server nor displace the Events of other namespaces.
//!
//! Each namespace has a token bucket. Failure mode: Events beyond the limit are counted and not written. The limit
//! applies only after a hundred Events of a namespace (the size of a full bucket).

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Maximum number of Events of a namespace that may be written at once: enough for a rollout of all workloads of a
/// large namespace.
const AT_ONCE: f64 = 100.0;
/// Maximum number of Events of a namespace per second when its token bucket is empty.
const A_SECOND: f64 = 2.0;
/// Time after which an empty token bucket is full again.
const FULL_AFTER: Duration = Duration::from_secs((AT_ONCE / A_SECOND) as u64);

/// The token bucket of a namespace: the Events that may still be written.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    /// Whether the log already says that the namespace has too many Events.
    told: bool,
}

/// Whether an Event may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    /// The Event must not be written. It is the first Event of its namespace beyond the limit, so a warning is logged.
    FirstTooMany,
    TooMany,
}

/// The token buckets of all namespaces with recent Events.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: HashMap<Box<str>, Bucket>,
    swept: Option<Instant>,
}

impl Rates {
    /// Takes one Event from the token bucket of a namespace.
    pub(super) fn take(&mut self, namespace: &str, now: Instant) -> Verdict {
        if self.swept.is_none_or(|at| now - at > FULL_AFTER) {
            self.swept = Some(now);
            self.buckets
                .retain(|_, bucket| now - bucket.at <= FULL_AFTER);
        }
        let bucket = self.buckets.entry(namespace.into()).or_insert(Bucket {
            left: AT_ONCE,
            at: now,
            told: false,
        });
        let gained = (now - bucket.at).as_secs_f64() * A_SECOND;
        bucket.left = (bucket.left + gained).min(AT_ONCE);
        bucket.at = now;
        if bucket.left >= 1.0 {
            bucket.left -= 1.0;
            // When half of the bucket has refilled, the next Event beyond the limit is logged as a warning again.
            bucket.told &= bucket.left < AT_ONCE / 2.0;
            return Verdict::Write;
        }
        match std::mem::replace(&mut bucket.told, true) {
            false => Verdict::FirstTooMany,
            true => Verdict::TooMany,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_a_namespace_has_so_many_events_and_others_have_theirs() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let mut written = 0;
        let mut told = 0;
        for number in 0..2_000_u32 {
            let now = start + Duration::from_millis(u64::from(number) * 5);
            match rates.take("odd", now) {
                Verdict::Write => written += 1,
                Verdict::FirstTooMany => told += 1,
                Verdict::TooMany => {}
            }
        }
        assert!((118..=121).contains(&written), "{written} in ten seconds");
        assert_eq!(told, 1);
        assert_eq!(rates.take("shop", start), Verdict::Write);
        let later = start + Duration::from_secs(100);
        assert_eq!(rates.take("odd", later), Verdict::Write);
        assert_eq!(rates.buckets.len(), 1, "the idle are forgotten");
    }
}
