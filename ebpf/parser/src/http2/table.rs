//! The known part of the table that a sender of header blocks keeps (RFC 7541, section 2.3.2).
//!
//! A count of the insertions is enough to follow the table: a sender never names an entry that it has evicted, so the
//! sizes of entries do not matter. For each of the newest entries, one byte is kept: the meaning that the entry has for
//! Ebb (0: none). Bias: an older entry is treated as an entry without a meaning. It can exist only in a table that is
//! larger than the usual 4096 bytes.

/// Number of entries of the static table (RFC 7541, appendix A). The indexes of the sender's own entries follow.
pub(super) const STATIC: u32 = 61;

/// Number of entries that are kept, a power of two. The usual table of 4096 bytes has room for 128 entries, because an
/// entry takes at least 32 bytes (RFC 7541, 4.1). A receiver may allow a larger table (RFC 9113, 6.5.2).
const ENTRIES: usize = 128;

/// The newest entries of a sender's table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Number of insertions (wrapping). While `living` is 0, insertions of entries without a meaning are not counted.
    inserted: u32,
    /// Number of further insertions until no kept entry has a meaning; 0: no kept entry has a meaning now.
    living: u32,
    /// Meaning of each kept entry. The index of an entry is the value that `inserted` had after the entry's insertion,
    /// modulo `ENTRIES`.
    meanings: [u8; ENTRIES],
}

impl Table {
    /// A table without entries.
    pub const EMPTY: Self = Self {
        inserted: 0,
        living: 0,
        meanings: [0; ENTRIES],
    };

    /// Returns whether any kept entry may have a meaning. If none has one, insertions of entries without a meaning need
    /// not be recorded.
    #[inline(always)]
    pub(super) fn knows_any(&self) -> bool {
        self.living != 0
    }

    /// Returns the meaning of the entry with this index; 0: none. The index must be above [`STATIC`].
    #[inline(always)]
    pub(super) fn recall(&self, index: u32) -> u8 {
        let age = index.wrapping_sub(STATIC + 1);
        // `near` is a mask: all its bits are set if the entry is kept; otherwise none. With a branch, the verifier
        // would follow two paths.
        let near = (u64::from(age).wrapping_sub(ENTRIES as u64) >> 63).wrapping_neg() as u8;
        self.meanings[self.inserted.wrapping_sub(age) as usize & (ENTRIES - 1)] & near
    }

    /// Inserts an entry with this meaning (0: none).
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
