//! Figures of a whole workload, extrapolated from some of its pods.
//!
//! Ebb's agents count every pod and do not need this. It is for sources that have to query each pod over the network,
//! and to compute what Knative would have measured.
//!
//! Bias: too few answers give no result, because a figure from a handful of pods would scale on noise.

use crate::window::Sample;

/// Up to this number of pods, all of them are queried.
const ALL_UP_TO: u32 = 3;

/// Knative's sample size for a large population, to be corrected for small ones. z² p (1-p) / e² at 95 % confidence (z
/// = 1.96), p = 0.5 and a margin e of 25 % gives 15.3664.
const POPULATION_SAMPLE: f64 = 15.3664;

/// Returns how many of `ready` pods to query.
pub fn sample_size(ready: u32) -> u32 {
    if ready <= ALL_UP_TO {
        return ready;
    }
    let pods = f64::from(ready);
    (pods * POPULATION_SAMPLE / (pods + POPULATION_SAMPLE - 1.0)).ceil() as u32
}

/// Fewer pods answered than are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{answered} of {ready} pods answered: at least {needed} must")]
pub struct TooFew {
    /// Pods that answered.
    pub answered: usize,
    /// Ready pods.
    pub ready: u32,
    /// Pods that must answer.
    pub needed: u32,
}

/// Extrapolates the figures of `ready` pods from the pods that answered.
///
/// # Errors
/// Fewer than [`sample_size`] pods answered, or none.
pub fn extrapolate(answers: &[Sample], ready: u32) -> Result<Sample, TooFew> {
    let needed = sample_size(ready);
    if answers.is_empty() || answers.len() < needed as usize {
        return Err(TooFew {
            answered: answers.len(),
            ready,
            needed,
        });
    }
    let share = |figure: fn(&Sample) -> f64| {
        answers.iter().map(figure).sum::<f64>() / answers.len() as f64 * f64::from(ready)
    };
    Ok(Sample {
        concurrency: share(|answer| answer.concurrency),
        proxied_concurrency: share(|answer| answer.proxied_concurrency),
        requests: share(|answer| answer.requests),
        proxied_requests: share(|answer| answer.proxied_requests),
    })
}
