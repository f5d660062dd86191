//! Whether this replica may write, and until when.
//!
//! The Lease is renewed by a [candidate](super::lease); everybody who writes asks here just before a request goes out,
//! and gets a [`Permit`] that says how long the request may take. So a replica that was stopped for longer than its
//! Lease writes nothing when it goes on: the clock says so before any task has looked at the Lease again.
//!
//! Bias: rather nobody than two. A write must be over before another replica may take the Lease. What remains: a
//! request that left this machine in time and is carried out late. The `resourceVersion` in it refuses most of these.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::counter::Counter;
use tokio::{sync::watch, time};

use super::boot::BootClock;

/// A write is waited for this long at most. A healthy API server answers within milliseconds; etcd's own limit for a
/// write is 5 s, but a scale that takes longer than this is decided anew.
pub(super) const WRITE_WITHIN: Duration = Duration::from_secs(3);

/// A write is over by so much before another replica may take the Lease: for clocks that run at different speeds
/// (500 ppm, the most that NTP corrects, is 8 ms in 15 s) and for the way to the API server.
const MARGIN: Duration = Duration::from_millis(250);

/// A write that could not have this much time is not begun: it would be broken off halfway, and nobody would know
/// whether it was done.
const LEAST: Duration = Duration::from_millis(500);

/// Whether this replica leads.
#[derive(Debug)]
pub(super) struct Leadership {
    clock: BootClock,
    term: Mutex<Option<Term>>,
    leads: watch::Sender<bool>,
    /// Writes that have been permitted and are not over.
    under_way: watch::Sender<usize>,
    /// Writes that were not begun, because this replica does not lead.
    dropped: Counter,
}

/// The time since boot until which this replica holds the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Term {
    /// It acts until then.
    acts_until: Duration,
    /// No other replica may take the Lease before.
    alone_until: Duration,
}

/// Leave to send one write. The write counts as under way until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    leadership: Arc<Leadership>,
    /// The write must be over by then, time since boot.
    until: Duration,
}

/// This replica does not lead, or would not lead for long enough.
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

    /// The time since boot.
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Whether this replica leads at this moment, by the clock.
    pub(super) fn leads(&self) -> bool {
        let now = self.now();
        self.term().is_some_and(|term| now < term.acts_until)
    }

    /// Tells when a replica begins or ceases to lead. Late by as much as this process was stopped: whoever writes asks
    /// [`Self::leads`] or [`Self::permit`].
    pub(super) fn changes(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// The time that is left to act; `None`: this replica does not lead.
    pub(super) fn left(&self) -> Option<Duration> {
        let now = self.now();
        let term = *self.term();
        term.map(|term| term.acts_until.saturating_sub(now))
    }

    /// The Lease was renewed by a request that was sent at `asked`. This replica acts for `acts`, and no other may take
    /// the Lease for `alone`. Whether that is new.
    pub(super) fn renewed(&self, asked: Duration, acts: Duration, alone: Duration) -> bool {
        *self.term() = Some(Term {
            acts_until: asked.saturating_add(acts),
            alone_until: asked.saturating_add(alone),
        });
        // The answer may have come too late.
        let leads = self.leads();
        self.tell(leads)
    }

    /// This replica does not lead any more. Whether that is new.
    pub(super) fn lost(&self) -> bool {
        *self.term() = None;
        self.tell(false)
    }

    /// Ceases to lead if the time is over. Whether that is new.
    pub(super) fn expire(&self) -> bool {
        !self.leads() && self.lost()
    }

    fn tell(&self, leads: bool) -> bool {
        self.leads
            .send_if_modified(|told| std::mem::replace(told, leads) != leads)
    }

    /// Leave to write, now.
    ///
    /// # Errors
    /// This replica does not lead, or not for long enough.
    pub(super) fn permit(self: &Arc<Self>) -> Result<Permit, NotLeading> {
        // Counted first: whoever gives up the Lease ends the term, and then waits for those that are counted.
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

    /// Waits until all writes that were permitted are over.
    pub(super) async fn drained(&self) {
        // Each of them is over within this time; the sender is in self and cannot be gone.
        let mut under_way = self.under_way.subscribe();
        let _ = time::timeout(WRITE_WITHIN, under_way.wait_for(|writes| *writes == 0)).await;
    }

    /// Counts writes that were not begun.
    pub(super) fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    fn term(&self) -> MutexGuard<'_, Option<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// How long the write may take from now on.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_sub(self.leadership.now())
    }

    /// Whether the write may still be sent: asked again when a connection has been found, which may take a while.
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
    /// Whether a request failed because this replica does not lead.
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
        // Nothing runs meanwhile, as after SIGSTOP: no task tells that the time is over.
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
        // A short Lease leaves less time.
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
