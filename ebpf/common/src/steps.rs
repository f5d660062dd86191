//! How many steps the programs take in one run: what one run can have is limited by the verifier, which looks at each.

/// Through a packet, on HTTP/1: lines, or stretches of a body. Few packets need ten.
pub const HTTP1: usize = 8;

/// Through a packet, on HTTP/2: frames' heads, fields, stretches of payload.
pub const HTTP2: usize = 16;

/// Through a packet, with `bpf_loop`: one a byte, and some to spare.
pub const LONG: u32 = 1 << 17;

/// Through a piece of what was put aside, without `bpf_loop`.
pub const PIECE: usize = 8;

/// The same in each run of a loop: with each, the piece is looked for.
pub const PIECE_IN_A_LOOP: usize = 2;

/// Through a usual head: its first line, four fields of interest, its end.
pub const HEAD: usize = 6;

/// Pieces put aside in one run; a packet of 64 KiB takes 16 runs.
pub const PIECES: usize = 2;

/// How often programs may go on in one another: the kernel's `MAX_TAIL_CALL_CNT`, include/linux/bpf.h.
pub const TAIL_CALLS: usize = 33;
