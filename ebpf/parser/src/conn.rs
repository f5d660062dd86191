//! The life of a connection: the requests that are in flight, and how each one ends.
//!
//! Three programs change a connection: ingress, egress and close. Egress and close run under the socket's lock, and
//! only they end requests. Ingress does not run under the socket's lock, and in the usual case it takes no lock to
//! start a request. Ingress records a request in the connection, then counts it with an atomic add, which is a barrier,
//! and then checks whether the connection has been closed. Close records first that the connection is closed, and then
//! checks which requests have begun. So at least one of ingress and close sees the other's record, and they resolve the
//! conflict under [`Lock`]. The end of a request takes the lock only while the request's head is still being read: only
//! such a request can be excluded at the same time.

use core::mem::offset_of;

use ebb_abi::{Exclusion, MAX_EXCLUDED_PATH, NO_SLOT, ended, event, latency};

use crate::{
    direction::{Direction, flag},
    packet::{Gauge, Meter, between},
    serialisation::IngressSerialisation,
    window::{in_order, set, widen},
};

/// The lock of a [`Conn`].
pub type Lock = ebb_abi::bpf_spin_lock;

/// States of a connection: the bits of `Conn::state`.
pub mod state {
    /// Closed: nothing more is counted.
    pub const CLOSED: u32 = 1;
    /// A tunnel after a 101 response or a granted CONNECT: counts as one request in flight until the connection closes.
    pub const TUNNEL: u32 = 1 << 1;
    /// Opaque (cannot be read): counts as one request in flight, until a request can be recognised or the connection
    /// closes.
    pub const OPAQUE: u32 = 1 << 2;
    /// A tunnel or an opaque connection whose request is excluded: the connection does not count as in flight, and is
    /// in no gauge.
    pub const EXCLUDED: u32 = 1 << 3;
    /// Closed, and all requests that were in flight have been ended.
    pub const FINISHED: u32 = 1 << 5;
    /// The connection has changed to HTTP/2: its streams are counted in a separate storage.
    pub const HTTP2: u32 = 1 << 4;
    /// Attached mid-stream, but no data that can be read has arrived yet.
    pub const ATTACHING: u32 = 1 << 6;
    /// Attached mid-stream: the kernel does not report the close of the connection to the program `connections`.
    pub const ATTACHED_MID_STREAM: u32 = 1 << 7;
    /// The server's process has released the socket.
    pub const RELEASED: u32 = 1 << 8;
    /// The server's FIN or RST has been sent.
    pub const SENT_LAST: u32 = 1 << 9;
    /// The connection is no longer counted as open.
    pub const COUNTED_OUT: u32 = 1 << 10;
}

/// A connection that was attached mid-stream becomes opaque after this number of exchanges, if the parsers have not
/// recognised the beginning of a request by then.
const EXCHANGES: u64 = 3;

/// Number of requests of one connection, the newest ones, whose start times are kept for the latency.
const REMEMBERED: u32 = 4;

/// Number of requests of one connection that can be marked as HEAD, CONNECT or excluded: one bit each. If more requests
/// are in flight, two requests share a bit: if one of the two is marked, the connection becomes opaque.
const MARK_BITS: u32 = 64;

/// One connection, in its socket's storage.
///
/// The packets of a connection usually arrive on one CPU and leave on another one. A cache line that one CPU writes and
/// the other one needs moves between them, which takes about as long as reading a whole short head. So the fields are
/// grouped by their writer: fields that are rarely written, fields of ingress, and fields of egress. The kernel's
/// storage begins 8 bytes into a cache line.
#[repr(C)]
#[derive(Debug)]
pub struct Conn {
    /// Guards `state`. Also guards `excluded` and `ended` while one CPU excludes a request and another CPU ends it.
    pub lock: Lock,
    /// The pod slot.
    pub slot: u32,
    /// Bits of [`state`].
    pub state: u32,
    /// The rare event to log: one of [`ebb_abi::event`] plus 1; 0: none.
    event: u32,
    /// 1 if the server has begun HTTP/2.
    server_speaks_http2: u32,
    /// Number of starts that were counted for the connection as a whole, because it became opaque or a tunnel while no
    /// request was in flight.
    connection_starts: u32,
    /// If the end of the current response cannot be found: the way in which its request ends if another request arrives
    /// (one of [`ended`]), plus 1. Otherwise 0. Written by egress only.
    lost_response: u32,
    reserved: [u32; 7],

