//! What became of requests, in numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident => $label:literal,)+) => {
        /// Why the door answered a request itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])+ $variant,)+ }

        impl Reason {
            /// All of them.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)+];

            /// As metrics name it.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Reason::$variant => $label,)+ }
            }
        }
    };
}

reasons! {
    /// 400: it was no request, or could be read as two.
    Malformed => "malformed",
    /// 431: its header was too long.
    HeaderTooLarge => "header-too-large",
    /// 408: its header did not come to an end in time.
    HeaderTooSlow => "header-too-slow",
    /// 501: its method is not for this.
    Unsupported => "unsupported",
    /// 400: its body broke off.
    BodyBrokeOff => "body-broke-off",
    /// 503: too many waited already.
    QueueFull => "queue-full",
    /// 503: the bytes that clients may take are used up.
    BytesFull => "bytes-full",
    /// 504: nothing was ready in time.
    WaitedTooLong => "waited-too-long",
    /// 503: the door closed.
    Stopping => "stopping",
    /// 502: its backend broke off before an answer.
    BrokeOff => "backend-broke-off",
}

/// The numbers, as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    answered: AtomicU64,
    resent: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Tally {
    /// A backend has answered.
    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// A request goes a second time.
    pub(crate) fn resent(&self) {
        self.resent.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counts {
            answered: read(&self.answered),
            resent: read(&self.resent),
            refused: self.refused.each_ref().map(read),
        }
    }
}

/// What became of the requests of one [`Pool`](crate::Pool) so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that a backend answered.
    pub answered: u64,
    /// Requests that were sent a second time, each time counted.
    pub resent: u64,
    refused: [u64; Reason::ALL.len()],
}

impl Counts {
    /// Requests that the door answered itself, for this reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }
}
