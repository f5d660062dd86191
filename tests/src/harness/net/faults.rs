//! Packet faults of a bad cable, drawn from a seeded generator: a failing test prints its seed, and the same seed draws the
//! same faults again.

/// How often each fault happens, in packets per thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Never arrives.
    pub lost: u32,
    /// Arrives twice.
    pub doubled: u32,
    /// Arrives after some of the packets that followed it.
    pub late: u32,
}

/// The fate of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    Lost,
    Doubled,
    /// Arrives after this many other packets.
    Late(u32),
}

/// Most packets that overtake a late one. TCP reads three as a loss, so this range covers both sides of that threshold.
const MOST_OVERTAKE: u64 = 6;

/// Draws fates with SplitMix64 (Steele, Lea, Flood 2014): eight lines, and the same result on every machine.
#[derive(Debug)]
pub(super) struct Fates {
    faults: Faults,
    state: u64,
}

impl Fates {
    pub(super) fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            state: seed,
        }
    }

    pub(super) fn next(&mut self) -> Fate {
        let drawn = (self.random() % 1_000) as u32;
        let Faults {
            lost,
            doubled,
            late,
        } = self.faults;
        if drawn < lost {
            Fate::Lost
        } else if drawn < lost + doubled {
            Fate::Doubled
        } else if drawn < lost + doubled + late {
            Fate::Late(1 + (self.random() % MOST_OVERTAKE) as u32)
        } else {
            Fate::Arrives
        }
    }

    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_come_as_often_as_asked_and_the_same_each_time() {
        let faults = Faults {
            lost: 50,
            doubled: 20,
            late: 100,
        };
        let draw = || {
            let mut fates = Fates::new(faults, 7);
            (0..100_000).map(|_| fates.next()).collect::<Vec<_>>()
        };
        let drawn = draw();
        assert_eq!(drawn, draw());
        let share = |which: fn(&Fate) -> bool| {
            drawn.iter().filter(|fate| which(fate)).count() as f64 / drawn.len() as f64
        };
        assert!((share(|fate| *fate == Fate::Lost) - 0.05).abs() < 0.005);
        assert!((share(|fate| *fate == Fate::Doubled) - 0.02).abs() < 0.005);
        assert!((share(|fate| matches!(fate, Fate::Late(_))) - 0.1).abs() < 0.005);
    }
}
