//! What the kernel programs say on their own: that a pod's requests are many, and what rarely happens.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{Array, MapData, RingBuf};
use aya_log::EbpfLogger;
use ebb_common::abi::{EventCount, NO_SLOT, event};
use tracing_log::LogTracer;

use super::{Counter, PodId};
use crate::{
    CounterError,
    kernel::{Kernel, map_error},
};

/// How often each kind of a rare event has happened on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Connections that became opaque, because what came could not be read.
    pub unreadable: u64,
    /// Connections that were open before and became opaque, because where they stand could not be found out.
    pub not_joined: u64,
    /// Packets out of turn for which there was no room: their connections became opaque.
    pub no_room: u64,
    /// Packets out of order whose pod has its share of the out-of-order buffer: their connections became opaque.
    pub no_share: u64,
    /// Connections that became opaque, because TCP has taken bytes that the kernel programs were not shown.
    pub missed: u64,
    /// Connections that are not counted, because the kernel had no memory for them.
    pub no_storage: u64,
}

/// The pods whose requests have become as many as [`Counter::wake_at`] said. Readable when there is one:
/// made to be polled.
pub struct Wakes(RingBuf<MapData>);

impl Wakes {
    /// The next one; none if there is none yet. One that was detached meanwhile may be among them.
    pub fn next_pod(&mut self) -> Option<PodId> {
        loop {
            let record = self.0.next()?;
            let Some(slot) = record
                .first_chunk()
                .and_then(|slot| u32::try_from(u64::from_ne_bytes(*slot)).ok())
            else {
                continue;
            };
            if slot != NO_SLOT {
                return Some(PodId(slot));
            }
        }
    }
}

impl std::fmt::Debug for Wakes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Wakes").field(&self.as_fd()).finish()
    }
}

impl AsFd for Wakes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Wakes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What the kernel programs write for people: it goes where this process's own log goes.
pub(super) struct KernelLog(EbpfLogger<LogTracer>);

impl std::fmt::Debug for KernelLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KernelLog")
    }
}

impl KernelLog {
    pub(super) fn of(kernel: &mut Kernel) -> Result<Self, CounterError> {
        kernel.log(LogTracer::new()).map(Self)
    }
}

impl Counter {
    /// Has the kernel say so, once, through [`Self::wakes`], when a pod has `in_flight` requests in flight. It may say so
    /// earlier: requests that end meanwhile do not count against those that begin. Never later.
    pub fn wake_at(&self, pod: PodId, in_flight: u64) {
        if self.pods.contains_key(&pod) {
            self.counters.wake_at(pod.0, in_flight);
        }
    }

    /// Where the kernel says so. For one taker: the next gets none.
    ///
    /// # Errors
    /// If it has been taken.
    pub fn wakes(&mut self) -> Result<Wakes, CounterError> {
        self.kernel.ring_buffer("WAKES").map(Wakes)
    }

    /// How often what rarely happens has happened on this node since the programs were first loaded.
    ///
    /// # Errors
    /// If the kernel does not give the figures.
    pub fn events(&mut self) -> Result<Events, CounterError> {
        let map: Array<_, EventCount> = self.kernel.map("EVENTS")?;
        let count = |kind: usize| {
            map.get(&(kind as u32), 0)
                .map(|event| event.count)
                .map_err(|source| map_error("EVENTS", source))
        };
        Ok(Events {
            unreadable: count(event::UNREADABLE)?,
            not_joined: count(event::NOT_JOINED)?,
            no_room: count(event::NO_ROOM)?,
            no_share: count(event::NO_SHARE)?,
            missed: count(event::MISSED)?,
            no_storage: count(event::NO_STORAGE)?,
        })
    }

    /// Hands on to this process's log what the kernel programs have written since. To be called now and then: what
    /// nobody fetches is lost when its buffer is full.
    pub fn flush_log(&mut self) {
        self.log.0.flush();
    }
}
