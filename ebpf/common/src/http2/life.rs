//! A connection's life: which streams begin, and how each one ends.
//!
//! Both directions and the closing change it, at the same time on several CPUs: what they share is
//! guarded by the lock.

use super::{Streams, Way};
use crate::{
    abi::{Exclusion, MAX_EXCLUDED_PATH, ended, event},
    conn::Lock,
    direction::{Side, flag},
    latency,
    packet::{Gauge, Meter},
    window::forget,
};

/// Closed: nothing more is counted.
const CLOSED: u32 = 1;

/// Not readable: in flight, as one, until it closes.
const OPAQUE: u32 = 1 << 1;

/// In place of a class of status: the stream was reset.
pub(super) const RESET: u8 = u8::MAX;

/// One HTTP/2 connection, in a storage of its socket that only such connections have.
#[repr(C)]
#[derive(Debug)]
pub struct Http2 {
    /// Guards `state`, `open` and `streams`.
    pub lock: Lock,
    /// The pod's index.
    pub slot: u32,
    state: u32,
    /// The client's newest stream.
    newest: u32,
    /// Streams in flight, those taken out of the count again left aside.
    open: u32,
    /// 1 when it has just become opaque.
    became_opaque: u32,
    /// Where the path of a request is cut out, to be looked up.
    pub exclusion: Exclusion,
    /// From the client.
    pub requests: Way,
    /// To the client.
    pub responses: Way,
    /// The stream whose response's head was read last, 0 once it has ended, and the class of its status. Most responses
    /// follow their heads at once: only of the others the class is noted in `streams`, which takes the lock.
    answered: u32,
    class: u32,
    streams: Streams,
}

impl Http2 {
    /// A connection without a pod and without traffic: all zeros, as the kernel makes socket storage.
    pub const ZERO: Self = Self {
        lock: Lock { val: 0 },
        slot: 0,
        state: 0,
        newest: 0,
        open: 0,
        became_opaque: 0,
        exclusion: Exclusion {
            slot: 0,
            path: [0; MAX_EXCLUDED_PATH / 8],
        },
        requests: Way::ZERO,
        responses: Way::ZERO,
        answered: 0,
        class: 0,
        streams: Streams::NONE,
    };

    /// Whether it is being read: neither closed nor opaque.
    #[inline(always)]
    pub fn is_read(&self) -> bool {
        self.state & (CLOSED | OPAQUE) == 0
    }

    /// Gives a zeroed connection to a pod.
    #[inline(always)]
    pub fn belong_to(&mut self, slot: u32) {
        self.slot = slot;
    }

    /// A request in flight on HTTP/1 has been upgraded: it is stream 1 from here (RFC 7540, 3.2).
    #[inline(always)]
    pub fn adopt<M: Meter>(&mut self, meter: &mut M, since: u64, excluded: bool) {
        self.newest = 1;
        if let Some(place) = self.streams.free(1) {
            self.streams.put(place, 1, since, excluded);
            if !excluded {
                self.open = self.open.wrapping_add(1);
                meter.gauge(Gauge::Http2, 1);
            }
        }
    }

    /// A head begins on this stream: a request's, if the stream is new.
    #[inline(always)]
    pub(super) fn begin<M: Meter>(&mut self, meter: &mut M, id: u32) {
        if id & 1 == 0 || id <= self.newest {
            return;
        }
        self.newest = id;
        let now = self.requests.now(meter);
        // Only here places are taken, so what is free now stays free.
        let Some(place) = self.streams.free(id) else {
            self.requests.direction.flags |= flag::UNREADABLE;
            return;
        };
        let lock = &raw mut self.lock;
        let counted = meter.locked(lock, || {
            let living = self.is_read();
            if living {
                self.streams.put(place, id, now, false);
                self.open = self.open.wrapping_add(1);
            }
            living
        });
        if counted {
            meter.start(1, now);
            meter.gauge(Gauge::Http2, 1);
        }
    }

