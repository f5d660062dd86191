//! Requests that are counted while they are queued, before any pod has seen them.
//!
//! Requests per second are counted where they reach a pod. A request that waits while there is no pod must wake the
//! workload, so it counts at once, and is subtracted from what the pods report later. So each request counts once.

/// Requests of a workload that were counted ahead, and that pods have not reported yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CountedAhead(f64);

impl CountedAhead {
    /// Counts `requests` of one queue ahead, in place of the `before` that were counted there. Returns the new number
    /// of that queue.
    pub fn replace(&mut self, before: f64, requests: f64) -> f64 {
        self.0 = (self.0 + requests - before).max(0.0);
        requests
    }

    /// Returns how many of the `requests` that have reached pods were not counted ahead.
    pub fn subtract_from(&mut self, requests: f64) -> f64 {
        let known = requests.min(self.0);
        self.0 -= known;
        requests - known
    }
}

/// The load that `queued` waiting requests are while there is no pod: concurrency, and requests per second.
///
/// `concurrency` and `requests` are what was measured. Requests that have just arrived have no weight in a mean yet, so
/// they count in full: what waits now is the least.
#[must_use]
pub fn waiting_load(queued: f64, concurrency: f64, requests: f64) -> (f64, f64) {
    (concurrency.max(queued), requests.max(queued).max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_once() {
        let mut ahead = CountedAhead::default();
        let counted = ahead.replace(0.0, 3.0);
        let counted = ahead.replace(counted, 4.0);
        assert_eq!(ahead.subtract_from(1.0), 0.0);
        assert_eq!(
            ahead.subtract_from(5.0),
            2.0,
            "three of them were counted ahead"
        );
        ahead.replace(counted, 0.0);
        assert_eq!(ahead.subtract_from(1.0), 1.0, "never below zero");
    }

    #[test]
    fn what_waits_now_is_the_least() {
        assert_eq!(waiting_load(4.0, 0.1, 1.0), (4.0, 4.0));
        assert_eq!(waiting_load(0.0, 0.5, 0.0), (0.5, 1.0));
    }
}
