//! A generator of random numbers that always gives the same numbers for the same seed.

use std::time::Duration;

/// The generator `SplitMix64` (Steele, Lea and Flood, 2014).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Puts the items into a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            let other = self.next() % (index as u64 + 1);
            items.swap(index, other as usize);
        }
    }

    /// Returns moments within this time, in their order.
    pub(super) fn moments<const COUNT: usize>(&mut self, within: Duration) -> [Duration; COUNT] {
        let mut moments = [(); COUNT].map(|()| within * (self.next() % 1000) as u32 / 1000);
        moments.sort();
        moments
    }
}
