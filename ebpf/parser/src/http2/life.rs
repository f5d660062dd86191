//! The life of an HTTP/2 connection: the streams that begin, and how each one ends.
//!
//! Ingress begins streams, and removes some of them from the count: probes, and streams that the client resets. Egress
//! ends streams. Close ends all remaining streams. These programs run at the same time on several CPUs. In the usual
//! case, a stream begins and ends without a lock. Each change has three steps: a program records the change in the
//! connection; then it passes a memory barrier (an atomic add); then it checks whether another CPU has recorded a
//! conflicting change. So of two CPUs that record conflicting changes, at least one sees the other's record, and
//! resolves the conflict under [`Lock`]. The changes are:
//! - A stream begins. This is recorded in `begun`. If another CPU closes the connection or makes it opaque at the same
//!   time, exactly one of the two CPUs counts the stream as aborted.
//! - A stream ends. This is recorded in `ending` and `ended`. If another CPU closes the connection or makes it opaque
//!   at the same time, either that CPU counts the stream as aborted, or this CPU counts the end as usual.
//! - A stream is removed from the count. This is recorded in `taking`. If the stream ends at the same time, its end is
//!   counted as usual.

#[cfg(test)]
mod beside;

use core::mem::offset_of;

use ebb_abi::{Exclusion, MAX_EXCLUDED_PATH, ended, event, latency};

use super::{
    POSTPONED, Streams, Way,
    overflow::{OVERFLOW_STREAMS, Overflow},
    streams::{Note, STREAMS, StreamPlace},
};
use crate::{
    conn::{Lock, begins_a_line},
    direction::{Side, flag},
    packet::{Gauge, Meter, between},
    window::{in_order, set, widen},
};

/// Closed: nothing more is counted.
pub(super) const CLOSED: u32 = 1;

/// Opaque (cannot be read): the connection itself counts as one request in flight until it closes.
pub(super) const OPAQUE: u32 = 1 << 1;

/// The connection is closed or opaque, and one CPU has counted all streams that were in flight as aborted.
const STREAMS_ABORTED: u32 = 1 << 2;

/// Attached mid-stream, and no stream can be recognised yet: the connection itself counts as one request in flight
/// (see [`super::attach`]).
pub(super) const ATTACHING: u32 = 1 << 3;

/// Value for a stream that was reset, used instead of a status class.
pub(super) const RESET: u8 = u8::MAX;

/// One HTTP/2 connection, in a separate socket storage that HTTP/1 connections do not have.
///
/// The fields are grouped by the program that writes them, so that CPUs rarely wait for each other's cache lines (see
/// [`crate::conn::Conn`]).
#[repr(C)]
#[derive(Debug)]
pub struct Http2 {
    /// Guards `state`, `aborted_begun`, `aborted_ended`, `taken` and the notes of the streams in `streams`.
    pub lock: Lock,
    /// The pod slot.
    pub slot: u32,
    pub(super) state: u32,
    /// Identifier of the stream that ingress is removing from the count at the moment; 0: none.
    taking: u32,
    /// Value of `begun` when [`STREAMS_ABORTED`] was set: streams that began later have not been counted as aborted.
    aborted_begun: u32,
    /// Value of `ended` when [`STREAMS_ABORTED`] was set.
    aborted_ended: u32,
    /// 1 if the connection has become opaque, and `has_become_opaque` has not reported this yet.
    became_opaque: u32,
    /// Number of the overflow table of the connection, plus 1; 0: it has none. Written by ingress, and by close.
    overflow: u32,
    /// Number of the connection's claim to the overflow table.
    overflow_generation: u32,
    /// Number of streams in the overflow table.
    overflowing: u32,
    /// The lowest stream identifier that the server has refused with GOAWAY (its last stream identifier plus 1); 0: the
    /// server has sent no GOAWAY. Written by egress.
    refused_from: u32,
    /// 1 if the server has refused streams that may be in flight, and [`Self::refuses`] has not reported this yet.
    refused: u32,
    reserved: [u32; 2],

    /// Identifier of the client's newest stream.
    newest: u32,
    /// Number of streams begun.
    begun: u32,
    /// Number of streams that ingress has removed from the count, because they are excluded or the client has reset
    /// them.
    taken: u32,
    /// A counter whose value has no meaning: the atomic add to it is used as a barrier.
    looked_in: u32,
    /// The parser's state for the data from the client.
    pub requests: Way,
    /// Key for the lookup of an excluded path. The path of the request is copied to this key.
    pub exclusion: Exclusion,
    /// Identifier of the stream that waits for a place in the overflow table; 0: none.
    waiting: u32,
    reserved_in: [u32; 9],

