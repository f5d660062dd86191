//! Ingress serialisation: one CPU at a time reads the data of a client.
//!
//! The kernel runs the programs for an arriving segment before it locks the socket. So two CPUs may get two segments of
//! one connection at once: this happens on loopback, and between pods of one node. A parser has to read the segments
//! one at a time. A CPU that arrives while another one is reading stores its segment in the out-of-order buffer (see
//! [`crate::out_of_order`]). A CPU enters before it handles a segment, and leaves after it has handled the segment. The
//! CPU that leaves last checks whether the buffer has a segment that no CPU has looked at yet.
//!
//! A stored segment should be read before TCP accepts it. Otherwise the response may leave before its request is read.
//! So a CPU that has stored a segment waits some microseconds ([`PATIENCE`]) for the reading CPU before it leaves.
//!
//! To enter takes one atomic add, and to leave takes another one. Each add is a barrier. If two CPUs leave at once, the
//! later one sees that no CPU remains, and sees all segments that were stored before. If two CPUs enter at once,
//! neither may read, and both store their segments.

use crate::{
    packet::Meter,
    window::{forget, set},
};

/// Maximum number of checks in [`Turn::wait`], where a CPU that has stored a segment waits for the CPU that is reading
/// the connection. All checks together take some microseconds: enough time for the other CPU to read a packet.
pub const PATIENCE: u32 = 2000;

/// The ingress serialisation of one connection.
#[repr(C)]
#[derive(Debug)]
pub struct Turn {
    /// Number of CPUs that are handling a segment of this connection.
    here: u32,
    /// A counter whose value has no meaning: the atomic add to it is used as a barrier.
    looked: u32,
    /// 1 if the out-of-order buffer holds segments.
    kept: u32,
    /// 1 if a segment has been stored since a CPU last looked at the buffer.
    news: u32,
    /// 1 if a segment could not be stored, or the programs never saw it: the bytes after this segment cannot be read.
    lost: u32,
    /// Explicit padding, which keeps the next field of the connection aligned.
    reserved: u32,
}

impl Turn {
    /// The state in which no CPU has entered, and no segment is stored.
    pub const FREE: Self = Self {
        here: 0,
        looked: 0,
        kept: 0,
        news: 0,
        lost: 0,
        reserved: 0,
    };

    /// Records that this CPU begins to handle a segment. Returns `false` if another CPU is handling a segment: this CPU
    /// must not read. The caller must call [`Self::leave`] in both cases.
    #[inline(always)]
    pub fn enter<M: Meter>(&mut self, meter: &M) -> bool {
        meter.add(&raw mut self.here, 1);
        forget(&self.here) == 1
    }

    /// Waits until all other CPUs have finished their segments, or until [`PATIENCE`] checks have been made.
    #[inline(always)]
    pub fn wait(&self) {
        for _ in 0..PATIENCE {
            if forget(&self.here) <= 1 {
                break;
            }
        }
    }

    /// Records that this CPU has finished its segment. Returns `true` if the buffer has a segment that no CPU has
    /// looked at, and no other CPU is handling a segment.
    #[inline(always)]
    pub fn leave<M: Meter>(&mut self, meter: &M) -> bool {
        meter.add(&raw mut self.here, u32::MAX);
        forget(&self.news) != 0 && forget(&self.here) == 0
    }

    /// Records that a segment has been stored.
    #[inline(always)]
    pub fn put_aside(&mut self) {
        set(&mut self.kept, 1);
        set(&mut self.news, 1);
    }

    /// Records that a segment is lost: it could not be stored, or the programs never saw it. The parsers cannot read
    /// the bytes after a lost segment.
    #[inline(always)]
    pub fn lose(&mut self) {
        set(&mut self.lost, 1);
        set(&mut self.news, 1);
    }

    /// Returns whether the out-of-order buffer holds segments.
    #[inline(always)]
    pub fn has_kept(&self) -> bool {
        forget(&self.kept) != 0
    }

    /// Returns whether [`Self::lose`] has recorded that a segment is lost.
    #[inline(always)]
    pub fn has_lost(&self) -> bool {
        forget(&self.lost) != 0
    }

    /// Prepares to read the stored segments, and must be called first: all segments that were stored before this call
    /// are visible after it.
    #[inline(always)]
    pub fn look<M: Meter>(&mut self, meter: &M) {
        set(&mut self.news, 0);
        meter.add(&raw mut self.looked, 1);
    }

    /// Records that the out-of-order buffer is empty. `is_so` checks after a barrier that the buffer is still empty,
    /// because another CPU may just have stored a segment.
    #[inline(always)]
    pub fn keeps_nothing<M: Meter>(&mut self, meter: &M, is_so: impl FnOnce() -> bool) {
        set(&mut self.kept, 0);
        meter.add(&raw mut self.looked, 1);
        if !is_so() {
            set(&mut self.kept, 1);
        }
    }
}
