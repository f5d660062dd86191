//! Whether this replica may write, and until when.
//!
//! A [candidate](super::lease) renews the Lease. Just before a write is sent, the writer gets a [`Permit`] from
//! [`Leadership`]. The permit exists only if the leadership has not ended by the clock, and it limits the time that the
//! write may take. So a replica that was suspended (SIGSTOP, a frozen cgroup) for longer than the duration of its Lease
//! writes nothing when it continues, even if no task has checked the Lease since.
//!
//! Bias: no leader is better than two leaders. A write must be over before another replica can take the Lease. One risk
//! remains: a write is sent in time, but the API server carries it out after another replica has taken the Lease. Most
//! of these writes fail because of their `resourceVersion`.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{sync::watch, time};

use super::boot::BootClock;

/// Longest time that a write may take. A healthy API server answers within milliseconds. etcd's own limit for a write
/// is 5 s, but a scale write without an answer within 3 s counts as failed, and the next decision requests the scale
/// again.
pub(super) const WRITE_WITHIN: Duration = Duration::from_secs(3);

/// Time between the end of the last write and the earliest moment at which another replica can take the Lease. It
/// covers clocks that run at different speeds (500 ppm, the maximum that NTP corrects, is 8 ms in 15 s) and the network
/// delay to the API server.
const MARGIN: Duration = Duration::from_millis(250);

/// Minimum time for a write. With less time left, a write does not begin, because it might be aborted halfway with an
/// unknown result.
const LEAST: Duration = Duration::from_millis(500);

/// The leadership of this replica: whether and until when it leads, and its writes under way.
#[derive(Debug)]
pub(super) struct Leadership {
    clock: BootClock,
    term: Mutex<Option<Term>>,
    leads: watch::Sender<bool>,
    /// Number of writes that have a permit and are not complete.
    under_way: watch::Sender<usize>,
    /// Counter of writes to the API server that were not sent, because this replica does not lead.
    dropped: Counter,
}

/// The limits of the current leadership, as times since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    /// Time until which this replica leads.
    acts_until: Duration,
    /// Time before which no other replica can take the Lease.
    alone_until: Duration,
}

/// Permission to send one write. The write counts as under way until the permit is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    leadership: Arc<Leadership>,
    /// Time by which the write must be over, as time since boot.
    until: Duration,
}

/// This replica does not lead, or the time until the end of its leadership is too short for a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotLeading;

impl Leadership {
    pub(super) fn new(clock: BootClock) -> Arc<Self> {
        Arc::new(Self {
            clock,
            term: Mutex::new(None),
            leads: watch::Sender::new(false),
            under_way: watch::Sender::new(0),
            dropped: Counter::default(),
        })
    }

    /// Returns the time since boot.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Returns whether this replica leads at this moment, by the clock.
    pub(super) fn leads(&self) -> bool {
        let now = self.now();
        self.term().is_some_and(|term| now < term.acts_until)
    }

    /// Signals each begin and end of the leadership. If this process was suspended, the signal is late. So writers must
    /// use [`Self::leads`] or [`Self::permit`].
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Returns the time until this replica stops leading; `None` if it does not lead.
    pub(super) fn left(&self) -> Option<Duration> {
        let now = self.now();
        let term = *self.term();
        term.map(|term| term.acts_until.saturating_sub(now))
    }

    /// Records that a request sent at `asked` has renewed the Lease. From `asked` on, this replica leads for the time
    /// `acts`, and no other replica can take the Lease for the time `alone`. Returns whether the value in
    /// [`Self::changes`] has changed.
    pub(super) fn renewed(&self, asked: Duration, acts: Duration, alone: Duration) -> bool {
        *self.term() = Some(Term {
            acts_until: asked.saturating_add(acts),
            alone_until: asked.saturating_add(alone),
        });
        // If the answer to the renewal came too late, the leadership is over already, and `leads` is false.
        let leads = self.leads();
        self.publish(leads)
    }

    /// Ends the leadership. Returns whether the value in [`Self::changes`] has changed.
    pub(super) fn lost(&self) -> bool {
        *self.term() = None;
        self.publish(false)
    }

    /// Ends the leadership if its time is over. Returns whether the value in [`Self::changes`] has changed.
    pub(super) fn expire(&self) -> bool {
        !self.leads() && self.lost()
    }

    fn publish(&self, leads: bool) -> bool {
        self.leads
            .send_if_modified(|published| std::mem::replace(published, leads) != leads)
    }