    /// Identifier of the stream that is ending; 0: none.
    ending: u32,
    /// Number of streams ended by egress, including the one that is ending.
    ended: u32,
    /// A counter whose value has no meaning: the atomic add to it is used as a barrier.
    looked_out: u32,
    /// Identifier of the stream whose response head was read last; 0 once the stream has ended.
    answered: u32,
    /// Status class of the stream in `answered`. The class is copied to `streams`, which takes the lock, only if the
    /// head of another response is read before this stream ends. Most streams end earlier.
    class: u32,
    /// Value of `newest` that egress has read last.
    known: u32,
    /// The parser's state for the data to the client.
    pub responses: Way,
    reserved_both: [u32; 4],

    /// The streams in flight.
    streams: Streams,
}

const _: () = assert!(
    begins_a_line(offset_of!(Http2, newest))
        && begins_a_line(offset_of!(Http2, ending))
        && begins_a_line(offset_of!(Http2, streams))
);

impl Http2 {
    /// A connection without a pod and without traffic: all zeros, as the kernel creates socket storage.
    pub const ZERO: Self = Self {
        lock: Lock { val: 0 },
        slot: 0,
        state: 0,
        taking: 0,
        aborted_begun: 0,
        aborted_ended: 0,
        became_opaque: 0,
        overflow: 0,
        overflow_generation: 0,
        overflowing: 0,
        refused_from: 0,
        refused: 0,
        reserved: [0; 2],
        newest: 0,
        begun: 0,
        taken: 0,
        looked_in: 0,
        requests: Way::ZERO,
        exclusion: Exclusion {
            slot: 0,
            path: [0; MAX_EXCLUDED_PATH / 8],
        },
        waiting: 0,
        reserved_in: [0; 9],
        ending: 0,
        ended: 0,
        looked_out: 0,
        answered: 0,
        class: 0,
        known: 0,
        responses: Way::ZERO,
        reserved_both: [0; 4],
        streams: Streams::NONE,
    };

    /// Returns whether the parsers still read the connection: it is neither closed nor opaque. The state is read from
    /// memory, because another CPU may just have changed it.
    #[inline(always)]
    pub fn is_read(&self) -> bool {
        widen(&self.state) & (CLOSED | OPAQUE) == 0
    }

    /// Assigns a zeroed connection to a pod.
    #[inline(always)]
    pub fn belong_to(&mut self, slot: u32) {
        self.slot = slot;
    }

    /// Returns the number of streams in flight, without those that have been removed from the count.
    #[inline(always)]
    fn open(&self) -> u32 {
        widen(&self.begun)
            .wrapping_sub(widen(&self.ended))
            .wrapping_sub(self.taken)
    }

    /// Adds an HTTP/1 request in flight that has been upgraded: the request becomes stream 1 (RFC 7540, 3.2). The
    /// client begins no other stream before it has received the server's grant of the upgrade.
    #[inline(always)]
    pub fn adopt<M: Meter>(&mut self, meter: &mut M, since: u64, excluded: bool) {
        self.newest = 1;
        if let Some(place) = self.streams.free(1) {
            let note = Note::new(since, excluded);
            self.streams.put(Overflow::NONE, place, 1, note);
            if !excluded {
                self.begun = self.begun.wrapping_add(1);
                meter.gauge(Gauge::Http2, 1);
            }
        }
    }

    /// Handles the beginning of a head: starts a request if the stream is new. Called by ingress.
    #[inline(always)]
    pub(super) fn begin<M: Meter>(&mut self, meter: &mut M, id: u32) {
        if id & 1 == 0 || id <= self.newest {
            return;
        }
        self.newest = id;
        let Some(place) = self.streams.free(id) else {
            self.waiting = id;
            self.requests.direction.flags |= POSTPONED;
            return;
        };
        self.start(meter, Overflow::NONE, place, id);
        // The server can refuse streams on another CPU at the same time. Egress records this before it ends the streams
        // that are in the tables; the start above is in a table before the record is read here.
        if self.is_refused(id) {
            self.requests.direction.flags |= POSTPONED;
        }
    }

