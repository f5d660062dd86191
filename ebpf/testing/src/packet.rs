//! A packet for tests, which is in memory, and the paths that the pod excludes in all tests.

use ebb_abi::{Exclusion, HUFFMAN, MAX_EXCLUDED_PATH};
use ebb_parser::{
    packet::Packet,
    window::{CARRY, LOAD, Window},
};

/// Number of bytes before the payload: an IPv4 header, and a TCP header with options.
pub(crate) const HEADERS: u32 = 20 + 32;

/// The pod's slot.
pub(crate) const SLOT: u32 = 7;

/// The paths that the pod excludes. The last one has the maximum length.
pub const EXCLUDED: [&str; 3] = [
    "/metrics",
    "/health/live",
    "/a-path-of-forty-bytes-which-is-the-most",
];

/// A packet whose payload is a slice.
pub(crate) struct Slice<'a>(pub(crate) &'a [u8]);

impl Slice<'_> {
    /// Copies bytes into a window, from the window's byte `at` on.
    pub(crate) fn copy(bytes: &[u8], window: &mut Window, at: u32) {
        for (to, byte) in (at as usize..).zip(bytes) {
            let (word, shift) = (&mut window.words[to / 8], to % 8 * 8);
            *word = *word & !(0xff << shift) | u64::from(*byte) << shift;
        }
    }
}

impl Packet for Slice<'_> {
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        assert!(
            at <= CARRY && (1..=LOAD).contains(&length),
            "the kernel would reject a copy of {length} bytes to {at}"
        );
        let from = (offset - HEADERS) as usize;
        let bytes = &self.0[from..from + length as usize];
        Self::copy(bytes, window, at);
        true
    }

    fn excludes(&self, path: &Exclusion) -> bool {
        assert_eq!(path.slot & !HUFFMAN, u64::from(SLOT), "another pod's rules");
        let found: Vec<u8> = path.path.into_iter().flat_map(u64::to_le_bytes).collect();
        EXCLUDED.iter().any(|excluded| {
            let key = key(excluded, path.slot & HUFFMAN != 0);
            key.is_some_and(|key| key == found)
        })
    }

    fn has_exclusions(&self) -> bool {
        true
    }
}

/// Returns a path as user space writes it to the map: zero-filled. Returns `None` if the path is too long.
fn key(path: &str, huffman: bool) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    if huffman {
        httlib_huffman::encode(path.as_bytes(), &mut key).expect("bytes have codes");
    } else {
        key.extend_from_slice(path.as_bytes());
    }
    if key.len() > MAX_EXCLUDED_PATH {
        return None;
    }
    key.resize(MAX_EXCLUDED_PATH, 0);
    Some(key)
}
