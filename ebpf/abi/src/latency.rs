//! The latency histogram: four buckets for each power of two, so that a percentile is within 12.5 %.
//!
//! The unit is 1 024 ns: a shift instead of a division in the kernel.

/// Number of buckets. The last one holds everything that took longer than about two hours.
pub const BUCKETS: usize = 128;

/// The bucket of a duration in nanoseconds. Without branches: the verifier would follow two paths for each.
#[inline(always)]
pub fn bucket(nanoseconds: u64) -> usize {
    // Values below 4 are treated as one power of two, whose quarters are the values.
    let value = nanoseconds >> 10;
    let mut ones = value | 3;
    ones |= ones >> 1;
    ones |= ones >> 2;
    ones |= ones >> 4;
    ones |= ones >> 8;
    ones |= ones >> 16;
    ones |= ones >> 32;
    // Between 1 (for values below 4) and 63.
    let log = count_ones(ones) - 1;
    // log - 2, but 0 for 1.
    let shift = log - 1 - ((log + 62) >> 6);
    let quarter = (value >> shift) & 3;
    let index = (log - 1) * 4 + quarter;
    index.min(BUCKETS as u64 - 1) as usize
}

/// Number of bits that are set. BPF has no instruction for it; the algorithm is from Hacker's Delight, section 5-1.
#[inline(always)]
pub fn count_ones(mut bits: u64) -> u64 {
    bits -= (bits >> 1) & 0x5555_5555_5555_5555;
    bits = (bits & 0x3333_3333_3333_3333) + ((bits >> 2) & 0x3333_3333_3333_3333);
    bits = (bits + (bits >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    bits.wrapping_mul(0x0101_0101_0101_0101) >> 56
}

/// The lower bound of a bucket, in nanoseconds. Bucket `i` holds `lower(i) .. lower(i + 1)`.
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
