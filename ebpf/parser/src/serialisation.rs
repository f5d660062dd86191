//! Ingress serialisation: one CPU at a time reads the data of a client.
//!
//! The kernel runs the programs for an arriving segment before it locks the socket. So two CPUs may get two segments of
//! one connection at once: this happens on loopback, and between pods of one node. A parser has to read the segments
//! one at a time. So each CPU calls [`IngressSerialisation::enter`] before it handles a segment, and
//! [`IngressSerialisation::leave`] after it has handled the segment. If another CPU has entered already, the segment is
//! not read, but stored in the out-of-order buffer (see [`crate::out_of_order`]). The CPU that leaves last checks
//! whether the buffer has a segment that no CPU has looked at yet.
//!
//! A stored segment should be read before TCP accepts it. Otherwise the response may leave before its request is read.
//! So a CPU that has stored a segment waits some microseconds ([`PATIENCE`]) for the reading CPU before it leaves.
//!
//! To enter takes one atomic add, and to leave takes another one. Each add is a memory barrier. If two CPUs leave at
//! once, the later one sees that no other CPU is left, and sees all segments that were stored before. If two CPUs enter
//! at once, neither may read, and both store their segments.

use crate::{
    packet::Meter,
    window::{set, widen},
};

/// Maximum number of checks in [`IngressSerialisation::wait`], where a CPU that has stored a segment waits for the CPU
/// that is reading the connection. All checks together take some microseconds: enough time for the other CPU to read a
/// packet.
pub const PATIENCE: u32 = 2000;

/// State of the ingress serialisation of one connection.
#[repr(C)]
#[derive(Debug)]
pub struct IngressSerialisation {
    /// Number of CPUs that are handling a segment of this connection.
    cpus: u32,
    /// A counter whose value has no meaning: the atomic add to it is used as a barrier.
    barrier: u32,
    /// 1 if the out-of-order buffer holds segments.
    buffered: u32,
    /// 1 if a segment has been stored since a CPU last began to read the buffer.
    new_segments: u32,
    /// 1 if a segment could not be stored, or the programs never saw it: the bytes after this segment cannot be read.
    lost: u32,
    /// Explicit padding, which keeps the next field of the connection aligned.
    reserved: u32,
}

impl IngressSerialisation {
    /// No CPU is handling a segment of the connection, and no segment is stored.
    pub const FREE: Self = Self {
        cpus: 0,
        barrier: 0,
        buffered: 0,
        new_segments: 0,
        lost: 0,
        reserved: 0,
    };

    /// Records that this CPU begins to handle a segment. Returns `false` if another CPU is handling a segment: this CPU
    /// must not read. The caller must call [`Self::leave`] in both cases.
    #[inline(always)]
    pub fn enter<M: Meter>(&mut self, meter: &M) -> bool {
        meter.add(&raw mut self.cpus, 1);
        widen(&self.cpus) == 1
    }

    /// Waits until all other CPUs have finished their segments, or until [`PATIENCE`] checks have been made.
    #[inline(always)]
    pub fn wait(&self) {
        for _ in 0..PATIENCE {
            if widen(&self.cpus) <= 1 {
                break;
            }
        }
    }

    /// Records that this CPU has finished its segment. Returns `true` if the buffer has a segment that no CPU has
    /// looked at, and no other CPU is handling a segment.
    #[inline(always)]
    pub fn leave<M: Meter>(&mut self, meter: &M) -> bool {
        meter.add(&raw mut self.cpus, u32::MAX);
        widen(&self.new_segments) != 0 && widen(&self.cpus) == 0
    }

    /// Records that a segment has been stored.
    #[inline(always)]
    pub fn record_buffered(&mut self) {
        set(&mut self.buffered, 1);
        set(&mut self.new_segments, 1);
    }

    /// Records that a segment is lost: it could not be stored, or the programs never saw it. The parsers cannot read
    /// the bytes after a lost segment.
    #[inline(always)]
    pub fn lose(&mut self) {
        set(&mut self.lost, 1);
        set(&mut self.new_segments, 1);
    }

    /// Records that reading has resumed after a lost segment.
    #[inline(always)]
    pub fn regain(&mut self) {
        set(&mut self.lost, 0);
    }

    /// Returns whether the out-of-order buffer holds segments.
    #[inline(always)]
    pub fn has_buffered(&self) -> bool {
        widen(&self.buffered) != 0
    }

    /// Returns whether [`Self::lose`] has recorded that a segment is lost.
    #[inline(always)]
    pub fn has_lost(&self) -> bool {
        widen(&self.lost) != 0
    }

    /// Prepares to read the stored segments. Must be called before they are read: then all segments that were stored
    /// before this call are visible.
    #[inline(always)]
    pub fn begin_reading<M: Meter>(&mut self, meter: &M) {
        set(&mut self.new_segments, 0);
        meter.add(&raw mut self.barrier, 1);
    }

    /// Records that the out-of-order buffer is empty. Another CPU may just have stored a segment, so `is_empty` then
    /// checks, after a memory barrier, whether the buffer is still empty.
    #[inline(always)]
    pub fn record_empty<M: Meter>(&mut self, meter: &M, is_empty: impl FnOnce() -> bool) {
        set(&mut self.buffered, 0);
        meter.add(&raw mut self.barrier, 1);
        if !is_empty() {
            set(&mut self.buffered, 1);
        }
    }
}
