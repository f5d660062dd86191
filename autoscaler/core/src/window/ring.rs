//! One window: a ring of buckets with Knative's rules for gaps, late samples and missing data.
//!
//! It follows `pkg/autoscaler/aggregation/bucketing.go` of Knative Serving 1.23. One difference has no effect on the
//! results: the sum is computed for each query and is not stored, so rounding errors do not accumulate over the life of
//! a workload.

use std::time::Duration;

use crate::{class::Aggregation, time::Timestamp};

/// Averages are rounded to multiples of 1 / `PRECISION`, i.e. to six decimals. This removes the rounding errors of
/// sums.
const PRECISION: f64 = 1e6;

/// The weights of a full exponential window have at least this sum.
const WEIGHT_SUM: f64 = 0.9999;

/// Longest window; a longer one is shortened to this length. Settings that are parsed from text never exceed this
/// limit. It bounds the memory of windows whose settings are made in code.
const LONGEST: Duration = Duration::from_secs(3600);

/// Minimum weight of the newest bucket of an exponential window. Without this minimum, long windows would be nearly
/// plain means.
const LEAST_WEIGHT: f64 = 0.2;

/// A moving window over the recent past.
#[derive(Clone, Debug)]
pub struct Window {
    /// The ring of buckets. A slot is the number of a bucket since the epoch: the time divided by `granularity`. The
    /// index of a slot is the slot modulo the number of buckets. A bucket without a sample is zero.
    buckets: Box<[f64]>,
    length: Duration,
    /// Length of a bucket in seconds, ≥ 1.
    granularity: i64,
    /// First bucket that counts in the average, as a slot number; `None` before the first write.
    first: Option<i64>,
    /// Newest bucket with a sample, as a slot number; `None` before the first write.
    last: Option<i64>,
    aggregation: Aggregation,
    /// Weight of the newest bucket, for exponential averaging.
    weight: f64,
}

impl Window {
    /// Creates an empty window of `length`, with buckets of `granularity` (whole seconds, at least one).
    pub fn new(length: Duration, granularity: Duration, aggregation: Aggregation) -> Self {
        let granularity = i64::try_from(granularity.as_secs())
            .unwrap_or(i64::MAX)
            .max(1);
        let length = length.min(LONGEST);
        let count = bucket_count(length, granularity);
        Self {
            buckets: vec![0.0; count].into_boxed_slice(),
            length,
            granularity,
            first: None,
            last: None,
            aggregation,
            weight: weight(count),
        }
    }

    /// Returns the number of buckets: the length divided by the granularity, rounded up.
    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    /// Returns the weight of the newest bucket in exponential averaging.
    pub const fn newest_weight(&self) -> f64 {
        self.weight
    }

    /// Sets the algorithm that averages the buckets.
    pub const fn set_aggregation(&mut self, aggregation: Aggregation) {
        self.aggregation = aggregation;
    }

    /// Returns whether nothing was recorded for longer than the length of the window.
    pub fn is_empty(&self, now: Timestamp) -> bool {
        self.last
            .is_none_or(|last| self.duration(self.slot(now) - last) > self.length)
    }

    /// Adds `value` to the bucket of `at`. A sample is dropped if it is older than the newest sample by the length of
    /// the window or more.
    pub fn record(&mut self, at: Timestamp, value: f64) {
        let slot = self.slot(at);
        match self.last {
            Some(last) if slot == last => {}
            Some(last) if slot < last => {
                if self.duration(last - slot) >= self.length {
                    return;
                }
                self.first = Some(self.first.map_or(slot, |first| first.min(slot)));
            }
            Some(last) if self.duration(slot - last) < self.length => {
                for skipped in last + 1..=slot {
                    self.buckets[index(skipped, self.buckets.len())] = 0.0;
                }
                self.first = self.first.or(Some(slot));
                self.last = Some(slot);
            }
            // `value` is the first sample ever, or the first one after a whole window without data.
            Some(_) | None => {
                self.buckets.fill(0.0);
                self.first = Some(slot);
                self.last = Some(slot);
            }
        }
        self.buckets[index(slot, self.buckets.len())] += value;
    }

