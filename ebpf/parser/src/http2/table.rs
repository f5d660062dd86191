//! What is known of the table that a sender of header blocks keeps (RFC 7541, section 2.3.2).
//!
//! Counting the insertions is enough to follow the table: a sender never names an entry that it has evicted, so sizes need not be
//! known. For each of the newest entries one byte is kept, which says what the entry means. Bias: an older entry, which can exist
//! only in a table larger than the usual 4 096 bytes, means nothing here.

/// Number of entries of the static table (RFC 7541, appendix A). The sender's own entries follow.
pub(super) const STATIC: u32 = 61;

/// Entries that are kept, a power of two. An entry takes at least 32 bytes (RFC 7541, 4.1) of the 4 096 bytes that a table has
/// unless its receiver allows more (RFC 9113, 6.5.2).
const ENTRIES: usize = 128;

/// The newest entries of a sender's table.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Number of insertions (wrapping), except those while `living` was 0.
    inserted: u32,
    /// Number of insertions until the last entry with a meaning is out of reach; 0: no entry has a meaning.
    living: u32,
    /// Meaning of each entry, by `inserted`.
    meanings: [u8; ENTRIES],
}

impl Table {
    /// A table without entries.
    pub const EMPTY: Self = Self {
        inserted: 0,
        living: 0,
        meanings: [0; ENTRIES],
    };

    /// Whether any entry may have a meaning. If none has, insertions of fields without a meaning need not be recorded.
    #[inline(always)]
    pub(super) fn knows_any(&self) -> bool {
        self.living != 0
    }

    /// The meaning of the entry with this index; 0: none. The index is above [`STATIC`].
    #[inline(always)]
    pub(super) fn recall(&self, index: u32) -> u8 {
        let age = index.wrapping_sub(STATIC + 1);
        // All bits if the entry is kept, else none. With a branch, the verifier would follow two paths.
        let near = (u64::from(age).wrapping_sub(ENTRIES as u64) >> 63).wrapping_neg() as u8;
        self.meanings[self.inserted.wrapping_sub(age) as usize & (ENTRIES - 1)] & near
    }

    /// Inserts a field with this meaning; 0: none.
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
