//! Number of decisions by their basis, for example `stable` (the average over the stable window) or `panic`.

use ebb_autoscaler_core::reason::Basis;

/// Number of decisions for each basis (see [`Basis`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionCounts([u64; Self::WORDS.len()]);

impl DecisionCounts {
    /// The name of each [`Basis`] of a decision, in the order of the counts.
    pub const WORDS: [&'static str; 9] = [
        "undecided",
        "ready_unknown",
        "no_data",
        "metrics_stale",
        "stable",
        "panic",
        "burst",
        "panic_hold",
        "delayed",
    ];

    pub(super) fn count(&mut self, basis: &Basis) {
        let index = match basis {
            Basis::Undecided => 0,
            Basis::ReadyUnknown => 1,
            Basis::NoData => 2,
            Basis::Stale { .. } => 3,
            Basis::Stable { .. } => 4,
            Basis::Panic { burst: false, .. } => 5,
            Basis::Panic { burst: true, .. } => 6,
            Basis::PanicHold { .. } => 7,
            Basis::Delayed { .. } => 8,
        };
        self.0[index] += 1;
    }

    /// Returns each name in [`Self::WORDS`] with the number of decisions that had this basis.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Self::WORDS.into_iter().zip(self.0.iter().copied())
    }
}