    /// Starts a stream in a place that is free. No other CPU stores streams of this connection at the same time. Called
    /// by ingress.
    #[inline(always)]
    fn start<M: Meter>(&mut self, meter: &mut M, overflow: Overflow, place: StreamPlace, id: u32) {
        let now = self.requests.now(meter);
        self.streams.put(overflow, place, id, Note::new(now, false));
        let begun = self.begun.wrapping_add(1);
        set(&mut self.begun, begun);
        // The first atomic add is also a memory barrier: the stream is recorded in `begun` before it, and the
        // connection's state is checked after it.
        meter.start(1, now);
        meter.gauge(Gauge::Http2, 1);
        if !self.is_read() {
            self.begun_too_late(meter, now);
        }
    }

    /// Does what is rarely needed when a stream begins: puts the stream into the overflow table if the connection's own
    /// table has no place, and ends the stream if the server has refused it. Called by ingress.
    #[inline(always)]
    pub(super) fn begin_postponed<M: Meter>(&mut self, meter: &mut M) {
        let waiting = self.waiting;
        if waiting != 0 {
            self.waiting = 0;
            if self.overflow == 0
                && let Some(claim) = meter.claim_overflow(self.slot)
            {
                self.overflow_generation = claim.generation;
                in_order();
                set(&mut self.overflow, claim.index + 1);
            }
            let overflow = self.overflow(meter);
            let Some(place) = overflow.free(waiting) else {
                self.requests.direction.flags |= flag::UNREADABLE;
                return;
            };
            meter.add(&raw mut self.overflowing, 1);
            self.start(meter, overflow, place, waiting);
        }
        if self.is_refused(self.newest) {
            self.reset(meter, self.newest);
        }
    }

    /// Returns whether the connection has an overflow table: then only programs with the code for overflow tables can
    /// read it.
    #[inline(always)]
    pub fn has_overflow(&self) -> bool {
        widen(&self.overflow) != 0
    }

    /// Returns whether something is left to do that needs the code for overflow tables: see [`Self::begin_postponed`].
    #[inline(always)]
    pub fn needs_overflow(&self) -> bool {
        self.requests.direction.has(POSTPONED)
    }

    /// Returns the overflow table of the connection.
    #[inline(always)]
    fn overflow<M: Meter>(&self, meter: &M) -> Overflow {
        if !M::HAS_OVERFLOW {
            return Overflow::NONE;
        }
        match widen(&self.overflow).checked_sub(1) {
            Some(index) => Overflow::new(meter.overflow(index), widen(&self.overflow_generation)),
            None => Overflow::NONE,
        }
    }

    /// Frees the overflow table, if no stream is left in it. Called by ingress, before it reads a packet: only ingress
    /// puts streams into the table.
    #[inline(always)]
    pub fn free_empty_overflow<M: Meter>(&mut self, meter: &M) {
        if widen(&self.overflowing) == 0 {
            self.free_overflow(meter);
        }
    }

    #[inline(always)]
    fn free_overflow<M: Meter>(&mut self, meter: &M) {
        if let Some(index) = widen(&self.overflow).checked_sub(1) {
            set(&mut self.overflow, 0);
            meter.release_overflow(index);
        }
    }

    /// Records that the server has refused all streams above `last` (GOAWAY). Called by egress.
    #[inline(always)]
    pub(super) fn refuse_above(&mut self, last: u32) {
        let from = last + 1;
        let before = self.refused_from;
        if before == 0 || from < before {
            set(&mut self.refused_from, from);
            self.refused = 1;
        }
    }

    /// Returns whether the server has refused a stream.
    #[inline(always)]
    fn is_refused(&self, id: u32) -> bool {
        // 0 becomes the greatest number: no stream is refused.
        id > widen(&self.refused_from).wrapping_sub(1)
    }

    /// Returns whether [`Self::end_refused`] must be called, because the server has refused streams since the last call
    /// of this function. Called by egress.
    #[inline(always)]
    pub fn refuses<M: Meter>(&mut self, meter: &M) -> bool {
        if widen(&self.refused) == 0 {
            return false;
        }
        self.refused = 0;
        // A barrier: `refused_from` is written before it, and the streams in flight are read after it.
        meter.add(&raw mut self.looked_out, 1);
        // Many servers announce the end of a connection with a GOAWAY that refuses no stream.
        self.is_refused(widen(&self.newest))
    }

