//! A piece of the out-of-order buffer: up to `PIECE` bytes of a stream, in a map.

use core::arch::asm;

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_skb_load_bytes, programs::SkBuffContext};
use ebb_abi::{Exclusion, PodRules};
use ebb_parser::{
    out_of_order::{OutOfOrderBuffer, PIECE, PIECE_WORDS, Piece, PieceKey},
    packet::Packet,
    window::{CARRY, LOAD, Window},
};

use crate::{maps::EXCLUSIONS, meter::masked};

/// Returns the map key of a piece of a connection's data. `first` is the sequence number of the piece's first byte.
#[inline(always)]
pub fn key(buffer: &OutOfOrderBuffer, first: u32) -> PieceKey {
    PieceKey {
        socket: buffer.socket,
        first: u64::from(first),
    }
}

/// Copies 1 to [`PIECE`] bytes of a packet to a piece of the out-of-order buffer. Returns `false` if the kernel cannot
/// copy them.
#[inline(always)]
pub fn load(context: &SkBuffContext, offset: u32, piece: *mut Piece, length: u32) -> bool {
    let less = masked::<{ PIECE - 1 }>(length.wrapping_sub(1) as usize) as u32;
    // SAFETY: at most `PIECE` bytes are copied into a piece.
    unsafe { bpf_skb_load_bytes(context.as_ptr().cast(), offset, piece.cast(), less + 1) == 0 }
}

/// A piece of the out-of-order buffer, in the form of a packet for the parsers.
pub(super) struct PiecePacket<'a> {
    pub(super) piece: *const Piece,
    pub(super) rules: &'a PodRules,
}

impl Packet for PiecePacket<'_> {
    #[inline(always)]
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        if at > CARRY || length > LOAD {
            return false;
        }
        let at = masked::<63>(at as usize);
        let offset = masked::<{ PIECE - 1 }>(offset as usize);
        const { assert!(PIECE + LOAD as usize <= PIECE_WORDS * 8) };
        // SAFETY: the masks keep both pointers within their arrays. Bytes after the piece's end are copied, but not
        // read.
        unsafe {
            let from = self.piece.cast::<u8>().add(offset);
            let to = (&raw mut window.words).cast::<u8>().add(at);
            for word in 0..(LOAD / 8) as usize {
                copy(from.add(word * 8), to.add(word * 8));
            }
        }
        true
    }

    #[inline(always)]
    fn excludes(&self, path: &Exclusion) -> bool {
        EXCLUSIONS.get_ptr(path).is_some()
    }

    #[inline(always)]
    fn has_exclusions(&self) -> bool {
        self.rules.has_exclusions != 0
    }
}

/// Copies eight bytes with two instructions, a load and a store.
///
/// # Safety
/// Eight bytes must be readable at `from`, and writable at `to`.
#[inline(always)]
unsafe fn copy(from: *const u8, to: *mut u8) {
    // SAFETY: the caller guarantees that both addresses are valid.
    unsafe {
        asm!(
            "{0} = *(u64 *)({1} + 0)",
            "*(u64 *)({2} + 0) = {0}",
            out(reg) _, in(reg) from, in(reg) to, options(nostack)
        );
    }
}
