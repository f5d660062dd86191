//! A connection's life: which of its requests are in flight, and how each one ends.
//!
//! Three programs change it. The way out and the closing run under the socket's lock, and only they
//! end requests; the way in does not. What happens with every request takes no lock all the same: a
//! request is noted here, then counted with an atomic add, which is a barrier, and then looks whether the connection has
//! been closed; whoever closes says so first and then looks what has begun. So at least one of the two sees the other,
//! and they settle it under [`Lock`]. An end takes the lock only while the request's head is still being read, as
//! only then it can be excluded at the same time.

use core::mem::offset_of;

use crate::{
    abi::{Exclusion, MAX_EXCLUDED_PATH, NO_SLOT, ended},
    direction::{Direction, flag},
    latency,
    packet::{Gauge, Meter},
    serialisation::Turn,
    window::{forget, in_order, set},
};

/// The kernel's `struct bpf_spin_lock`; it knows it by this name in the BTF.
#[repr(C)]
#[allow(non_camel_case_types, reason = "the kernel looks for this name")]
#[derive(Debug)]
pub struct bpf_spin_lock {
    /// The kernel's.
    pub val: u32,
}

/// The lock of a [`Conn`].
pub type Lock = bpf_spin_lock;

/// What a connection has become.
pub mod state {
    /// Closed: nothing more is counted.
    pub const CLOSED: u32 = 1;
    /// A tunnel after 101 or CONNECT: in flight until it closes.
    pub const TUNNEL: u32 = 1 << 1;
    /// Not readable: in flight until it closes.
    pub const OPAQUE: u32 = 1 << 2;
    /// A tunnel or opaque, and begun by an excluded request: not in flight, and in no gauge.
    pub const EXCLUDED: u32 = 1 << 3;
    /// Closed, and what was in flight then has ended.
    pub const FINISHED: u32 = 1 << 5;
    /// HTTP/2 from here: its streams are counted in a storage of their own.
    pub const HTTP2: u32 = 1 << 4;
    /// Open before it was counted, and nothing has come yet that could be read.
    pub const JOINING: u32 = 1 << 6;
    /// Open before it was counted: the kernel does not tell how it closes.
    pub const JOINED: u32 = 1 << 7;
}

/// After so many exchanges of which nobody knows the beginning a connection that was open before is opaque.
const EXCHANGES: u64 = 3;

/// Requests of one connection, the newest, whose start time is remembered for the latency.
const REMEMBERED: u32 = 4;

/// Requests of one connection that can be told from one another as HEAD or CONNECT or excluded, one
/// bit each. A request with as many before it shares the bit of the oldest: that is right as long as
/// both are plain ones, and what is not leads to an opaque connection.
const TOLD_APART: u32 = 64;

/// One connection, kept in its socket's storage.
///
/// Its packets arrive on one CPU and leave on another, as a rule. A cache line that one writes and the other needs goes
/// to and fro between them, for about as long as all of a short head takes to read. So the fields stand by who writes them:
/// hardly anybody, the way in, or the way out. The kernel's storage begins 8 bytes into a line.
#[repr(C)]
#[derive(Debug)]
pub struct Conn {
    /// Guards `state`, and `excluded` and `ended` against a request's being excluded as it ends.
    pub lock: Lock,
    /// The pod's index.
    pub slot: u32,
    /// Bits of [`state`].
    pub state: u32,
    /// One of [`crate::abi::event`], and 1, that the log is to be told; 0: nothing.
    event: u32,
    /// 1 where the server has begun HTTP/2.
    server_speaks_http2: u32,
    /// Begun without a request: a connection that cannot be read, or one that the server opens a tunnel on unasked.
    unasked: u32,
    reserved: [u32; 8],

    /// Requests begun. Written by the way in only.
    pub started: u32,
    /// Requests of which the head has been read, the oldest first.
    pub heads_read: u32,
    /// Which of the open requests are HEAD.
    pub heads: u64,
    /// Which of them are CONNECT.
    pub connects: u64,
    /// Which of them have been taken out of the count again.
    pub excluded: u64,
    /// When the newest ones began, ns.
    pub since: [u64; REMEMBERED as usize],