    /// Returns the number of places in which there can be streams.
    #[inline(always)]
    pub fn places(&self) -> usize {
        let overflow = if self.has_overflow() {
            OVERFLOW_STREAMS
        } else {
            0
        };
        STREAMS + overflow
    }

    /// Ends the stream in a place (`0 .. places()`), if there is one that the server has refused. Called by egress.
    #[inline(always)]
    pub fn end_refused<M: Meter>(&mut self, meter: &mut M, place: usize) {
        let overflow = self.overflow(meter);
        let id = self.streams.id(overflow, StreamPlace::at(place));
        if self.is_refused(id) {
            self.end(meter, id, RESET);
        }
    }

    /// Ends the newest stream of the connection's own table, if the server has refused it. Returns whether there was
    /// one. Called by egress.
    #[inline(always)]
    pub fn end_newest_refused<M: Meter>(&mut self, meter: &mut M) -> bool {
        let id = self.streams.newest();
        let is_refused = self.is_refused(id);
        if is_refused {
            self.end(meter, id, RESET);
        }
        is_refused
    }

    /// Removes a stream from its table.
    #[inline(always)]
    fn remove<M: Meter>(&mut self, meter: &M, overflow: Overflow, place: StreamPlace) {
        self.streams.remove(overflow, place);
        if place.in_overflow(overflow).is_some() {
            // This is last: the table can be freed from here on.
            meter.add(&raw mut self.overflowing, u32::MAX);
        }
    }

    /// Handles a stream that began while the connection was being closed or made opaque. If the other CPU has not
    /// counted the stream as aborted, this function does.
    #[inline(always)]
    fn begun_too_late<M: Meter>(&mut self, meter: &mut M, now: u64) {
        let lock = &raw mut self.lock;
        let unseen = meter.locked(lock, || {
            let unseen = self.state & STREAMS_ABORTED != 0 && self.aborted_begun != self.begun;
            if unseen {
                self.aborted_begun = self.begun;
            }
            unseen
        });
        if unseen {
            count_out(meter, 1, now);
        }
    }

    /// Ends a stream. `class` is its status class, or [`RESET`]. If `class` is 0, the status class is that of the
    /// response head that was read before. Called by egress.
    #[inline(always)]
    pub(super) fn end<M: Meter>(&mut self, meter: &mut M, id: u32, class: u8) {
        let overflow = self.overflow(meter);
        let Some(place) = self.streams.find(overflow, id) else {
            return;
        };
        set(&mut self.ending, id);
        let ended = self.ended.wrapping_add(1);
        set(&mut self.ended, ended);
        meter.add(&raw mut self.looked_out, 1);
        // `taking` must be read before `streams`: a CPU that removes a stream from the count changes `streams`, and
        // only then clears `taking`.
        let alone = widen(&self.taking) == 0 && self.is_read();
        let note = self.streams.note(overflow, place);
        let noted = if alone && self.streams.is_at(overflow, place, id) && !note.is_excluded() {
            self.remove(meter, overflow, place);
            Some(note)
        } else {
            self.ends_beside_others(meter, overflow, id)
        };
        set(&mut self.ending, 0);
        let Some(noted) = noted else {
            return;
        };
        let now = self.responses.now(meter);
        // Whether a response of a refused stream is in the same packet as the GOAWAY must make no difference.
        let class = if self.is_refused(id) { RESET } else { class };
        let way = match class {
            0 if widen(&self.answered) == id => {
                self.answered = 0;
                self.class as usize
            }
            0 => noted.class(),
            RESET => ended::ABORTED,
            class => usize::from(class),
        };
        meter.gauge(Gauge::Http2, u64::MAX);
        meter.latency(latency::bucket(between(noted.since(), now)));
        meter.end(way, 1, now);
    }

    /// Handles the end of a stream while another CPU changes the connection. Returns the [`Note`] of the stream if the
    /// caller must count its end, or `None` if the caller must not count it.
    #[inline(always)]
    fn ends_beside_others<M: Meter>(
        &mut self,
        meter: &mut M,
        overflow: Overflow,
        id: u32,
    ) -> Option<Note> {
        let lock = &raw mut self.lock;
        meter.lock(lock);
        let (noted, missed) = self.end_under_lock(meter, overflow, id);
        meter.unlock(lock);
        if missed {
            let now = self.responses.now(meter);
            count_out(meter, 1, now);
        }
        noted
    }

