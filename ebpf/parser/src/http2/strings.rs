//! The strings of header fields: recognises the names that Ebb needs, and the meanings of their values.
//!
//! Bias: a string that continues in another frame is not examined. A sender splits a header block only where it fills a
//! frame, which takes at least 16 KiB (RFC 9113, 4.2). If a probe's field is that far into a block, the probe is
//! counted as a request. If a status is that far into a block, the response is counted without a status. A name is also
//! not recognised if the field refers to the name by the index of an inserted entry whose value has no meaning for Ebb.
//! Senders do not need this: they take the names that Ebb needs from the static table, or have inserted them with a
//! value that has a meaning.

use ebb_abi::{HUFFMAN, MAX_EXCLUDED_PATH};

use super::{
    Http2, Way,
    words::{CODED, Sent, Word},
};
use crate::{
    direction::Side,
    packet::Packet,
    window::{CARRY, Window, equal_bytes, text, widen},
};

/// Maximum number of bytes of a string that are examined: the longest path that can be excluded, and the byte after it.
pub(super) const LOOKED_AT: u32 = MAX_EXCLUDED_PATH as u32 + 1;
const _: () = assert!(LOOKED_AT <= CARRY);

/// Names of fields. For a field that excludes a request, the name is also the meaning of the field.
pub(super) mod name {
    /// A field name that Ebb does not need.
    pub(crate) const OTHER: u8 = 0;
    /// `:path`.
    pub(crate) const PATH: u8 = 1;
    /// `user-agent`.
    pub(crate) const USER_AGENT: u8 = 2;
    /// A name that only probes have.
    pub(crate) const PROBE: u8 = 3;
    /// `:status`. The value 1 has no meaning: it only must differ from [`OTHER`].
    pub(crate) const STATUS: u8 = 1;
}

/// Indexes in the static table of the names that matter (RFC 7541, appendix A).
mod place {
    /// `:path: /`.
    pub(super) const PATH: u32 = 4;
    /// `:path: /index.html`.
    pub(super) const INDEX: u32 = 5;
    /// The first of the `:status` entries, whose classes are in [`super::STATUSES`].
    pub(super) const STATUS: u32 = 8;
    /// `user-agent`.
    pub(super) const USER_AGENT: u32 = 58;
}

/// The status classes of the `:status` entries of the static table, one nibble each: 200, 204, 206, 304, 400, 404, 500.
const STATUSES: u32 = 0x0544_3222;

/// Number of `:status` entries of the static table.
const STATUS_ENTRIES: u32 = 7;

/// Returns the name of an entry of the static table.
#[inline(always)]
pub(super) fn static_name(side: Side, index: u32) -> u8 {
    match side {
        Side::Requests if index == place::PATH || index == place::INDEX => name::PATH,
        Side::Requests if index == place::USER_AGENT => name::USER_AGENT,
        Side::Responses if index.wrapping_sub(place::STATUS) < STATUS_ENTRIES => name::STATUS,
        _ => name::OTHER,
    }
}

/// Returns the meaning of an entry of the static table: a status class, or the reason for which the request is
/// excluded.
#[inline(always)]
pub(super) fn static_meaning<P: Packet>(
    side: Side,
    http2: &mut Http2,
    packet: &P,
    index: u32,
) -> u8 {
    match side {
        Side::Requests => {
            if (index != place::PATH && index != place::INDEX) || !packet.has_exclusions() {
                return name::OTHER;
            }
            // `longer` is a mask: all its bits are set for the second path, `/index.html`, and none for the first path,
            // `/`.
            let longer = u64::from(index & 1).wrapping_neg();
            let [first, second, rest @ ..] = &mut http2.exclusion.path;
            *first = text(b"/\0\0\0\0\0\0\0") | (text(b"/index.h") & longer);
            *second = text(b"tml\0\0\0\0\0") & longer;
            for word in rest {
                // Ordinary writes would become a call of a function, and Linux 6.1 allows less stack below a call.
                // SAFETY: a reference is valid for writes.
                unsafe { core::ptr::from_mut(word).write_volatile(0) };
            }
            excluded(http2, packet, 0)
        }
        Side::Responses => {
            let entry = index.wrapping_sub(place::STATUS);
            if entry < STATUS_ENTRIES {
                (STATUSES >> (entry * 4)) as u8 & 0xf
            } else {
                0
            }
        }
    }
}

/// Returns whether Ebb needs the current string: a name, or the value of a name that Ebb knows. After the first status,
/// Ebb needs no string of a response.
#[inline(always)]
pub(super) fn matters(side: Side, way: &Way) -> bool {
    let block = &way.block;
    (block.in_name != 0 || block.name != name::OTHER)
        && (side == Side::Requests || block.meaning == 0)
}

