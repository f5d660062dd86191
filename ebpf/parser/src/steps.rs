//! Maximum numbers of steps that the programs take in one run. The verifier limits these numbers, because it follows
//! each step.

/// Maximum number of steps through an HTTP/1 packet. One step reads a line, or skips a part of a body. Few packets need
/// more.
pub const HTTP1: usize = 6;

/// Maximum number of steps through an HTTP/2 packet. One step reads the head of a frame or a field, or skips a part of
/// a payload.
pub const HTTP2: usize = 16;

/// Maximum number of steps through an HTTP/2 packet in a program with the code for overflow tables, without `bpf_loop`.
pub const HTTP2_OVERFLOW: usize = 4;

/// Maximum number of steps through a packet on a kernel with `bpf_loop`: one for each byte, and some to spare.
pub const LONG: u32 = 1 << 17;

/// Maximum number of steps through a piece of the out-of-order buffer on a kernel without `bpf_loop`.
pub const PIECE: usize = 8;

/// Maximum number of steps through a piece of the out-of-order buffer in each iteration of `bpf_loop`. Each iteration
/// first searches for the piece. More steps would make three programs slower to load.
pub const PIECE_IN_A_LOOP: usize = 1;

/// Number of steps through a typical head: its first line, four fields that matter, and its end.
pub const HEAD: usize = 6;

/// Maximum number of pieces that one run of a program stores in the out-of-order buffer. A packet of 64 KiB has 32
/// pieces, and takes 16 runs.
pub const PIECES: usize = 2;

/// Maximum number of tail calls in a row: the kernel's `MAX_TAIL_CALL_CNT` in include/linux/bpf.h.
pub const TAIL_CALLS: usize = 33;
