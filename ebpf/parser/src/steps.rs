//! How many steps the programs take in one run. The verifier limits them, as it follows each step.

/// Steps through a packet, on HTTP/1: lines, or parts of a body. Few packets need ten.
pub const HTTP1: usize = 8;

/// Steps through a packet, on HTTP/2: frame heads, fields, parts of a payload.
pub const HTTP2: usize = 16;

/// Steps through a packet, with `bpf_loop`: one per byte, and some to spare.
pub const LONG: u32 = 1 << 17;

/// Steps through a piece of the out-of-order buffer, without `bpf_loop`.
pub const PIECE: usize = 8;

/// Steps through a piece of the out-of-order buffer in each iteration of `bpf_loop`. Each iteration searches for the piece.
pub const PIECE_IN_A_LOOP: usize = 2;

/// Steps through a typical head: its first line, four fields that matter, its end.
pub const HEAD: usize = 6;

/// Pieces that are stored in the out-of-order buffer in one run; a packet of 64 KiB takes 16 runs.
pub const PIECES: usize = 2;

/// Most tail calls in a row: the kernel's `MAX_TAIL_CALL_CNT`, include/linux/bpf.h.
pub const TAIL_CALLS: usize = 33;
