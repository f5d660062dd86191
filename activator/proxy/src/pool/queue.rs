//! The queued requests, oldest first, and the exact integral of their number over time.
//!
//! This module reads no clock: the caller passes the time. The integral of the queue length is updated at every change,
//! so a reading is exact and not a sample. If a client disconnects, its request leaves the queue at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Permit;

/// The state of the queue, as [`Pool::queued`](crate::Pool::queued) returns it.
///
/// `integral` and `total` are cumulative. So the mean queue length between two readings is the difference of their
/// integrals, divided by the time between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Number of requests queued at the time of the call.
    pub now: u64,
    /// Integral of the queue length over time since the pool was created, in request-seconds. Exact.
    pub integral: Duration,
    /// Number of requests that were ever queued. Each request counts once.
    pub total: u64,
    /// Time when the oldest queued request was queued; `None` if the queue is empty.
    pub oldest: Option<Instant>,
}

/// A request's position in the order of arrival. A request that has to wait again keeps its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueuePosition {
    pub(crate) number: u64,
    pub(crate) since: Instant,
}

#[derive(Debug)]
struct Waiter {
    since: Instant,
    hand_over: oneshot::Sender<Permit>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: BTreeMap<u64, Waiter>,
    /// Number of assigned positions, which is also the number of the next position.
    total: u64,
    integral: Duration,
    /// The time up to which `integral` is computed.
    counted: Instant,
}

impl Queue {
    pub(crate) fn new(now: Instant) -> Self {
        Queue {
            waiting: BTreeMap::new(),
            total: 0,
            integral: Duration::ZERO,
            counted: now,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Assigns the next position in the order of arrival.
    pub(crate) fn position(&mut self, now: Instant) -> QueuePosition {
        let number = self.total;
        self.total += 1;
        QueuePosition { number, since: now }
    }

    /// Queues a request at `position`. The returned channel delivers its permit.
    pub(crate) fn push(
        &mut self,
        position: QueuePosition,
        now: Instant,
    ) -> oneshot::Receiver<Permit> {
        self.count(now);
        let (hand_over, receiver) = oneshot::channel();
        self.waiting.insert(
            position.number,
            Waiter {
                since: position.since,
                hand_over,
            },
        );
        receiver
    }

    /// Removes the oldest request.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<oneshot::Sender<Permit>> {
        self.count(now);
        self.waiting.pop_first().map(|(_, waiter)| waiter.hand_over)
    }

    /// Removes the request at `position`; does nothing if the request has already left the queue.
    pub(crate) fn leave(&mut self, position: QueuePosition, now: Instant) {
        self.count(now);
        self.waiting.remove(&position.number);
    }

    pub(crate) fn queued(&mut self, now: Instant) -> QueueState {
        self.count(now);
        QueueState {
            now: self.waiting.len() as u64,
            integral: self.integral,
            total: self.total,
            oldest: self
                .waiting
                .first_key_value()
                .map(|(_, waiter)| waiter.since),
        }
    }

    /// Advances the integral to `now` with the current queue length. Must be called before every change of the length.
    fn count(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.counted);
        // With 2^32 queued requests, the integral saturates after 136 years. The limit of the queue is far below 2^32.
        let length = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.integral = self.integral.saturating_add(elapsed.saturating_mul(length));
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_integral_is_exact() {
        let start = Instant::now();
        let mut queue = Queue::new(start);
        let first = queue.position(start);
        let _first = queue.push(first, start);
        let second = queue.position(start + SECOND);
        let _second = queue.push(second, start + SECOND);
        queue.leave(first, start + 4 * SECOND); // 1 s × 1 request + 3 s × 2 requests
        assert_eq!(
            queue.queued(start + 6 * SECOND), // + 2 s × 1 request
            QueueState {
                now: 1,
                integral: 9 * SECOND,
                total: 2,
                oldest: Some(start + SECOND)
            }
        );
    }

    #[test]
    fn a_second_wait_keeps_the_first_place() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        let (early, late) = (queue.position(now), queue.position(now));
        let mut late = queue.push(late, now);
        let mut early = queue.push(early, now);
        drop(queue.pop(now));
        assert!(
            early
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        assert!(
            late.try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Empty)
        );
    }
}