    /// Removes a stream that ends. Returns its [`Note`] if the caller must count its end, and whether one stream too
    /// few was counted as aborted. The caller holds the lock.
    #[inline(always)]
    fn end_under_lock<M: Meter>(
        &mut self,
        meter: &M,
        overflow: Overflow,
        id: u32,
    ) -> (Option<Note>, bool) {
        let aborted = self.state & STREAMS_ABORTED != 0;
        let seen = self.aborted_ended == self.ended;
        let place = self.streams.find(overflow, id);
        let noted = place.map(|place| self.streams.note(overflow, place));
        if let Some(place) = place {
            self.remove(meter, overflow, place);
        }
        let noted = noted.filter(|note| !note.is_excluded());
        match (aborted, noted) {
            // The CPU that aborted the streams has counted this stream as aborted.
            (true, _) if !seen => (None, false),
            // The CPU that aborted the streams has not counted this stream as aborted, because `ended` already
            // included it. But ingress had also removed the stream from the count, so the stream was subtracted
            // twice. One stream too few was counted as aborted.
            (true, None) => (None, true),
            (false, None) => {
                self.ended = self.ended.wrapping_sub(1);
                (None, false)
            }
            (_, noted) => (noted, false),
        }
    }

    /// Records that the head of a response has been read. An interim response (1xx), a head without a status (trailers)
    /// and a response without a request change nothing.
    #[inline(always)]
    pub(super) fn answered<M: Meter>(&mut self, meter: &mut M, id: u32, class: u8) {
        if class < 2 || !self.has_begun(id) {
            return;
        }
        let before = widen(&self.answered);
        if before != 0 && before != id {
            let overflow = self.overflow(meter);
            let lock = &raw mut self.lock;
            meter.lock(lock);
            if let Some(place) = self.streams.find(overflow, before) {
                self.streams.answered(overflow, place, self.class as u8);
            }
            meter.unlock(lock);
        }
        self.answered = id;
        self.class = u32::from(class);
    }

    /// Returns whether the client has begun this stream. Called by egress. Reads `newest` only if `id` is greater than
    /// all known identifiers, because ingress writes to the cache line of `newest`.
    #[inline(always)]
    fn has_begun(&mut self, id: u32) -> bool {
        if id > self.known {
            self.known = widen(&self.newest);
        }
        id <= widen(&self.known)
    }

    /// Ends a stream that the client has reset. Called by ingress.
    #[inline(always)]
    pub(super) fn reset<M: Meter>(&mut self, meter: &mut M, id: u32) {
        let taken = self.take(meter, id, |http2, meter, overflow, place| {
            http2.remove(meter, overflow, place);
        });
        if let Some(note) = taken {
            let now = self.requests.now(meter);
            meter.latency(latency::bucket(between(note.since(), now)));
            meter.end(ended::ABORTED, 1, now);
        }
    }

    /// Excludes a request: removes it from the count exactly, as if it had never arrived. Called by ingress.
    #[inline(always)]
    pub(super) fn exclude<M: Meter>(&mut self, meter: &mut M, id: u32) {
        let taken = self.take(meter, id, |http2, _, overflow, place| {
            http2.streams.exclude(overflow, place);
        });
        if let Some(note) = taken {
            meter.end(ended::EXCLUDED, 1, note.since());
        }
    }

    /// Removes a stream from the count, unless the stream is ending. Returns the [`Note`] of the stream if it was
    /// counted.
    #[inline(always)]
    fn take<M: Meter>(
        &mut self,
        meter: &mut M,
        id: u32,
        change: impl FnOnce(&mut Self, &M, Overflow, StreamPlace),
    ) -> Option<Note> {
        let overflow = self.overflow(meter);
        set(&mut self.taking, id);
        meter.add(&raw mut self.looked_in, 1);
        let taken = if widen(&self.ending) == id {
            None
        } else {
            let lock = &raw mut self.lock;
            meter.lock(lock);
            let taken = self.take_under_lock(meter, overflow, id, change);
            meter.unlock(lock);
            taken
        };
        set(&mut self.taking, 0);
        if taken.is_some() {
            meter.gauge(Gauge::Http2, u64::MAX);
        }
        taken
    }