    /// Number of requests started. Written by ingress only.
    pub started: u32,
    /// Number of requests, counted from the first one on the connection, whose heads have been read.
    pub heads_read: u32,
    /// Bits of the requests in flight that are HEAD requests.
    pub heads: u64,
    /// Bits of the requests in flight that are CONNECT requests.
    pub connects: u64,
    /// Bits of the requests in flight that have been excluded.
    pub excluded: u64,
    /// Start times of the newest requests, ns.
    pub since: [u64; REMEMBERED as usize],

    /// Ingress serialisation: decides which CPU reads the data from the client.
    pub serialisation: IngressSerialisation,
    /// The parser's state for the data from the client.
    pub requests: Direction,
    /// Key for the lookup of an excluded path. The path of the request is copied to this key.
    pub exclusion: Exclusion,
    /// Number of requests that arrived while the end of the response before them could not be found.
    pub resumed: u32,
    /// 1 if the client has ended the connection with a RST. Written by ingress only.
    client_reset: u32,
    reserved_in: [u32; 2],

    /// Number of ended requests. Requests end in the order in which they began.
    pub ended: u32,
    /// The value of `resumed` when the end of a response could last not be found.
    answered: u32,
    /// The parser's state for the data to the client.
    pub responses: Direction,
}

/// Returns whether a cache line begins at this offset of a socket's storage. The kernel uses the first 8 bytes of the
/// first line (`struct bpf_local_storage_data`).
pub(crate) const fn begins_a_line(offset: usize) -> bool {
    (offset + 8).is_multiple_of(64)
}

const _: () = assert!(
    begins_a_line(offset_of!(Conn, started))
        && begins_a_line(offset_of!(Conn, serialisation))
        && begins_a_line(offset_of!(Conn, ended))
);

impl Conn {
    /// A connection without a pod and without traffic: all zeros, as the kernel creates socket storage.
    pub const ZERO: Self = Self {
        lock: Lock { val: 0 },
        slot: 0,
        state: 0,
        event: 0,
        server_speaks_http2: 0,
        connection_starts: 0,
        lost_response: 0,
        reserved: [0; 7],
        started: 0,
        heads_read: 0,
        heads: 0,
        connects: 0,
        excluded: 0,
        since: [0; REMEMBERED as usize],
        serialisation: IngressSerialisation::FREE,
        requests: Direction::ZERO,
        exclusion: Exclusion {
            slot: 0,
            path: [0; MAX_EXCLUDED_PATH / 8],
        },
        resumed: 0,
        client_reset: 0,
        reserved_in: [0; 2],
        ended: 0,
        answered: 0,
        responses: Direction::ZERO,
    };

    /// Assigns a zeroed connection to a pod. `first_in` and `first_out` are the sequence numbers of the next bytes from
    /// the client and to the client.
    #[inline(always)]
    pub fn open_at(&mut self, slot: u32, first_in: u32, first_out: u32) {
        self.exclusion.slot = u64::from(slot);
        self.requests.open_at(first_in);
        self.responses.open_at(first_out);
        self.give_to(slot);
    }

    /// Sets the pod slot. This is the last step of assigning a connection to a pod: from then on, other CPUs use the
    /// connection.
    #[inline(always)]
    fn give_to(&mut self, slot: u32) {
        in_order();
        set(&mut self.slot, slot);
    }