    /// Returns the permission to send one write now.
    ///
    /// # Errors
    /// If this replica does not lead, or if its leadership ends too soon.
    pub(super) fn permit(self: &Arc<Self>) -> Result<Permit, NotLeading> {
        // The write is counted before the leadership is checked. A release of the Lease works in the opposite order: it
        // ends the leadership, and then waits for the counted writes. So the release waits for every write with a
        // permit.
        self.under_way.send_modify(|writes| *writes += 1);
        let mut permit = Permit {
            leadership: Arc::clone(self),
            until: Duration::ZERO,
        };
        let now = self.now();
        let term = *self.term();
        let until = term
            .filter(|term| now < term.acts_until)
            .map(|term| term.alone_until.saturating_sub(MARGIN))
            .filter(|until| now.saturating_add(LEAST) <= *until);
        let Some(until) = until else {
            self.dropped.inc();
            return Err(NotLeading);
        };
        permit.until = until.min(now.saturating_add(WRITE_WITHIN));
        Ok(permit)
    }

    /// Waits until all writes with a permit are over, for at most `WRITE_WITHIN`.
    pub(super) async fn drained(&self) {
        // The result is ignored: each write is over within `WRITE_WITHIN`, and the channel cannot close, because `self`
        // has its sender `under_way`.
        let mut under_way = self.under_way.subscribe();
        let _ = time::timeout(WRITE_WITHIN, under_way.wait_for(|writes| *writes == 0)).await;
    }

    /// Returns the counter of writes that were not sent, because this replica does not lead.
    pub(super) fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    fn term(&self) -> MutexGuard<'_, Option<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Returns the time that is left for the write.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_sub(self.leadership.now())
    }

    /// Checks whether the write may still be sent. The check is repeated when a connection is ready, because the wait
    /// for a connection may take longer than the permit lasts.
    pub(super) fn check(&self) -> Result<(), NotLeading> {
        if self.leadership.leads() && !self.left().is_zero() {
            Ok(())
        } else {
            self.leadership.dropped.inc();
            Err(NotLeading)
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leadership
            .under_way
            .send_modify(|writes| *writes = writes.saturating_sub(1));
    }
}

impl fmt::Display for NotLeading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this replica does not lead any more")
    }
}

impl Error for NotLeading {}

impl NotLeading {
    /// Returns whether a request failed because this replica does not lead.
    pub(super) fn is_why(error: &(dyn Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<Self>() {
                return true;
            }
            next = error.source();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTS: Duration = Duration::from_secs(10);
    const ALONE: Duration = Duration::from_secs(15);

    fn leading() -> Arc<Leadership> {
        let leadership = Leadership::new(BootClock::of_tokio());
        assert!(leadership.renewed(leadership.now(), ACTS, ALONE));
        leadership
    }

    #[tokio::test(start_paused = true)]
    async fn p6_a_leader_that_was_stopped_does_not_write() {
        let leadership = leading();
        assert!(leadership.permit().is_ok());
        // The clock advances by 22 s while no task runs, as during SIGSTOP. So no task notices that the leadership has
        // ended after 10 s.
        time::advance(Duration::from_secs(22)).await;
        assert!(*leadership.changes().borrow(), "nobody has looked yet");
        assert_eq!(leadership.permit().err(), Some(NotLeading));
        assert!(!leadership.leads());
        assert_eq!(leadership.dropped().get(), 1);
        assert!(leadership.expire() && !leadership.expire());
    }

    #[tokio::test(start_paused = true)]
    async fn p6_stopped_between_the_permit_and_the_request() {
        let leadership = leading();
        let permit = leadership.permit().unwrap();
        assert!(permit.check().is_ok());
        time::advance(Duration::from_secs(22)).await;
        assert!(permit.check().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn p6_a_write_is_over_before_another_may_lead() {
        let leadership = leading();
        let asked = leadership.now();
        assert_eq!(leadership.permit().unwrap().left(), WRITE_WITHIN);
        time::advance(ACTS - Duration::from_millis(1)).await;
        let permit = leadership.permit().unwrap();
        assert!(leadership.now() + permit.left() + MARGIN <= asked + ALONE);
        // With a Lease that lasts 3 s, a write has less time than `WRITE_WITHIN`, even just after the renewal.
        leadership.renewed(
            leadership.now(),
            Duration::from_secs(2),
            Duration::from_secs(3),
        );
        let left = leadership.permit().unwrap().left();
        assert_eq!(left, Duration::from_secs(3) - MARGIN);
    }

    #[tokio::test(start_paused = true)]
    async fn p6_writes_under_way_are_waited_for() {
        let leadership = leading();
        let permit = leadership.permit().unwrap();
        leadership.lost();
        assert!(leadership.permit().is_err());
        let before = time::Instant::now();
        tokio::spawn(async move {
            time::sleep(Duration::from_secs(1)).await;
            drop(permit);
        });
        leadership.drained().await;
        assert_eq!(before.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_comes_too_late_renews_nothing() {
        let leadership = Leadership::new(BootClock::of_tokio());
        let asked = leadership.now();
        time::advance(ACTS).await;
        assert!(!leadership.renewed(asked, ACTS, ALONE));
        assert!(!leadership.leads());
    }
}
