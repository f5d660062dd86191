//! One connection, fed as `ebpf/src/traffic.rs` and `ebpf/src/sockets.rs` feed it.

use ebb_common::{
    abi::{Exclusion, MAX_EXCLUDED_PATH},
    conn::Conn,
    direction::{Direction, Segment, flag},
    http1::{Side, arrive, last_byte, leave, step},
    packet::Packet,
    window::{CARRY, LOAD, Window},
};

use crate::ledger::{Figures, Ledger};

/// Steps of one run, as in `traffic.rs`.
const STEPS: usize = 20;

/// Runs that a packet can have: the first, and the kernel's MAX_TAIL_CALL_CNT.
const RUNS: usize = 1 + 33;

/// Steps beyond one a byte that a segment may take: a first look at what the one before left over, and
/// a last one that finds nothing more.
const SPARE_STEPS: usize = 2;

/// What lies before the payload: an IPv4 and a TCP header with options.
const HEADERS: u32 = 20 + 32;

const SLOT: u32 = 7;

/// The paths that the pod of all tests excludes; the last is as long as can be.
pub(crate) const EXCLUDED: [&str; 3] = [
    "/metrics",
    "/health/live",
    "/a-path-of-forty-bytes-which-is-the-most",
];

/// A packet over a slice, and the pod's excluded paths.
struct Slice<'a>(&'a [u8]);

impl Packet for Slice<'_> {
    fn load(&self, offset: u32, window: &mut Window, at: u32, length: u32) -> bool {
        assert!(
            at <= CARRY && (1..=LOAD).contains(&length),
            "{length} bytes to {at}: refused in the kernel"
        );
        let from = (offset - HEADERS) as usize;
        let bytes = &self.0[from..from + length as usize];
        for (to, byte) in (at as usize..).zip(bytes) {
            let (word, shift) = (&mut window.words[to / 8], to % 8 * 8);
            *word = *word & !(0xff << shift) | u64::from(*byte) << shift;
        }
        true
    }

    fn excludes(&self, path: &Exclusion) -> bool {
        assert_eq!(path.slot, u64::from(SLOT));
        EXCLUDED.iter().any(|excluded| {
            let mut padded = [0; MAX_EXCLUDED_PATH];
            padded[..excluded.len()].copy_from_slice(excluded.as_bytes());
            padded
                .chunks(8)
                .zip(path.path)
                .all(|(bytes, word)| bytes == word.to_le_bytes())
        })
    }

    fn has_exclusions(&self) -> bool {
        true
    }
}

/// A connection and its ledger.
pub(crate) struct Wire {
    pub(crate) conn: Conn,
    pub(crate) ledger: Ledger,
}

impl Wire {
    /// As `sockets::accepted`.
    pub(crate) fn open(first_in: u32, first_out: u32) -> Self {
        let mut conn = Conn::ZERO;
        conn.open_at(SLOT, first_in, first_out);
        Self {
            conn,
            ledger: Ledger::new(),
        }
    }

    pub(crate) fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Requests => &mut self.conn.requests,
            Side::Responses => &mut self.conn.responses,
        }
    }

    pub(crate) fn figures(&self) -> &Figures {
        self.ledger.figures()
    }

    /// As `traffic::run`, tail calls included.
    pub(crate) fn deliver(&mut self, side: Side, first: u32, payload: &[u8], flags: u32) {
        let header = Segment {
            first,
            length: payload.len() as u32,
            offset: HEADERS,
            flags,
        };
        if header.length == 0 && flags & Segment::FIN == 0 {
            return;
        }
        let mut segment = self.direction(side).arrived(header);
        if arrive(side, &mut self.conn, segment) {
            let mut steps = 0;
            for run in 1..=RUNS {
                let mut more = true;
                for _ in 0..STEPS {
                    steps += 1;
                    more = step(
                        side,
                        &mut self.conn,
                        &Slice(payload),
                        &mut self.ledger,
                        segment,
                    );
                    if !more {
                        break;
                    }
                }
                if !more {
                    break;
                }
                self.direction(side).flags |= flag::UNFINISHED;
                if run < RUNS {
                    segment = self.direction(side).arrived(header);
                    assert!(arrive(side, &mut self.conn, segment));
                } else {
                    self.direction(side).flags |= flag::UNREADABLE;
                }
            }
            assert!(
                steps <= payload.len() + SPARE_STEPS,
                "{steps} steps for {} bytes",
                payload.len()
            );
            leave(side, &mut self.conn, &mut self.ledger);
        }
        if side == Side::Responses && flags & Segment::FIN != 0 {
            last_byte(&mut self.conn, &mut self.ledger, true);
        }
    }

    /// As `sockets::closed`: whatever came before, nothing is left in flight.
    pub(crate) fn close(&mut self) {
        last_byte(&mut self.conn, &mut self.ledger, false);
        let figures = self.figures();
        assert_eq!(
            (figures.in_flight(), figures.upgraded, figures.opaque),
            (0, 0, 0),
            "after the close"
        );
        let integral = self.ledger.integral();
        self.ledger.pass(1_000_000);
        assert_eq!(
            self.ledger.integral(),
            integral,
            "nothing in flight, yet the integral grows"
        );
    }
}
