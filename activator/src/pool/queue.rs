//! The requests that wait, oldest first, and exactly how long they do.
//!
//! Pure: the time is handed in. The integral of the number held is kept at every change, so a
//! reading is exact and not a sample; a request that leaves the queue by itself (its client went
//! away) frees its place at once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Permit;

/// The requests held at the door: a reading of [`Pool::held`](crate::Pool::held).
///
/// All but `now` and `oldest` is cumulative, so the mean number held between two readings is the
/// difference of their integrals over the time between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Requests held at this moment.
    pub now: u64,
    /// ∫ held dt since the pool was made, in request-seconds; exact.
    pub integral: Duration,
    /// Requests ever held, each once.
    pub total: u64,
    /// Since when the one held longest has been held.
    pub oldest: Option<Instant>,
}

/// A request's place in the order of arrival. It keeps it when it has to wait a second time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
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
    /// Places given out so far: the next place's number.
    total: u64,
    integral: Duration,
    /// Up to when `integral` is counted.
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

    /// Gives out the next place.
    pub(crate) fn place(&mut self, now: Instant) -> Place {
        let number = self.total;
        self.total += 1;
        Place { number, since: now }
    }

    /// Waits at `place`; what comes out of the channel is the permit to go on.
    pub(crate) fn push(&mut self, place: Place, now: Instant) -> oneshot::Receiver<Permit> {
        self.count(now);
        let (hand_over, receiver) = oneshot::channel();
        self.waiting.insert(
            place.number,
            Waiter {
                since: place.since,
                hand_over,
            },
        );
        receiver
    }

    /// The one that has waited longest.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<oneshot::Sender<Permit>> {
        self.count(now);
        self.waiting.pop_first().map(|(_, waiter)| waiter.hand_over)
    }

    /// Gives up a place; nothing happens when its turn has come already.
    pub(crate) fn leave(&mut self, place: Place, now: Instant) {
        self.count(now);
        self.waiting.remove(&place.number);
    }

    pub(crate) fn held(&mut self, now: Instant) -> Held {
        self.count(now);
        Held {
            now: self.waiting.len() as u64,
            integral: self.integral,
            total: self.total,
            oldest: self
                .waiting
                .first_key_value()
                .map(|(_, waiter)| waiter.since),
        }
    }

    /// Brings the integral up to `now`, with the number that has been held until then.
    fn count(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.counted);
        // Saturates after 136 years with 2^32 held; the queue is bounded far below that.
        let held = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        self.integral = self.integral.saturating_add(elapsed.saturating_mul(held));
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
        let first = queue.place(start);
        let _first = queue.push(first, start);
        let second = queue.place(start + SECOND);
        let _second = queue.push(second, start + SECOND);
        queue.leave(first, start + 4 * SECOND); // 1 s × 1 + 3 s × 2
        assert_eq!(
            queue.held(start + 6 * SECOND), // + 2 s × 1
            Held {
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
        let (early, late) = (queue.place(now), queue.place(now));
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
