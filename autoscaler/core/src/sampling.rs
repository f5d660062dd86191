//! A whole workload's figures from those of some of its pods.
//!
//! Ebb's own agents count every pod, and need none of this. It is for sources that have to ask pod
//! by pod over the network, and for telling what Knative would have seen. Bias: too few answers are
//! no answer, because a figure blown up from a handful of pods would scale on noise.

use crate::window::Sample;

/// Up to this many pods all are asked.
const ALL_UP_TO: u32 = 3;

/// Knative's sample of a large population, with a correction for small ones: z² p (1-p) / e² at 95
/// % confidence (z = 1.96), p = 0.5 and a margin e of 25 % gives 15.3664.
const POPULATION_SAMPLE: f64 = 15.3664;

/// How many of `ready` pods to ask.
pub fn sample_size(ready: u32) -> u32 {
    if ready <= ALL_UP_TO {
        return ready;
    }
    let pods = f64::from(ready);
    (pods * POPULATION_SAMPLE / (pods + POPULATION_SAMPLE - 1.0)).ceil() as u32
}

/// Fewer pods answered than it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{answered} of {ready} pods answered: at least {needed} must")]
pub struct TooFew {
    /// Pods that answered.
    pub answered: usize,
    /// Pods there are.
    pub ready: u32,
    /// Pods that must answer.
    pub needed: u32,
}

/// The figures of `ready` pods, from those of the pods that answered.
///
/// # Errors
/// Fewer than [`sample_size`] answered, or there is none.
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