    /// Who reads what the client sends.
    pub turn: Turn,
    /// From the client.
    pub requests: Direction,
    /// Where the path of a request is cut out, to be looked up.
    pub exclusion: Exclusion,
    reserved_in: [u64; 2],

    /// Requests ended, the oldest first.
    pub ended: u32,
    reserved_out: u32,
    /// To the client.
    pub responses: Direction,
}

/// Whether a line begins here in a socket's storage: 8 bytes of its first one are the kernel's
/// (`struct bpf_local_storage_data`).
pub(crate) const fn begins_a_line(offset: usize) -> bool {
    (offset + 8).is_multiple_of(64)
}

const _: () = assert!(
    begins_a_line(offset_of!(Conn, started))
        && begins_a_line(offset_of!(Conn, turn))
        && begins_a_line(offset_of!(Conn, ended))
);

impl Conn {
    /// A connection without a pod and without traffic: all zeros, as the kernel makes socket storage.
    pub const ZERO: Self = Self {
        lock: Lock { val: 0 },
        slot: 0,
        state: 0,
        event: 0,
        server_speaks_http2: 0,
        unasked: 0,
        reserved: [0; 8],
        started: 0,
        heads_read: 0,
        heads: 0,
        connects: 0,
        excluded: 0,
        since: [0; REMEMBERED as usize],
        turn: Turn::FREE,
        requests: Direction::ZERO,
        exclusion: Exclusion {
            slot: 0,
            path: [0; MAX_EXCLUDED_PATH / 8],
        },
        reserved_in: [0; 2],
        ended: 0,
        reserved_out: 0,
        responses: Direction::ZERO,
    };

    /// Gives a zeroed connection to a pod. Its first bytes will have these sequence numbers.
    #[inline(always)]
    pub fn open_at(&mut self, slot: u32, first_in: u32, first_out: u32) {
        self.exclusion.slot = u64::from(slot);
        self.requests.open_at(first_in);
        self.responses.open_at(first_out);
        self.give_to(slot);
    }

    /// The last step of opening it.
    #[inline(always)]
    fn give_to(&mut self, slot: u32) {
        in_order();
        set(&mut self.slot, slot);
    }