/// Examines the current string. The window holds the bytes to be examined, and the whole string is in this frame.
#[inline(always)]
pub(super) fn look<P: Packet>(side: Side, http2: &mut Http2, packet: &P) {
    let way = http2.way(side);
    let window = &way.direction.window;
    let start = widen(&window.start);
    let block = &mut way.block;
    let sent = Sent {
        bytes: [window.eight(start), window.eight(start + 8)],
        length: u64::from(block.left) | if block.huffman != 0 { CODED } else { 0 },
    };
    if block.in_name != 0 {
        block.name = name_of(side, sent);
        return;
    }
    match (side, block.name) {
        (Side::Responses, _) => block.field_meaning = class(sent),
        (Side::Requests, name::USER_AGENT) => {
            if is_probe(sent) {
                block.field_meaning = name::USER_AGENT;
            }
        }
        (Side::Requests, name::PROBE) => block.field_meaning = name::PROBE,
        (Side::Requests, _) => {
            let (length, coded) = (block.left, block.huffman != 0);
            let window = &http2.requests.direction.window;
            let path = &mut http2.exclusion.path;
            if packet.has_exclusions() && cut_path(window, start, length, coded, path) {
                let code = if coded { HUFFMAN } else { 0 };
                http2.requests.block.field_meaning = excluded(http2, packet, code);
            }
        }
    }
}

/// Returns the name that a literal string contains: one of [`name`].
#[inline(always)]
fn name_of(side: Side, sent: Sent) -> u8 {
    /// Returns `name` if the sent string is `word`, in plain text or in the Huffman code; otherwise returns 0.
    macro_rules! is {
        ($sent:expr, $word:literal, $name:expr) => {{
            const PLAIN: Word = Word::plain($word);
            const CODED: Word = Word::coded($word);
            (u8::from(PLAIN.is($sent)) | u8::from(CODED.is($sent))) * $name
        }};
    }
    match side {
        Side::Requests => {
            is!(sent, b":path", name::PATH)
                | is!(sent, b"user-agent", name::USER_AGENT)
                | is!(sent, b"k-network-probe", name::PROBE)
                | is!(sent, b"k-kubelet-probe", name::PROBE)
        }
        Side::Responses => is!(sent, b":status", name::STATUS),
    }
}

/// Returns whether a `user-agent` is kubelet's: it begins with `kube-probe/`, which is exactly 8 bytes in the Huffman
/// code.
#[inline(always)]
fn is_probe(sent: Sent) -> bool {
    const PLAIN: Word = Word::plain(b"kube-probe/");
    const CODED: Word = Word::coded(b"kube-probe/");
    PLAIN.begins(sent) | CODED.begins(sent)
}

/// Returns the class of a `:status`: the first of its three digits. Returns 0 if the value is not a status.
#[inline(always)]
fn class(sent: Sent) -> u8 {
    let first = sent.bytes[0] as u8;
    // In the Huffman code, the digits 1 and 2 have five bits, the digits 3 to 5 have six bits, and any three digits
    // have 15 to 18 bits.
    let digit = match sent.length {
        3 => first.wrapping_sub(b'0'),
        TWO_BYTES | THREE_BYTES if first >> 3 <= 2 => first >> 3,
        TWO_BYTES | THREE_BYTES => (first >> 2).wrapping_sub(0x19 - 3),
        _ => 0,
    };
    if digit.wrapping_sub(1) < 5 { digit } else { 0 }
}

/// Length of a string whose Huffman code has two bytes.
const TWO_BYTES: u64 = CODED | 2;
/// Length of a string whose Huffman code has three bytes.
const THREE_BYTES: u64 = CODED | 3;

/// Returns the meaning of a `:path` field whose path has been copied to `http2.exclusion`: `name::PATH` if the path is
/// excluded, otherwise 0. `code` is [`HUFFMAN`] if the path is in the Huffman code, otherwise 0.
#[inline(always)]
fn excluded<P: Packet>(http2: &mut Http2, packet: &P, code: u64) -> u8 {
    http2.exclusion.slot = u64::from(http2.slot) | code;
    if packet.excludes(&http2.exclusion) {
        name::PATH
    } else {
        0
    }
}

/// Copies the path from the value of a `:path` field to `path`, and fills the rest of `path` with zeros. The query
/// (from `?` on) is not copied. Exception: in a value in the Huffman code (`coded`), the query is not recognised and
/// counts as part of the path. Returns `false` if the path is longer than [`MAX_EXCLUDED_PATH`].
#[inline(always)]
fn cut_path(
    window: &Window,
    start: u32,
    length: u32,
    coded: bool,
    path: &mut [u64; MAX_EXCLUDED_PATH / 8],
) -> bool {
    let mut seen = 0u64;
    for (index, word) in path.iter_mut().enumerate() {
        let bytes = window.eight(start + index as u32 * 8);
        let valid = length.saturating_sub(index as u32 * 8);
        let inside = if valid >= 8 {
            u64::MAX
        } else {
            (1u64 << ((valid * 8) & 63)) - 1
        };
        let ends = if coded { 0 } else { equal_bytes(bytes, b'?') };
        let before = ((ends & ends.wrapping_neg()) >> 7).wrapping_sub(1);
        let open = ((seen | seen.wrapping_neg()) >> 63).wrapping_sub(1);
        *word = bytes & inside & before & open;
        seen |= ends;
    }
    let behind = window.byte(start + MAX_EXCLUDED_PATH as u32);
    length <= MAX_EXCLUDED_PATH as u32 || (!coded && (seen != 0 || behind == b'?'))
}