    /// A stream ends. `class` is that of its status, or [`RESET`]; 0: what its head said.
    #[inline(always)]
    pub(super) fn end<M: Meter>(&mut self, side: Side, meter: &mut M, id: u32, class: u8) {
        let lock = &raw mut self.lock;
        let found = meter.locked(lock, || {
            let living = self.is_read();
            let place = self.streams.find(id)?;
            let stream = self.streams.at(place);
            self.streams.remove(place);
            if !living || stream.excluded {
                return None;
            }
            self.open = self.open.wrapping_sub(1);
            Some(stream)
        });
        let Some(found) = found else {
            return;
        };
        let now = self.way(side).now(meter);
        let way = match class {
            0 if side == Side::Responses && forget(&self.answered) == id => {
                self.answered = 0;
                self.class as usize
            }
            0 => usize::from(found.class),
            RESET => ended::ABORTED,
            class => usize::from(class),
        };
        meter.gauge(Gauge::Http2, u64::MAX);
        meter.latency(latency::bucket(latency::between(found.since, now)));
        meter.end(way, 1, now);
    }

    /// A response's head has been read. An interim one (1xx), one without a status (trailers)
    /// and one that nobody has asked for change nothing.
    #[inline(always)]
    pub(super) fn answered<M: Meter>(&mut self, meter: &mut M, id: u32, class: u8) {
        if class < 2 || id > forget(&self.newest) {
            return;
        }
        let before = forget(&self.answered);
        if before != 0 && before != id {
            let lock = &raw mut self.lock;
            meter.locked(lock, || {
                if let Some(place) = self.streams.find(before) {
                    self.streams.answered(place, self.class as u8);
                }
            });
        }
        self.answered = id;
        self.class = u32::from(class);
    }

    /// A request is to be taken out of the count, exactly, as if it had never come.
    #[inline(always)]
    pub(super) fn exclude<M: Meter>(&mut self, meter: &mut M, id: u32) {
        let lock = &raw mut self.lock;
        let since = meter.locked(lock, || {
            let living = self.is_read();
            let place = self.streams.find(id)?;
            let stream = self.streams.at(place);
            if !living || stream.excluded {
                return None;
            }
            self.streams.exclude(place);
            self.open = self.open.wrapping_sub(1);
            Some(stream.since)
        });
        if let Some(since) = since {
            meter.gauge(Gauge::Http2, u64::MAX);
            meter.end(ended::EXCLUDED, 1, since);
        }
    }

    /// What runs here cannot be read: from now on it is the connection that is in flight. If only the server has
    /// spoken so far, it is HTTP/1's to say so when the client does.
    #[inline(always)]
    pub(super) fn become_opaque<M: Meter>(&mut self, meter: &mut M) {
        let lock = &raw mut self.lock;
        let (counts, open) = meter.locked(lock, || {
            let open = self.open;
            let first = self.is_read();
            let begun = open != 0 || self.requests.direction.flags != 0;
            if first {
                self.state |= if begun { OPAQUE } else { CLOSED };
                self.open = 0;
            }
            (first && begun, u64::from(open))
        });
        if !counts {
            return;
        }
        let now = meter.now();
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

    /// Whether it has become opaque since this was last asked.
    #[inline(always)]
    pub fn has_become_opaque(&mut self) -> bool {
        let became = forget(&self.became_opaque) != 0;
        self.became_opaque = 0;
        became
    }

    /// Nothing more can be answered: the connection is gone, or the server has sent its last byte.
    #[inline(always)]
    pub fn finish<M: Meter>(&mut self, meter: &mut M) {
        let lock = &raw mut self.lock;
        let (state, open) = meter.locked(lock, || {
            let state = self.state;
            self.state |= CLOSED;
            (state, u64::from(self.open))
        });
        if state & CLOSED != 0 {
            return;
        }
        let now = meter.now();
        if state & OPAQUE != 0 {
            meter.gauge(Gauge::Opaque, u64::MAX);
            meter.end(ended::OPAQUE, 1, now);
        } else {
            meter.gauge(Gauge::Http2, open.wrapping_neg());
            meter.end(ended::ABORTED, open, now);
        }
    }
}

/// What the kernel puts before a socket's storage, and some to spare (`struct bpf_local_storage_elem`).
const BEFORE: usize = 256;
const _: () = assert!(size_of::<Http2>() + BEFORE <= 8192);