    /// Returns whether the connection has been assigned to a pod. Before the assignment, the storage of the connection
    /// is all zeros, and a program on another CPU can already find this storage.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        widen(&self.slot) != NO_SLOT
    }

    /// Assigns a zeroed connection to a pod. The connection was open before its cgroup was counted. `sent` is the
    /// sequence number of the server's next byte. The byte at which the parsers begin is not known yet.
    #[inline(always)]
    pub fn open_mid_stream(&mut self, slot: u32, sent: u32) {
        self.state = state::ATTACHING | state::ATTACHED_MID_STREAM;
        self.responses.next = sent;
        self.give_to(slot);
    }

    /// Records the arrival of client data that was not recognised as the beginning of a request. `sent` is the sequence
    /// number of the server's next byte. An arrival counts if the server has sent bytes since the arrival before it.
    /// Returns `true` from the third counted arrival on: client and server take turns, so the data is not a body, but
    /// another protocol.
    #[inline(always)]
    pub fn is_unknown(&mut self, sent: u32) -> bool {
        if self.responses.next != sent {
            self.responses.next = sent;
            self.requests.remaining = self.requests.remaining.wrapping_add(1);
        }
        self.requests.remaining >= EXCHANGES
    }

    /// Ends the search for the beginning of a request on a connection that is attached mid-stream. From this segment
    /// on, the parsers read the data, unless the caller makes the connection opaque. `next_in` and `next_out` are the
    /// sequence numbers of the next bytes from the client and to the client.
    #[inline(always)]
    pub fn attach_at(&mut self, next_in: u32, next_out: u32) {
        self.requests.remaining = 0;
        self.open_at(self.slot, next_in, next_out);
        self.state &= !state::ATTACHING;
    }

    /// Returns whether the connection is in one of these [`state`]s.
    #[inline(always)]
    pub fn is(&self, states: u32) -> bool {
        self.state & states != 0
    }

    /// Returns the number of requests in flight.
    #[inline(always)]
    pub fn open(&self) -> u32 {
        self.begun().wrapping_sub(self.ended)
    }

    /// Returns the number of counted starts: starts of requests, and starts that were counted for the connection as a
    /// whole (`connection_starts`).
    #[inline(always)]
    fn begun(&self) -> u32 {
        self.started.wrapping_add(widen(&self.connection_starts))
    }

    /// Returns whether the connection is closed. The state is read from memory, because another CPU may just have
    /// closed the connection.
    #[inline(always)]
    pub fn is_closed_now(&self) -> bool {
        widen(&self.state) & state::CLOSED != 0
    }

    /// Starts a request. Called by ingress. If the end of the response before could not be found, it must be called
    /// with `UNUSUAL`.
    #[inline(always)]
    pub fn start<const UNUSUAL: bool, M: Meter>(&mut self, meter: &mut M) {
        if self.is_closed_now() {
            return;
        }
        if UNUSUAL && self.is_response_lost() {
            let way = (widen(&self.lost_response) as usize).saturating_sub(1);
            self.resumed = self.resumed.wrapping_add(1);
            if self.open() != 0 {
                return self.replace_newest(meter, way);
            }
        }
        let now = self.make_place(meter);
        let started = self.started.wrapping_add(1);
        set(&mut self.started, started);
        self.begin(meter, now);
    }

    /// Starts a request at a time when the newest request in flight must have ended, because the end of its response
    /// cannot be found. `way` says how the newest request ends, one of [`ended`]. Called by ingress.
    ///
    /// Only egress may change `ended`. So the new request takes the place of the newest one, and only the pod's
    /// counters see an end and a start.
    #[inline(always)]
    fn replace_newest<M: Meter>(&mut self, meter: &mut M, way: usize) {
        let bit = self.take_newest_place(meter);
        let lock = &raw mut self.lock;
        let (closed, excluded) = meter.locked(lock, || {
            let closed = self.state & state::CLOSED != 0;
            let excluded = self.excluded & bit != 0;
            if !closed {
                self.excluded &= !bit;
            }
            (closed, excluded)
        });
        if closed {
            return;
        }
        let now = meter.now();
        if !excluded {
            meter.end(way, 1, now);
        }
        meter.start(1, now);
    }

    /// Ends the time in which the connection is opaque: from now on, its newest request in flight is the request that
    /// is being read. Returns `false` if the connection stays opaque. Called by ingress.
    #[inline(always)]
    pub fn resume<M: Meter>(&mut self, meter: &mut M) -> bool {
        if self.open() != 1 || self.server_speaks_http2() {
            // Egress has not aborted the earlier requests yet, or the connection is HTTP/2.
            return false;
        }
        let bit = self.newest_bit();
        let lock = &raw mut self.lock;
        let (resumes, excluded) = meter.locked(lock, || {
            const STATES: u32 = state::CLOSED | state::TUNNEL | state::OPAQUE | state::HTTP2;
            let resumes = self.state & STATES == state::OPAQUE;
            let excluded = self.state & state::EXCLUDED != 0;
            if resumes {
                self.state &= !(state::OPAQUE | state::EXCLUDED);
                self.excluded &= !bit;
            }
            (resumes, excluded)
        });
        if !resumes {
            return false;
        }
        self.take_newest_place(meter);
        self.resumed = self.resumed.wrapping_add(1);
        self.serialisation.regain();
        let now = meter.now();
        if !excluded {
            meter.gauge(Gauge::Opaque, u64::MAX);
            meter.end(ended::OPAQUE, 1, now);
        }
        meter.start(1, now);
        meter.note(event::RESUMED);
        self.happened(event::RESUMED);
        true
    }

    /// Prepares the fields of the newest request in flight for a request that takes its place. Returns the request's
    /// bit.
    #[inline(always)]
    fn take_newest_place<M: Meter>(&mut self, meter: &M) -> u64 {
        let index = self.begun().wrapping_sub(1);
        let bit = 1u64 << (index % MARK_BITS);
        self.heads &= !bit;
        self.connects &= !bit;
        self.heads_read = index;
        if let Some(since) = self.since.get_mut((index % REMEMBERED) as usize) {
            *since = meter.now();
        }
        bit
    }

    /// Records that the end of the current response cannot be found. `way` says how its request ends if another request
    /// arrives, one of [`ended`]. Called by egress.
    #[inline(always)]
    pub fn lose_response(&mut self, way: usize) {
        set(&mut self.lost_response, way as u32 + 1);
        self.answered = widen(&self.resumed);
    }

    /// Returns whether the end of the current response cannot be found.
    #[inline(always)]
    pub fn is_response_lost(&self) -> bool {
        widen(&self.lost_response) != 0
    }

    /// Returns whether a request has arrived since [`Self::lose_response`], so that its response may begin.
    #[inline(always)]
    pub fn is_response_awaited(&self) -> bool {
        widen(&self.resumed) != self.answered
    }

    /// Records that the client has ended the connection with a RST. Called by ingress.
    #[inline(always)]
    pub fn client_resets(&mut self) {
        set(&mut self.client_reset, 1);
    }

    /// Returns whether the client has ended the connection with a RST.
    #[inline(always)]
    pub fn has_client_reset(&self) -> bool {
        widen(&self.client_reset) != 0
    }

    /// Records that a response has been recognised after [`Self::lose_response`]. Called by egress.
    #[inline(always)]
    pub fn find_response(&mut self) {
        set(&mut self.lost_response, 0);
    }

    /// Counts the start of one request that stands for the whole connection, because no request is in flight on it.
    /// Called by ingress and egress.
    #[inline(always)]
    fn start_for_connection<M: Meter>(&mut self, meter: &mut M) {
        if self.is_closed_now() {
            return;
        }
        let now = self.make_place(meter);
        meter.add(&raw mut self.connection_starts, 1);
        self.begin(meter, now);
    }

    /// Prepares the fields of the request that starts next: clears its bits in `heads`, `connects` and `excluded`, and
    /// sets its start time. Returns the start time, ns.
    #[inline(always)]
    fn make_place<M: Meter>(&mut self, meter: &M) -> u64 {
        let index = self.begun();
        // The bits can still be set for the request that started 64 starts earlier.
        let bit = 1u64 << (index % MARK_BITS);
        self.heads &= !bit;
        self.connects &= !bit;
        self.excluded &= !bit;
        let now = meter.now();
        if let Some(since) = self.since.get_mut((index % REMEMBERED) as usize) {
            *since = now;
        }
        now
    }

    /// Counts a start. The first atomic add is also a memory barrier: the start is recorded before it, and the
    /// connection is checked after it.
    #[inline(always)]
    fn begin<M: Meter>(&mut self, meter: &mut M, now: u64) {
        meter.start(1, now);
        if self.is_closed_now() {
            self.begun_too_late(meter, now);
        }
    }

    /// Handles a request that began while another CPU was closing the connection. If that CPU has not ended the
    /// request, this function ends it as aborted.
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

    /// Records that the head of the request that is being read is complete: from then on, the request cannot be
    /// excluded.
    #[inline(always)]
    pub fn head_read(&mut self) {
        self.heads_read = self.begun();
    }

    /// Returns whether one more request can start: no request in flight shares its bit, or the request that shares the
    /// bit is not marked as HEAD, CONNECT or excluded.
    #[inline(always)]
    pub fn can_mark_one_more(&self) -> bool {
        let bit = 1u64 << (self.begun() % MARK_BITS);
        (self.heads | self.connects | self.excluded) & bit == 0 || self.open() < MARK_BITS
    }

    /// Returns the bit that marks the request that is being read. Returns 0 if the request cannot be marked: no request
    /// is in flight, or more than [`MARK_BITS`].
    #[inline(always)]
    fn newest_bit(&self) -> u64 {
        let open = self.open();
        if open == 0 || open > MARK_BITS {
            0
        } else {
            1u64 << (self.begun().wrapping_sub(1) % MARK_BITS)
        }
    }

    /// Marks the request that is being read as HEAD. Returns `false` if more than `MARK_BITS` requests are in flight.
    #[inline(always)]
    pub fn mark_head(&mut self) -> bool {
        self.heads |= self.newest_bit();
        self.open() <= MARK_BITS
    }

    /// Marks the request that is being read as CONNECT. Returns `false` if more than `MARK_BITS` requests are in
    /// flight.
    #[inline(always)]
    pub fn mark_connect(&mut self) -> bool {
        self.connects |= self.newest_bit();
        self.open() <= MARK_BITS
    }

    /// Returns whether the request that is being answered is a HEAD request.
    #[inline(always)]
    pub fn answers_head(&self) -> bool {
        self.open() > 0 && self.heads & (1u64 << (self.ended % MARK_BITS)) != 0
    }

    /// Returns whether the request that is being answered is a CONNECT request.
    #[inline(always)]
    pub fn answers_connect(&self) -> bool {
        self.open() > 0 && self.connects & (1u64 << (self.ended % MARK_BITS)) != 0
    }

    /// Returns whether the request that is being read is a CONNECT request.
    #[inline(always)]
    pub fn is_newest_connect(&self) -> bool {
        self.connects & self.newest_bit() != 0
    }

    /// Excludes the request that is being read: removes it from the counts exactly, as if it had never arrived.
    #[inline(always)]
    pub fn exclude<M: Meter>(&mut self, meter: &mut M) {
        let open = self.open();
        if open == 0 || open > MARK_BITS {
            // The request cannot be excluded: it was answered before its head was complete, or more than `MARK_BITS`
            // requests are in flight.
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

    /// Ends the oldest request in flight. `way` is one of [`ended`].
    #[inline(always)]
    pub fn end<M: Meter>(&mut self, meter: &mut M, way: usize, now: u64) {
        let open = self.open();
        if open == 0 {
            // The response has no request, such as a 408 on an idle connection.
            return;
        }
        let index = self.ended;
        let bit = 1u64 << (index % MARK_BITS);
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

    /// Counts the end of the request with the number `index`, the oldest of the `open` requests in flight.
    #[inline(always)]
    fn account<M: Meter>(&mut self, meter: &mut M, index: u32, open: u32, way: usize, now: u64) {
        meter.end(way, 1, now);
        if open <= REMEMBERED
            && let Some(since) = self.since.get((index % REMEMBERED) as usize)
        {
            meter.latency(latency::bucket(between(*since, now)));
        }
    }

    /// Marks the connection as HTTP/2. Returns `false` if the connection is closed, a tunnel or opaque, or has HTTP/1
    /// requests in flight.
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

    /// Removes the request that is being answered from this connection without counting its end, because the request
    /// continues as an HTTP/2 stream. Returns the start time of the request (ns), and whether the request is excluded.
    /// Returns `None` unless the request is the only one in flight.
    #[inline(always)]
    pub fn hand_over(&mut self) -> Option<(u64, bool)> {
        if self.open() != 1 {
            return None;
        }
        let index = self.ended;
        let since = *self.since.get((index % REMEMBERED) as usize)?;
        self.ended = index.wrapping_add(1);
        Some((since, self.excluded & (1u64 << (index % MARK_BITS)) != 0))
    }

    /// Makes the connection a tunnel, after a 101 response or a granted CONNECT: the request remains in flight until
    /// the connection closes.
    #[inline(always)]
    pub fn become_tunnel<M: Meter>(&mut self, meter: &mut M) {
        self.become_one(meter, state::TUNNEL, Gauge::Upgraded);
    }

    /// Makes the connection opaque, because it cannot be read: from then on, the connection itself counts as one
    /// request in flight. `why` is one of [`ebb_abi::event`].
    #[inline(always)]
    pub fn become_opaque<M: Meter>(&mut self, meter: &mut M, why: usize) {
        if self.become_one(meter, state::OPAQUE, Gauge::Opaque) {
            meter.note(why);
            self.happened(why);
        }
    }

    /// Records that the parsers will not see a part of the client's data. `why` is one of [`ebb_abi::event`].
    #[inline(always)]
    pub fn lose<M: Meter>(&mut self, meter: &mut M, why: usize) {
        meter.note(why);
        self.happened(why);
        self.serialisation.lose();
    }

    /// Records a rare event, to be logged when the packet has been read.
    #[inline(always)]
    pub fn happened(&mut self, event: usize) {
        set(&mut self.event, event as u32 + 1);
    }

    /// Returns whether a rare event is recorded.
    #[inline(always)]
    pub fn has_event(&self) -> bool {
        widen(&self.event) != 0
    }

    /// Returns the recorded event, and clears the record, so that the event is logged once.
    #[inline(always)]
    pub fn take_event(&mut self) -> Option<usize> {
        let event = widen(&self.event);
        set(&mut self.event, 0);
        (event as usize).checked_sub(1)
    }

    /// Records that the server has begun HTTP/2. The record is written twice, with a separate field for ingress:
    /// otherwise ingress would need cache lines that egress writes.
    #[inline(always)]
    pub fn server_begins_http2(&mut self) {
        self.responses.flags |= flag::HTTP2;
        set(&mut self.server_speaks_http2, 1);
    }

    /// Returns whether the server has begun HTTP/2.
    #[inline(always)]
    pub fn server_speaks_http2(&self) -> bool {
        widen(&self.server_speaks_http2) != 0
    }

    #[inline(always)]
    fn become_one<M: Meter>(&mut self, meter: &mut M, state: u32, gauge: Gauge) -> bool {
        if self.is(state::CLOSED | state::TUNNEL | state::OPAQUE) {
            return false;
        }
        if self.open() == 0 {
            self.start_for_connection(meter);
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

    /// Records [`state::RELEASED`], [`state::SENT_LAST`] or both. Returns `true` at the first call after which both are
    /// recorded: then the connection no longer counts as open.
    #[inline(always)]
    pub fn counts_out<M: Meter>(&mut self, meter: &M, seen: u32) -> bool {
        const BOTH: u32 = state::RELEASED | state::SENT_LAST;
        let lock = &raw mut self.lock;
        meter.locked(lock, || {
            self.state |= seen;
            let first = self.state & (BOTH | state::COUNTED_OUT) == BOTH;
            if first {
                self.state |= state::COUNTED_OUT;
            }
            first
        })
    }

    /// Aborts all requests in flight except the newest one, if the responses cannot be told apart: the newest request
    /// stands for the whole connection, or it arrived while the end of the response before it could not be found.
    /// Called by egress, because only egress ends requests.
    #[inline(always)]
    pub fn abort_older<M: Meter>(&mut self, meter: &mut M) {
        let is_lost = self.is_response_lost() && self.is_response_awaited();
        if (self.is(state::TUNNEL | state::OPAQUE) || is_lost) && self.open() > 1 {
            let now = meter.now();
            let (index, count) = (self.ended, self.open() - 1);
            self.ended = index.wrapping_add(count);
            self.abort(meter, index, count, now);
        }
    }

    /// Ends all requests in flight, because the server has sent its last byte or the connection has closed. `way` says
    /// how the oldest request ends, unless the connection is opaque. All other requests are aborted.
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
        // Taking the lock is a memory barrier: if another CPU has started a request and has not seen `CLOSED`, the
        // start is visible here.
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
        if self.excluded & (1u64 << (index % MARK_BITS)) == 0 {
            let way = if was & state::OPAQUE != 0 {
                ended::OPAQUE
            } else {
                way
            };
            self.account(meter, index, open, way, now);
        }
        self.abort(meter, index.wrapping_add(1), open - 1, now);
    }

    /// Counts `count` requests from `index` on as aborted, with one call of the meter.
    #[inline(always)]
    fn abort<M: Meter>(&mut self, meter: &mut M, index: u32, count: u32, now: u64) {
        if count == 0 {
            return;
        }
        // Excluded requests have been removed from the counts already, so they do not count as aborted. Each set bit
        // belongs to one request: a bit that two requests share is never set.
        let marked = if count < MARK_BITS { count } else { MARK_BITS };
        let ending = (u64::MAX >> ((MARK_BITS - marked) & 63)).rotate_left(index % MARK_BITS);
        let excluded = latency::count_ones(self.excluded & ending);
        meter.end(ended::ABORTED, u64::from(count) - excluded, now);
    }
}
