//! Requests that are counted while they are queued, before they reach a pod.
//!
//! For requests per second, a request is counted when it reaches a pod. A request that is queued while there is no pod
//! must wake the workload, so it is counted at once, and subtracted from the requests that the pods report later. So
//! each request counts once.

/// Number of requests of a workload that were counted ahead, i.e. while they were queued, and that pods have not
/// reported yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CountedAhead(f64);

impl CountedAhead {
    /// Counts the `requests` of one queue as load before they reach a pod. `before`: the number that was counted for
    /// the same queue at the previous call, which is replaced. Returns `requests`, for use as `before` in the next
    /// call.
    pub fn replace(&mut self, before: f64, requests: f64) -> f64 {
        self.0 = (self.0 + requests - before).max(0.0);
        requests
    }

    /// Returns how many of the `requests` that have reached pods are not counted yet. Requests that were counted while
    /// they were queued are not counted again; they are subtracted from the stored number of requests counted ahead.
    pub fn subtract_from(&mut self, requests: f64) -> f64 {
        let known = requests.min(self.0);
        self.0 -= known;
        requests - known
    }
}

/// Returns the load of `queued` requests while there is no pod, as a tuple (concurrency, requests per second).
///
/// `concurrency` and `requests` are the measured load. Requests that have just arrived have no weight in a mean yet, so
/// each of the two results is at least `queued`.
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
            "three requests were counted while queued"
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
