//! What is known of the table that a sender of header blocks keeps (RFC 7541, section 2.3.2).
//!
//! To follow it, it is enough to count what is put in: a sender never names what it has evicted, so nothing
//! need be known of sizes. Of each of the newest entries one byte is kept, which says what it means; an older
//! one, which only a table beyond the usual 4 096 bytes can still have, means nothing here.

/// Entries of the static table (RFC 7541, appendix A); the sender's own follow.
pub(super) const STATIC: u32 = 61;

/// Entries that are remembered, a power of two. An entry takes up 32 bytes at least (RFC 7541, 4.1) of the
/// 4 096 that a table has unless its receiver allows more (RFC 9113, 6.5.2).
const ENTRIES: usize = 128;

/// The newest entries of a sender's table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Fields that have been put in (wrapping), those left aside that came while `living` was 0.
    inserted: u32,
    /// Fields that may still be put in before the last entry that means something is out of reach; 0: all of them
    /// mean nothing.
    living: u32,
    /// What each entry means, by `inserted`.
    meanings: [u8; ENTRIES],
}

impl Table {
    /// Nothing has been put in.
    pub const EMPTY: Self = Self {
        inserted: 0,
        living: 0,
        meanings: [0; ENTRIES],
    };

    /// Whether any entry may mean something. If not, there is no need to say what is put in.
    #[inline(always)]
    pub(super) fn knows_any(&self) -> bool {
        self.living != 0
    }

    /// What the entry with this index means, 0 for nothing. The index is above [`STATIC`].
    #[inline(always)]
    pub(super) fn recall(&self, index: u32) -> u8 {
        let age = index.wrapping_sub(STATIC + 1);
        // All bits of it if the entry is remembered, else none. A branch would be two ways for the verifier.
        let near = (u64::from(age).wrapping_sub(ENTRIES as u64) >> 63).wrapping_neg() as u8;
        self.meanings[self.inserted.wrapping_sub(age) as usize & (ENTRIES - 1)] & near
    }

    /// A field that means this, 0 for nothing, is put in.
    #[inline(always)]
    pub(super) fn insert(&mut self, meaning: u8) {
        if meaning != 0 {
            self.living = ENTRIES as u32;
        } else if self.living != 0 {
            self.living -= 1;
        } else {
            return;
        }
        self.inserted = self.inserted.wrapping_add(1);
        self.meanings[self.inserted as usize & (ENTRIES - 1)] = meaning;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_age_with_each_insertion() {
        let mut table = Table::EMPTY;
        table.insert(0);
        table.insert(5);
        table.insert(0);
        table.insert(3);
        let recalled = [1, 2, 3, 4, 5].map(|age| table.recall(STATIC + age));
        assert_eq!(recalled, [3, 0, 5, 0, 0]);
    }

    #[test]
    fn all_that_a_usual_table_can_hold_is_remembered_and_nothing_else() {
        let mut table = Table::EMPTY;
        table.insert(4);
        for _ in 1..ENTRIES {
            table.insert(0);
        }
        assert_eq!(table.recall(STATIC + ENTRIES as u32), 4);
        assert!(table.knows_any());
        table.insert(0);
        assert!(!table.knows_any());
        for age in 1..=1000 {
            assert_eq!(table.recall(STATIC + age), 0);
        }
    }

    #[test]
    fn what_is_put_in_unsaid_is_not_confused_with_what_follows() {
        let mut table = Table::EMPTY;
        table.insert(1);
        for _ in 0..3 * ENTRIES {
            table.insert(0);
        }
        table.insert(2);
        assert_eq!(table.recall(STATIC + 1), 2);
        assert_eq!(table.recall(STATIC + 2), 0);
        assert_eq!(table.recall(STATIC + ENTRIES as u32), 0);
    }
}