    /// Returns the average at `now`; 0 without data (see [`Self::is_empty`]).
    pub fn average(&self, now: Timestamp) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let silent = (self.slot(now) - last).max(0);
        if self.duration(silent) >= self.length {
            return 0.0;
        }
        // `silent`, the number of slots since the newest sample, is less than the number of buckets: these slots cover
        // less time than the window.
        let silent = usize::try_from(silent).unwrap_or(usize::MAX);
        let count = self.buckets.len().saturating_sub(silent);
        match self.aggregation {
            Aggregation::Linear => self.mean(last, count),
            Aggregation::WeightedExponential => self.weighted(last, count, silent),
        }
    }

    /// Returns the plain mean of the `count` newest buckets, or of the buckets since the first write if these are
    /// fewer.
    fn mean(&self, last: i64, count: usize) -> f64 {
        let written = self.first.map_or(count, |first| {
            usize::try_from(last - first + 1).unwrap_or(count)
        });
        let sum: f64 = self.newest(last, count).sum();
        (sum / written.min(count) as f64 * PRECISION).round() / PRECISION
    }

    /// Returns the mean of the `count` newest buckets, weighted by age. As in Knative, this mean is neither normalised
    /// nor rounded.
    fn weighted(&self, last: i64, count: usize, silent: usize) -> f64 {
        let keep = 1.0 - self.weight;
        let mut weight = self.weight * keep.powi(i32::try_from(silent).unwrap_or(i32::MAX));
        let mut sum = 0.0;
        for value in self.newest(last, count) {
            sum += value * weight;
            weight *= keep;
        }
        sum
    }

    /// Returns the `count` newest buckets, newest first.
    fn newest(&self, last: i64, count: usize) -> impl Iterator<Item = f64> + '_ {
        let (older, newer) = self.buckets.split_at(index(last, self.buckets.len()) + 1);
        // The buckets form a ring, and `older` ends with the newest bucket. From this bucket back in time, the ring
        // continues backwards through `older`, then backwards through `newer`, whose buckets are even older.
        older
            .iter()
            .rev()
            .chain(newer.iter().rev())
            .copied()
            .take(count)
    }

    /// Changes the length of the window. The newest buckets are kept as far as they fit, unless the window is empty at
    /// `now`.
    pub fn resize(&mut self, now: Timestamp, length: Duration) {
        let length = length.min(LONGEST);
        if length == self.length {
            return;
        }
        let count = bucket_count(length, self.granularity);
        let mut buckets = vec![0.0; count].into_boxed_slice();
        let old = self.buckets.len();
        self.first = match self.last {
            Some(last) if !self.is_empty(now) => {
                for (slot, value) in (0..)
                    .map(|age| last - age)
                    .zip(self.newest(last, old.min(count)))
                {
                    buckets[index(slot, count)] = value;
                }
                // After a change of the length, the old window counts as completely filled: its buckets without a
                // sample count as zero.
                Some(last - i64::try_from(old - 1).unwrap_or(i64::MAX))
            }
            _ => None,
        };
        self.buckets = buckets;
        self.length = length;
        self.weight = weight(count);
    }

    /// Returns the size of the heap memory in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    fn slot(&self, at: Timestamp) -> i64 {
        // The slots are so far from the limits of `i64` that their differences cannot overflow.
        (at.second() / self.granularity).min(i64::MAX / 4)
    }

    /// Returns the time that `slots` buckets cover.
    fn duration(&self, slots: i64) -> Duration {
        Duration::from_secs(u64::try_from(slots.saturating_mul(self.granularity)).unwrap_or(0))
    }
}

fn bucket_count(length: Duration, granularity: i64) -> usize {
    let granularity = u128::from(granularity.unsigned_abs().max(1)) * 1_000_000_000;
    usize::try_from(length.as_nanos().div_ceil(granularity))
        .unwrap_or(usize::MAX)
        .max(1)
}

/// Returns the index of a slot in a ring of `count` buckets.
fn index(slot: i64, count: usize) -> usize {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    usize::try_from(slot.rem_euclid(count)).unwrap_or(0)
}

/// Returns the weight of the newest of `count` buckets, as Knative's `computeSmoothingCoeff` does.
fn weight(count: usize) -> f64 {
    (1.0 - (1.0 - WEIGHT_SUM).powf(1.0 / count as f64)).max(LEAST_WEIGHT)
}
