//! The latency histogram. It has four buckets for each power of two, so a percentile is exact to 12.5 %.
//!
//! The unit of time is 1 024 ns, so that the kernel programs shift a time instead of dividing it.

/// Number of buckets. The last bucket holds all durations longer than about two hours.
pub const BUCKETS: usize = 128;

/// Returns the bucket of a duration in nanoseconds. The code has no branches: the verifier would follow two paths for
/// each branch.
#[inline(always)]
pub fn bucket(nanoseconds: u64) -> usize {
    // The values 0 to 3 have one bucket each, as if they were the four quarters of one power of two.
    let value = nanoseconds >> 10;
    let mut ones = value | 3;
    ones |= ones >> 1;
    ones |= ones >> 2;
    ones |= ones >> 4;
    ones |= ones >> 8;
    ones |= ones >> 16;
    ones |= ones >> 32;
    // `log` is at least 1 (for values below 4) and at most 53.
    let log = count_ones(ones) - 1;
    // The value is shifted by `log - 2` bits, or by 0 bits if `log` is 1.
    let shift = log - 1 - ((log + 62) >> 6);
    let quarter = (value >> shift) & 3;
    let index = (log - 1) * 4 + quarter;
    index.min(BUCKETS as u64 - 1) as usize
}

/// Returns the number of bits that are set. BPF has no instruction for this; the algorithm is from Hacker's Delight,
/// section 5-1.
#[inline(always)]
pub fn count_ones(mut bits: u64) -> u64 {
    bits -= (bits >> 1) & 0x5555_5555_5555_5555;
    bits = (bits & 0x3333_3333_3333_3333) + ((bits >> 2) & 0x3333_3333_3333_3333);
    bits = (bits + (bits >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    bits.wrapping_mul(0x0101_0101_0101_0101) >> 56
}

/// Returns the lower bound of a bucket, in nanoseconds. Bucket `i` holds the durations `lower(i) .. lower(i + 1)`.
pub const fn lower(index: usize) -> u64 {
    if index < 4 {
        return (index as u64) << 10;
    }
    let log = index / 4 + 1;
    let quarter = (index % 4) as u64;
    ((4 + quarter) << (log - 2)) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_holds_its_own_bounds() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(lower(index)), index);
            if index + 1 < BUCKETS {
                assert_eq!(bucket(lower(index + 1) - 1), index);
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
