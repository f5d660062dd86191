//! One connection, with packets handled as in `ebpf/programs/src/{traffic,http2,loops,sockets}.rs`, including the tail
//! calls.

use ebb_abi::event;
use ebb_parser::{
    conn::{Conn, state},
    direction::{Direction, Segment, Side, flag},
    http1::{self, Step},
    http2::{self, Http2},
    steps,
};

use crate::{
    ledger::{Figures, Ledger},
    out_of_order::OutOfOrderModel,
    packet::{HEADERS, SLOT, Slice},
};

/// Number of steps that a segment may take in addition to one per byte. The first extra step reads bytes that remain
/// from the segment before, and the last extra step finds no more bytes. Such steps are needed again if the connection
/// changes to HTTP/2, and for the out-of-order buffer.
const SPARE_STEPS: usize = 8;

/// The abilities of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Linux 5.17 and later: with `bpf_loop`, a packet can have as many steps as it needs.
    New,
    /// Older kernels, without `bpf_loop`: the number of tail calls limits the number of steps for a packet.
    Old,
}

/// A connection and its counters.
pub struct Wire {
    /// HTTP/1 state of the connection.
    pub conn: Box<Conn>,
    /// HTTP/2 state of the connection, if there is one.
    pub http2: Option<Box<Http2>>,
    /// Counters of the connection.
    pub ledger: Ledger,
    /// Out-of-order buffer of the connection, if there is one.
    pub(crate) out_of_order: Option<OutOfOrderModel>,
    pub(crate) kernel: Kernel,
    /// Number of steps that the connection may still take (see [`SPARE_STEPS`]).
    budget: usize,
}

/// The current packet.
#[derive(Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) side: Side,
    pub(crate) segment: Segment,
    pub(crate) payload: &'a [u8],
    /// True if a program of `loops.rs` handles the packet.
    long: bool,
    /// True if the program has the code for unusual messages.
    unusual: bool,
    /// Number of tail calls that have been made for this packet.
    calls: usize,
    /// True if the packet holds the ingress serialisation (`HOLDS_SERIALISATION` in `serialisation.rs`).
    holds_serialisation: bool,
    pub(crate) stored_bytes: u32,
}

impl Arrival<'_> {
    /// Returns the packet as the next program gets it, or `None` if the kernel allows no more tail calls.
    pub(crate) fn go_on(self) -> Option<Self> {
        (self.calls < steps::TAIL_CALLS).then_some(Self {
            calls: self.calls + 1,
            long: false,
            unusual: false,
            ..self
        })
    }

    /// Returns the packet as the program for the rest of an HTTP/1 packet gets it.
    fn go_on_unusual(self, kernel: Kernel) -> Option<Self> {
        self.go_on().map(|next| Self {
            long: kernel == Kernel::New,
            unusual: true,
            ..next
        })
    }

    fn steps(self, usual: usize) -> usize {
        if self.long {
            steps::LONG as usize
        } else {
            usual
        }
    }
}

impl Wire {
    /// Opens a connection like `sockets::accepted`, on a kernel with `bpf_loop`. `first_in` and `first_out` are the
    /// sequence numbers of the next bytes from the client and to the client.
    pub fn open(first_in: u32, first_out: u32) -> Self {
        Self::open_on(Kernel::New, first_in, first_out)
    }

    /// Opens a connection like `sockets::accepted`, on a kernel with the abilities `kernel`.
    pub fn open_on(kernel: Kernel, first_in: u32, first_out: u32) -> Self {
        let mut conn = Box::new(Conn::ZERO);
        conn.open_at(SLOT, first_in, first_out);
        Self {
            conn,
            http2: None,
            ledger: Ledger::new(),
            out_of_order: None,
            kernel,
            budget: 0,
        }
    }

    /// Returns the HTTP/1 state of one direction.
    pub fn direction(&mut self, side: Side) -> &mut Direction {
        match side {
            Side::Requests => &mut self.conn.requests,
            Side::Responses => &mut self.conn.responses,
        }
    }

    /// Returns the sequence number of the next byte that is expected.
    pub fn next(&mut self, side: Side) -> u32 {
        if let Some(http2) = &mut self.http2 {
            let direction = &http2.way(side).direction;
            if direction.flags != 0 {
                return direction.next;
            }
        }
        self.direction(side).next
    }

    /// Returns the counters.
    pub fn figures(&self) -> &Figures {
        self.ledger.figures()
    }

    /// Delivers a packet with these TCP flags.
    pub fn deliver(&mut self, side: Side, first: u32, payload: &[u8], flags: u32) {
        let arrival = self.arrival(side, first, payload, flags);
        self.traffic(arrival);
    }

