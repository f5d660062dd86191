//! Whose turn it is to read what a client sends.
//!
//! The kernel shows an arriving segment before it locks the socket, so two CPUs may show two segments of one connection
//! at once: on loopback and between pods of one node they do. A parser has to read them one at a time. Whoever comes
//! while another one reads puts its segment aside (see [`crate::stash`]), and whoever leaves last looks whether something
//! has been put aside that nobody has looked at yet.
//!
//! What is put aside while another one reads should be read before TCP has it, or the answer may leave first. So whoever
//! has put something aside waits for the other one a moment, [`PATIENCE`], before it goes.
//!
//! It takes an atomic add to come and one to leave, which each are a barrier. Of two that leave at once, the later one
//! sees that nobody is left, and all that was put aside before. If two come at once, neither may read; both put aside.

use crate::{
    packet::Meter,
    window::{forget, set},
};

/// Looks that are had whether the other one is gone: some microseconds, in which a packet is read.
pub const PATIENCE: u32 = 2000;

/// A connection's way in, as those see it that want to read there.
#[repr(C)]
#[derive(Debug)]
pub struct Turn {
    /// How many are here.
    here: u32,
    /// Counts up; what matters is the barrier that an atomic add is.
    looked: u32,
    /// 1 where segments are put aside.
    kept: u32,
    /// 1 where something was put aside since somebody last looked.
    news: u32,
    /// 1 where a segment could not be put aside, or was never shown: what follows it cannot be read.
    lost: u32,
    /// Keeps what follows where it is aligned.
    reserved: u32,
}

impl Turn {
    /// Nobody is here, and nothing is put aside.
    pub const FREE: Self = Self {
        here: 0,
        looked: 0,
        kept: 0,
        news: 0,
        lost: 0,
        reserved: 0,
    };

    /// Comes to read. `false` if somebody else is here. [`Self::leave`] follows in either case.
    #[inline(always)]
    pub fn enter<M: Meter>(&mut self, meter: &M) -> bool {
        meter.add(&raw mut self.here, 1);
        forget(&self.here) == 1
    }

    /// Waits a moment for whoever else is here.
    #[inline(always)]
    pub fn wait(&self) {
        for _ in 0..PATIENCE {
            if forget(&self.here) <= 1 {
                break;
            }
        }
    }

    /// Leaves. `true` if something is put aside that nobody has looked at, and nobody is here to do so.
    #[inline(always)]
    pub fn leave<M: Meter>(&mut self, meter: &M) -> bool {
        meter.add(&raw mut self.here, u32::MAX);
        forget(&self.news) != 0 && forget(&self.here) == 0
    }

    /// Says that a segment has been put aside.
    #[inline(always)]
    pub fn put_aside(&mut self) {
        set(&mut self.kept, 1);
        set(&mut self.news, 1);
    }

    /// Says that a segment is not there to be read.
    #[inline(always)]
    pub fn lose(&mut self) {
        set(&mut self.lost, 1);
        set(&mut self.news, 1);
    }

    /// Whether segments are put aside.
    #[inline(always)]
    pub fn has_kept(&self) -> bool {
        forget(&self.kept) != 0
    }

    /// Whether a segment is not there to be read.
    #[inline(always)]
    pub fn has_lost(&self) -> bool {
        forget(&self.lost) != 0
    }

    /// Begins to look at what is put aside: all that was before this is seen after it.
    #[inline(always)]
    pub fn look<M: Meter>(&mut self, meter: &M) {
        set(&mut self.news, 0);
        meter.add(&raw mut self.looked, 1);
    }

    /// Nothing seems to be put aside any longer; `is_so` looks once more.
    #[inline(always)]
    pub fn keeps_nothing<M: Meter>(&mut self, meter: &M, is_so: impl FnOnce() -> bool) {
        set(&mut self.kept, 0);
        meter.add(&raw mut self.looked, 1);
        if !is_so() {
            set(&mut self.kept, 1);
        }
    }
}
