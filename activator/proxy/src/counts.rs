//! Counters of request outcomes.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident => $label:literal,)+) => {
        /// Reasons why the proxy answered a request itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason { $($(#[$doc])+ $variant,)+ }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Reason] = &[$(Reason::$variant,)+];

            /// Returns the reason as the value of the metric's label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Reason::$variant => $label,)+ }
            }
        }
    };
}

reasons! {
    /// 400, or 501 for an unknown transfer coding: the request was malformed, or could be read as two requests.
    Malformed => "malformed",
    /// 431: the header was too long.
    HeaderTooLarge => "header-too-large",
    /// 408: the header was not complete in time.
    HeaderTooSlow => "header-too-slow",
    /// 501: the method is not supported.
    Unsupported => "unsupported",
    /// 400: the client aborted the body of the request.
    BodyBrokeOff => "body-broke-off",
    /// 503: the queue was full.
    QueueFull => "queue-full",
    /// 503: the memory budget for clients was used up.
    BytesFull => "bytes-full",
    /// 504: no backend was ready in time.
    WaitedTooLong => "waited-too-long",
    /// 503: the proxy was stopping.
    Stopping => "stopping",
    /// 502: the backend aborted the connection before it responded.
    BrokeOff => "backend-broke-off",
}

/// The atomic counters of a pool. [`Counters::read`] returns their values as [`Counts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    answered: AtomicU64,
    resent: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
}

impl Counters {
    /// Counts a response of a backend.
    pub(crate) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that is sent again.
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

/// The number of requests by outcome since the [`Pool`](crate::Pool) was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that a backend answered.
    pub answered: u64,
    /// Requests that were sent again; each repetition counts.
    pub resent: u64,
    refused: [u64; Reason::ALL.len()],
}

impl Counts {
    /// Returns the number of requests that the proxy answered itself for this reason.
    #[must_use]
    pub fn refused(&self, reason: Reason) -> u64 {
        self.refused[reason as usize]
    }
}