    /// Delivers two packets of the client at the same time, as if on two CPUs. The second packet arrives after the
    /// first CPU has entered ingress serialisation, and before that CPU has read the first packet.
    pub fn deliver_at_once(&mut self, one: (u32, &[u8]), other: (u32, &[u8])) {
        let mut one = self.arrival(Side::Requests, one.0, one.1, 0);
        let other = self.arrival(Side::Requests, other.0, other.1, 0);
        one.holds_serialisation = self.conn.serialisation.enter(&self.ledger);
        assert!(one.holds_serialisation, "somebody has not left");
        self.traffic(other);
        self.traffic(one);
    }

    fn arrival<'a>(
        &mut self,
        side: Side,
        first: u32,
        payload: &'a [u8],
        flags: u32,
    ) -> Arrival<'a> {
        let segment = Segment {
            first,
            length: payload.len() as u32,
            offset: HEADERS,
            flags,
        };
        self.budget += payload.len() + SPARE_STEPS;
        Arrival {
            side,
            segment,
            payload,
            long: false,
            unusual: false,
            calls: 0,
            holds_serialisation: false,
            stored_bytes: 0,
        }
    }

    /// Works like `serialisation::acquire`.
    fn acquire(&mut self, arrival: &mut Arrival<'_>) -> bool {
        if arrival.holds_serialisation {
            return true;
        }
        arrival.holds_serialisation = self.conn.serialisation.enter(&self.ledger);
        if !arrival.holds_serialisation {
            match arrival.go_on() {
                Some(next) => self.store_packet(next),
                None => {
                    self.conn.lose(&mut self.ledger, event::OUT_OF_ORDER_FULL);
                    self.release(*arrival);
                }
            }
        }
        arrival.holds_serialisation
    }

    /// Works like `serialisation::acquire_to_drain`.
    pub(crate) fn acquire_to_drain(&mut self, arrival: &mut Arrival<'_>) -> bool {
        let has = arrival.holds_serialisation || self.conn.serialisation.enter(&self.ledger);
        if has {
            arrival.holds_serialisation = true;
            self.conn.serialisation.begin_reading(&self.ledger);
        } else {
            self.release(*arrival);
        }
        has
    }

    /// Works like `serialisation::release`.
    pub(crate) fn release(&mut self, mut arrival: Arrival<'_>) {
        arrival.holds_serialisation = false;
        if self.conn.serialisation.leave(&self.ledger)
            && let Some(next) = arrival.go_on()
        {
            self.drain_http1(next);
        }
    }

    /// Works like `serialisation::go_on`.
    pub(crate) fn go_on(&mut self, arrival: Arrival<'_>) {
        if arrival.holds_serialisation
            && let Some(next) = arrival.go_on()
        {
            return self.drain_http1(next);
        }
        self.release(arrival);
    }

    /// Works like `traffic::stop`.
    fn stop(&mut self, arrival: Arrival<'_>) {
        if arrival.side == Side::Requests {
            self.release(arrival);
        }
    }

    /// Subtracts one step from the budget, and panics if no step is left.
    pub(crate) fn spend(budget: &mut usize) {
        *budget = budget
            .checked_sub(1)
            .expect("the parser takes more steps than there are bytes");
    }

    /// Works like `traffic::run`.
    fn traffic(&mut self, mut arrival: Arrival<'_>) {
        let Arrival { side, payload, .. } = arrival;
        let fin = arrival.segment.flags & Segment::FIN != 0;
        if arrival.segment.length == 0 && !fin {
            return;
        }
        if side == Side::Requests && !self.acquire(&mut arrival) {
            return;
        }
        let begun = self.direction(side).has(flag::HTTP2);
        if self.conn.is(state::HTTP2) || (begun && !self.conn.is(state::OPAQUE)) {
            return match arrival.go_on() {
                Some(next) => self.http2(next),
                None => self.stop(arrival),
            };
        }
        let segment = self.direction(side).arrived(arrival.segment);
        if side == Side::Requests
            && http1::is_out_of_order(side, &mut self.conn, segment)
            && let Some(arrival) = arrival.go_on()
        {
            return self.store_packet(arrival);
        }
        let packet = Slice(payload);
        let is_next = http1::is_next(side, &mut self.conn, segment);
        if !arrival.unusual
            && !is_next
            && http1::must_search(side, &mut self.conn)
            && let Some(arrival) = arrival.go_on_unusual(self.kernel)
        {
            return self.traffic(arrival);
        }
        let (conn, ledger) = (&mut *self.conn, &mut self.ledger);
        let arrived = is_next
            || if arrival.unusual {
                http1::arrive::<true, _, _>(side, conn, &packet, ledger, segment)
            } else {
                http1::arrive::<false, _, _>(side, conn, &packet, ledger, segment)
            };
        if arrived {
            let mut more = true;
            for _ in 0..arrival.steps(steps::HTTP1) {
                Self::spend(&mut self.budget);
                let (conn, ledger) = (&mut *self.conn, &mut self.ledger);
                let taken = if arrival.unusual {
                    http1::step::<true, _, _>(side, conn, &packet, ledger, segment)
                } else {
                    http1::step::<false, _, _>(side, conn, &packet, ledger, segment)
                };
                if taken != Step::More {
                    more = taken == Step::Unusual;
                    break;
                }
            }
            if more {
                self.direction(side).flags |= flag::UNFINISHED;
                if let Some(arrival) = arrival.go_on_unusual(self.kernel) {
                    return self.traffic(arrival);
                }
                self.direction(side).flags |= flag::UNREADABLE;
            }
            if self.direction(side).has(flag::HTTP2) {
                let http2 = self.http2.get_or_insert_with(|| Box::new(Http2::ZERO));
                if http2.take_over(side, &mut self.conn, &mut self.ledger) {
                    return match arrival.go_on() {
                        Some(next) => self.http2(next),
                        None => self.stop(arrival),
                    };
                }
                self.direction(side).flags |= flag::UNREADABLE;
                self.direction(side).flags &= !flag::HTTP2;
            }
            http1::leave(side, &mut self.conn, &mut self.ledger);
            if side == Side::Requests
                && self.conn.serialisation.has_buffered()
                && let Some(arrival) = arrival.go_on()
            {
                return self.drain_http1(arrival);
            }
        }
        if side == Side::Responses && fin {
            http1::last_byte(&mut self.conn, &mut self.ledger, true);
        }
        self.stop(arrival);
    }

    /// Works like `http2::run`.
    fn http2(&mut self, arrival: Arrival<'_>) {
        let Arrival { side, payload, .. } = arrival;
        let Some(http2) = &mut self.http2 else { return };
        if side == Side::Responses && http2.responses.direction.flags == 0 {
            http2.follow(&self.conn);
        }
        if side == Side::Requests {
            http2.free_empty_overflow(&self.ledger);
        }
        let segment = http2.way(side).direction.arrived(arrival.segment);
        if side == Side::Requests
            && http2::is_out_of_order(side, http2, segment)
            && let Some(arrival) = arrival.go_on()
        {
            return self.store_packet(arrival);
        }
        if http2::arrive(side, http2, segment) {
            let packet = Slice(payload);
            let more = (0..arrival.steps(steps::HTTP2)).all(|_| {
                Self::spend(&mut self.budget);
                http2::step(side, http2, &packet, &mut self.ledger, segment)
            });
            if more {
                http2.way(side).direction.flags |= flag::UNFINISHED;
                if let Some(mut arrival) = arrival.go_on() {
                    arrival.long = self.kernel == Kernel::New;
                    return self.http2(arrival);
                }
                http2.way(side).direction.flags |= flag::UNREADABLE;
            }
            if side == Side::Responses && http2.refuses(&self.ledger) {
                for place in 0..http2.places() {
                    http2.end_refused(&mut self.ledger, place);
                }
            }
            http2::leave(side, http2, &mut self.ledger);
            if side == Side::Requests
                && self.conn.serialisation.has_buffered()
                && let Some(arrival) = arrival.go_on()
            {
                return self.drain_http2(arrival);
            }
        }
        if side == Side::Responses && segment.flags & Segment::FIN != 0 {
            http2.finish(&mut self.ledger);
        }
        self.stop(arrival);
    }

    /// Takes at most `most` parser steps, as long as `step` returns `true`. Each step is subtracted from the
    /// connection's budget (see [`Self::spend`]). Returns `true` if there may be more to read.
    pub(crate) fn steps(&mut self, most: usize, mut step: impl FnMut(&mut Self) -> bool) -> bool {
        (0..most).all(|_| {
            Self::spend(&mut self.budget);
            step(self)
        })
    }

    /// Closes the connection, like `sockets::closed`. Panics if any request remains in flight.
    pub fn close(&mut self) {
        http1::last_byte(&mut self.conn, &mut self.ledger, false);
        if let Some(http2) = &mut self.http2 {
            http2.finish(&mut self.ledger);
        }
        let figures = self.figures();
        assert_eq!(
            (figures.in_flight(), figures.gauges()),
            (0, [0; 3]),
            "after the close"
        );
        let integral = self.ledger.integral();
        self.ledger.pass(1_000_000);
        assert_eq!(
            self.ledger.integral(),
            integral,
            "the integral grows although no request is in flight"
        );
    }
}