    /// Whether it has been given to a pod. From the moment its storage is there, and all zeros, until then another CPU may
    /// come upon it, with a packet that it has not been made for yet.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        forget(&self.slot) != NO_SLOT
    }

    /// Gives a zeroed connection to a pod that was open before: where it stands is to be found out.
    #[inline(always)]
    pub fn open_late(&mut self, slot: u32, sent: u32) {
        self.state = state::JOINING | state::JOINED;
        self.responses.next = sent;
        self.give_to(slot);
    }

    /// Something has come that nobody knows, while the server had sent so much. `true` if that is so for the third time
    /// that it has sent something in between: a protocol of its own, and no body.
    #[inline(always)]
    pub fn is_unknown(&mut self, sent: u32) -> bool {
        if self.responses.next != sent {
            self.responses.next = sent;
            self.requests.remaining = self.requests.remaining.wrapping_add(1);
        }
        self.requests.remaining >= EXCHANGES
    }

    /// What comes now can be read, or never will be: the client's next byte and the server's.
    #[inline(always)]
    pub fn join(&mut self, next_in: u32, next_out: u32) {
        self.requests.remaining = 0;
        self.open_at(self.slot, next_in, next_out);
        self.state &= !state::JOINING;
    }

    /// Whether it is in one of these [`state`]s.
    #[inline(always)]
    pub fn is(&self, states: u32) -> bool {
        self.state & states != 0
    }

    /// Requests in flight.
    #[inline(always)]
    pub fn open(&self) -> u32 {
        self.begun().wrapping_sub(self.ended)
    }

    /// All that has begun.
    #[inline(always)]
    fn begun(&self) -> u32 {
        self.started.wrapping_add(forget(&self.unasked))
    }

    /// Whether it is closed by now: another CPU may just have done so.
    #[inline(always)]
    pub fn is_closed_now(&self) -> bool {
        forget(&self.state) & state::CLOSED != 0
    }

    /// A request begins. For the way in.
    #[inline(always)]
    pub fn start<M: Meter>(&mut self, meter: &mut M) {
        if self.is_closed_now() {
            return;
        }
        let now = self.make_place(meter);
        let started = self.started.wrapping_add(1);
        set(&mut self.started, started);
        self.begin(meter, now);
    }

    /// What is in flight begins without a request, on either way.
    #[inline(always)]
    fn start_unasked<M: Meter>(&mut self, meter: &mut M) {
        if self.is_closed_now() {
            return;
        }
        let now = self.make_place(meter);
        meter.add(&raw mut self.unasked, 1);
        self.begin(meter, now);
    }

    /// Gets ready what is kept of the next that begins, and returns when that is.
    #[inline(always)]
    fn make_place<M: Meter>(&mut self, meter: &M) -> u64 {
        let index = self.begun();
        // Its bits may still be those of the request 64 before it.
        let bit = 1u64 << (index % TOLD_APART);
        self.heads &= !bit;
        self.connects &= !bit;
        self.excluded &= !bit;
        let now = meter.now();
        if let Some(since) = self.since.get_mut((index % REMEMBERED) as usize) {
            *since = now;
        }
        now
    }

    /// One has begun. The first atomic add is the barrier between that and the look whether the connection is closed.
    #[inline(always)]
    fn begin<M: Meter>(&mut self, meter: &mut M, now: u64) {
        meter.start(1, now);
        if self.is_closed_now() {
            self.begun_too_late(meter, now);
        }
    }

    /// A request has begun while the connection was being closed. If it has not been seen there it ends here.
    #[inline(always)]
    fn begun_too_late<M: Meter>(&mut self, meter: &mut M, now: u64) {
        let lock = &raw mut self.lock;
        let unseen = meter.locked(lock, || {
            let unseen = self.state & state::FINISHED != 0 && self.open() != 0;
            if unseen {
                self.ended = self.ended.wrapping_add(1);
            }
            unseen
        });
        if unseen {
            meter.end(ended::ABORTED, 1, now);
        }
    }

    /// The head of the request that is being read is complete: from here on it cannot be excluded.
    #[inline(always)]
    pub fn head_read(&mut self) {
        self.heads_read = self.begun();
    }

    /// Whether one more request can be told from those in flight: the one it would share its bit with is plain.
    #[inline(always)]
    pub fn can_tell_one_more(&self) -> bool {
        let bit = 1u64 << (self.begun() % TOLD_APART);
        (self.heads | self.connects | self.excluded) & bit == 0 || self.open() < TOLD_APART
    }

    /// The bit of the request that is being read, if it has one of its own.
    #[inline(always)]
    fn newest_bit(&self) -> u64 {
        let open = self.open();
        if open == 0 || open > TOLD_APART {
            0
        } else {
            1u64 << (self.begun().wrapping_sub(1) % TOLD_APART)
        }
    }

    /// The request that is being read is HEAD. `false` if that cannot be kept in mind.
    #[inline(always)]
    pub fn mark_head(&mut self) -> bool {
        self.heads |= self.newest_bit();
        self.open() <= TOLD_APART
    }

    /// The request that is being read is CONNECT. `false` if that cannot be kept in mind.
    #[inline(always)]
    pub fn mark_connect(&mut self) -> bool {
        self.connects |= self.newest_bit();
        self.open() <= TOLD_APART
    }

    /// Whether the request now being answered is HEAD.
    #[inline(always)]
    pub fn answers_head(&self) -> bool {
        self.open() > 0 && self.heads & (1u64 << (self.ended % TOLD_APART)) != 0
    }

    /// Whether the request now being answered is CONNECT.
    #[inline(always)]
    pub fn answers_connect(&self) -> bool {
        self.open() > 0 && self.connects & (1u64 << (self.ended % TOLD_APART)) != 0
    }

    /// The request that is being read is to be taken out of the count, exactly, as if it had never come.
    #[inline(always)]
    pub fn exclude<M: Meter>(&mut self, meter: &mut M) {
        let open = self.open();
        if open == 0 || open > TOLD_APART {
            // Answered before its head was complete, or too deep in a pipeline to be told apart.
            return;
        }
        let bit = self.newest_bit();
        let since = match self
            .since
            .get((self.begun().wrapping_sub(1) % REMEMBERED) as usize)
        {
            Some(since) => *since,
            None => return,
        };
        let lock = &raw mut self.lock;
        let taken_back = meter.locked(lock, || {
            let first = !self.is(state::CLOSED | state::TUNNEL | state::OPAQUE)
                && self.open() != 0
                && self.excluded & bit == 0;
            if first {
                self.excluded |= bit;
            }
            first
        });
        if taken_back {
            meter.end(ended::EXCLUDED, 1, since);
        }
    }

    /// The oldest request in flight ends, one of [`ended`] ways.
    #[inline(always)]
    pub fn end<M: Meter>(&mut self, meter: &mut M, way: usize, now: u64) {
        let open = self.open();
        if open == 0 {
            // An answer nobody asked for, such as 408 on an idle connection.
            return;
        }
        let index = self.ended;
        let bit = 1u64 << (index % TOLD_APART);
        let excluded = if (index.wrapping_sub(self.heads_read) as i32) < 0 {
            self.ended = index.wrapping_add(1);
            self.excluded & bit != 0
        } else {
            let lock = &raw mut self.lock;
            meter.locked(lock, || {
                self.ended = index.wrapping_add(1);
                self.excluded & bit != 0
            })
        };
        if !excluded {
            self.account(meter, index, open, way, now);
        }
    }

    /// Counts the end of the request `index`, the oldest of `open`.
    #[inline(always)]
    fn account<M: Meter>(&mut self, meter: &mut M, index: u32, open: u32, way: usize, now: u64) {
        meter.end(way, 1, now);
        if open <= REMEMBERED
            && let Some(since) = self.since.get((index % REMEMBERED) as usize)
        {
            meter.latency(latency::bucket(latency::between(*since, now)));
        }
    }

    /// The client speaks HTTP/2 from here. `false` if the connection is closed, or still has requests of HTTP/1.
    #[inline(always)]
    pub fn become_http2<M: Meter>(&mut self, meter: &mut M) -> bool {
        let lock = &raw mut self.lock;
        meter.locked(lock, || {
            let living = self.state & (state::CLOSED | state::TUNNEL | state::OPAQUE) == 0
                && self.open() == 0;
            if living {
                self.state |= state::HTTP2;
            }
            living
        })
    }

    /// The request being answered becomes a stream of HTTP/2: when it began, and whether it is excluded. It stays counted.
    #[inline(always)]
    pub fn hand_over(&mut self) -> Option<(u64, bool)> {
        if self.open() != 1 {
            return None;
        }
        let index = self.ended;
        let since = *self.since.get((index % REMEMBERED) as usize)?;
        self.ended = index.wrapping_add(1);
        Some((since, self.excluded & (1u64 << (index % TOLD_APART)) != 0))
    }

    /// The answer was 101, or CONNECT was granted: the request stays in flight until the connection closes.
    #[inline(always)]
    pub fn become_tunnel<M: Meter>(&mut self, meter: &mut M) {
        self.become_one(meter, state::TUNNEL, Gauge::Upgraded);
    }

    /// What runs here cannot be read: from now on it is the connection that is in flight. `why` is one of
    /// [`crate::abi::event`].
    #[inline(always)]
    pub fn become_opaque<M: Meter>(&mut self, meter: &mut M, why: usize) {
        if self.become_one(meter, state::OPAQUE, Gauge::Opaque) {
            meter.note(why);
            self.happened(why);
        }
    }

    /// A part of what the client sends is not there to be read: `why` is one of [`crate::abi::event`].
    #[inline(always)]
    pub fn lose<M: Meter>(&mut self, meter: &mut M, why: usize) {
        meter.note(why);
        self.happened(why);
        self.turn.lose();
    }

    /// Something rare has happened: the log is to be told when the packet has been read.
    #[inline(always)]
    pub fn happened(&mut self, event: usize) {
        set(&mut self.event, event as u32 + 1);
    }

    /// Whether something rare has happened.
    #[inline(always)]
    pub fn has_event(&self) -> bool {
        forget(&self.event) != 0
    }

    /// What has happened, for once.
    #[inline(always)]
    pub fn take_event(&mut self) -> Option<usize> {
        let event = forget(&self.event);
        set(&mut self.event, 0);
        (event as usize).checked_sub(1)
    }

    /// The server has begun HTTP/2. Requests look here: the server's own state is on lines that they have no need of.
    #[inline(always)]
    pub fn server_begins_http2(&mut self) {
        self.responses.flags |= flag::HTTP2;
        set(&mut self.server_speaks_http2, 1);
    }

    /// Whether it has.
    #[inline(always)]
    pub fn server_speaks_http2(&self) -> bool {
        forget(&self.server_speaks_http2) != 0
    }

    #[inline(always)]
    fn become_one<M: Meter>(&mut self, meter: &mut M, state: u32, gauge: Gauge) -> bool {
        if self.is(state::CLOSED | state::TUNNEL | state::OPAQUE) {
            return false;
        }
        if self.open() == 0 {
            self.start_unasked(meter);
        }
        let newest = self.newest_bit();
        let lock = &raw mut self.lock;
        let counted = meter.locked(lock, || {
            let living = self.state & state::CLOSED == 0;
            let excluded = self.excluded & newest != 0;
            if living {
                self.state |= state;
            }
            if excluded {
                self.state |= state::EXCLUDED;
            }
            living && !excluded
        });
        if counted {
            meter.gauge(gauge, 1);
        }
        counted
    }

    /// Breaks off what was in flight before the connection became a tunnel or opaque, but for one. For the
    /// way out: only it ends requests.
    #[inline(always)]
    pub fn settle<M: Meter>(&mut self, meter: &mut M) {
        if self.is(state::TUNNEL | state::OPAQUE) && self.open() > 1 {
            let now = meter.now();
            let (index, count) = (self.ended, self.open() - 1);
            self.ended = index.wrapping_add(count);
            self.break_off(meter, index, count, now);
        }
    }

    /// Nothing more can be answered: the server has sent its last byte (`way` says how the request
    /// being answered ended), or the connection is gone.
    #[inline(always)]
    pub fn finish<M: Meter>(&mut self, meter: &mut M, way: usize) {
        let lock = &raw mut self.lock;
        let was = meter.locked(lock, || {
            let was = self.state;
            self.state |= state::CLOSED;
            was
        });
        if was & state::CLOSED != 0 {
            return;
        }
        if was & (state::TUNNEL | state::EXCLUDED) == state::TUNNEL {
            meter.gauge(Gauge::Upgraded, u64::MAX);
        }
        if was & (state::OPAQUE | state::EXCLUDED) == state::OPAQUE {
            meter.gauge(Gauge::Opaque, u64::MAX);
        }
        // The lock is a barrier: what has not been seen to close is seen here.
        let lock = &raw mut self.lock;
        let (index, open) = meter.locked(lock, || {
            let index = self.ended;
            let open = self.open();
            self.ended = self.begun();
            self.state |= state::FINISHED;
            (index, open)
        });
        if open == 0 {
            return;
        }
        let now = meter.now();
        if self.excluded & (1u64 << (index % TOLD_APART)) == 0 {
            let way = if was & state::OPAQUE != 0 {
                ended::OPAQUE
            } else {
                way
            };
            self.account(meter, index, open, way, now);
        }
        self.break_off(meter, index.wrapping_add(1), open - 1, now);
    }

    /// Counts the ends of `count` requests from `index` on, all at once.
    #[inline(always)]
    fn break_off<M: Meter>(&mut self, meter: &mut M, index: u32, count: u32, now: u64) {
        if count == 0 {
            return;
        }
        // Those of them that are excluded are out of the count already. A bit that two share is not set.
        let told_apart = if count < TOLD_APART {
            count
        } else {
            TOLD_APART
        };
        let ending = (u64::MAX >> ((TOLD_APART - told_apart) & 63)).rotate_left(index % TOLD_APART);
        let excluded = latency::count_ones(self.excluded & ending);
        meter.end(ended::ABORTED, u64::from(count) - excluded, now);
    }
}