    /// Removes a stream from the count. Returns its [`Note`] if it was counted. The caller holds the lock.
    #[inline(always)]
    fn take_under_lock<M: Meter>(
        &mut self,
        meter: &M,
        overflow: Overflow,
        id: u32,
        change: impl FnOnce(&mut Self, &M, Overflow, StreamPlace),
    ) -> Option<Note> {
        let place = self.streams.find(overflow, id)?;
        let note = self.streams.note(overflow, place);
        let counts = !note.is_excluded() && self.is_read();
        if counts || note.is_excluded() {
            change(self, meter, overflow, place);
        }
        if counts {
            self.taken = self.taken.wrapping_add(1);
        }
        counts.then_some(note)
    }

    /// Sets [`STREAMS_ABORTED`], and returns the number of streams in flight, which the caller counts as aborted. The
    /// caller holds the lock, and has passed a memory barrier since it changed `state`.
    #[inline(always)]
    fn abort_streams(&mut self) -> u64 {
        self.state |= STREAMS_ABORTED;
        self.aborted_begun = widen(&self.begun);
        self.aborted_ended = widen(&self.ended);
        let open = self
            .aborted_begun
            .wrapping_sub(self.aborted_ended)
            .wrapping_sub(self.taken);
        u64::from(open)
    }

    /// Makes the connection opaque, because this direction cannot be read: from then on, the connection itself counts
    /// as one request in flight. If only the server has sent data, this function only ends the HTTP/2 parsing: the
    /// HTTP/1 parser makes the connection opaque when the client sends data.
    #[inline(always)]
    pub fn become_opaque<M: Meter>(&mut self, side: Side, meter: &mut M) {
        let lock = &raw mut self.lock;
        let (first, begun) = meter.locked(lock, || {
            // While attaching, only the server's data is read, and the connection already counts as one request.
            let attaching = side == Side::Responses && self.state & ATTACHING != 0;
            let first = self.is_read() && !attaching;
            let begun = self.open() != 0 || self.requests.direction.flags != 0;
            if first || attaching {
                self.state |= if begun || attaching { OPAQUE } else { CLOSED };
            }
            (first, begun)
        });
        if !first {
            return;
        }
        // Taking the lock is a memory barrier: if another CPU has started or ended a stream and has not seen the new
        // `state`, the start or end is visible here.
        let lock = &raw mut self.lock;
        let open = meter.locked(lock, || self.abort_streams());
        let now = meter.now();
        if !begun {
            // The client may have begun streams after `begun` was computed above.
            count_out(meter, open, now);
            return;
        }
        if open == 0 {
            meter.start(1, now);
        } else {
            meter.gauge(Gauge::Http2, open.wrapping_neg());
            meter.end(ended::ABORTED, open - 1, now);
        }
        meter.gauge(Gauge::Opaque, 1);
        meter.note(event::UNREADABLE);
        self.became_opaque = 1;
    }

    /// Returns whether the connection has become opaque since the last call.
    #[inline(always)]
    pub fn has_become_opaque(&mut self) -> bool {
        let became = widen(&self.became_opaque) != 0;
        if became {
            self.became_opaque = 0;
        }
        became
    }

    /// Ends all streams in flight, or the opaque connection, because the connection has closed or the server has sent
    /// its last byte.
    #[inline(always)]
    pub fn finish<M: Meter>(&mut self, meter: &mut M) {
        let lock = &raw mut self.lock;
        let was = meter.locked(lock, || {
            let was = self.state;
            self.state |= CLOSED;
            was
        });
        if was & CLOSED != 0 {
            return;
        }
        self.free_overflow(meter);
        if was & (OPAQUE | ATTACHING) != 0 {
            let now = meter.now();
            meter.gauge(Gauge::Opaque, u64::MAX);
            meter.end(ended::OPAQUE, 1, now);
            return;
        }
        // Taking the lock is a memory barrier: if another CPU has started or ended a stream and has not seen `CLOSED`,
        // the start or end is visible here.
        let lock = &raw mut self.lock;
        let open = meter.locked(lock, || self.abort_streams());
        let now = meter.now();
        count_out(meter, open, now);
    }
}

/// Counts `open` streams as aborted, because their connection has been closed or made opaque.
#[inline(always)]
fn count_out<M: Meter>(meter: &mut M, open: u64, now: u64) {
    meter.gauge(Gauge::Http2, open.wrapping_neg());
    meter.end(ended::ABORTED, open, now);
}

/// Number of bytes that the kernel puts before a socket's storage (`struct bpf_local_storage_elem`), and some to spare.
const BEFORE: usize = 256;
const _: () = assert!(size_of::<Http2>() + BEFORE <= 8192);
