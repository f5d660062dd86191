//! Messages from the kernel programs: wake-ups for pods that reached their burst threshold, counts of rare events, and
//! log messages.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{Array, MapData, RingBuf};
use aya_log::EbpfLogger;
use ebb_abi::{EventCount, NO_SLOT, event};
use tracing_log::LogTracer;

use super::{Counter, PodId};
use crate::{
    CounterError,
    kernel::{Kernel, map_error},
};

/// Number of rare events on this node, one field per kind of event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Connections that became opaque because their bytes could not be parsed.
    pub unreadable: u64,
    /// Connections that were open before the programs were attached and became opaque, because their position in the
    /// stream could not be determined.
    pub attach_failed: u64,
    /// Out-of-order packets for which the buffer had no room: their connections became opaque.
    pub out_of_order_full: u64,
    /// Out-of-order packets of pods that had used their share of the out-of-order buffer. The connections became
    /// opaque.
    pub out_of_order_share_full: u64,
    /// Connections that became opaque because TCP has accepted bytes that the kernel programs never saw.
    pub bytes_missed: u64,
    /// Connections that are not counted because the kernel had no memory for them.
    pub no_memory: u64,
    /// Opaque connections that are counted by requests again, because a request was recognised.
    pub resumed: u64,
    /// Connections that are opaque because they use MPTCP.
    pub mptcp: u64,
}

impl Events {
    /// Returns the numbers with the names of their kinds. The names are values of the label `event` and keys of the
    /// JSON of `ebb watch`.
    #[must_use]
    pub fn by_kind(&self) -> [(&'static str, u64); 8] {
        [
            ("unreadable", self.unreadable),
            ("attach_failed", self.attach_failed),
            ("out_of_order_full", self.out_of_order_full),
            ("out_of_order_share_full", self.out_of_order_share_full),
            ("bytes_missed", self.bytes_missed),
            ("no_memory", self.no_memory),
            ("resumed", self.resumed),
            ("mptcp", self.mptcp),
        ]
    }
}

/// A queue of wake-ups, one for each pod that has reached the number of requests set by [`Counter::wake_at`]. The file
/// descriptor can be polled: it is readable while a wake-up is queued.
pub struct WakeUps(RingBuf<MapData>);

impl WakeUps {
    /// Returns the pod of the next wake-up, or `None` if no wake-up is queued. The pod may have been detached since the
    /// wake-up.
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

impl std::fmt::Debug for WakeUps {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_tuple("WakeUps")
            .field(&self.as_fd())
            .finish()
    }
}

impl AsFd for WakeUps {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for WakeUps {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The log of the kernel programs, which is forwarded to the log of this process.
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
    /// Asks the kernel for one wake-up through [`Self::wake_ups`] when a pod has `in_flight` requests in flight. The
    /// wake-up is never late, but may be early: the kernel counts the requests that begin and does not subtract the
    /// requests that end.
    pub fn wake_at(&self, pod: PodId, in_flight: u64) {
        if self.pods.contains_key(&pod) {
            self.counters.wake_at(pod.0, in_flight);
        }
    }

    /// Returns the source of the wake-ups. Can be called once.
    ///
    /// # Errors
    /// The source has already been taken.
    pub fn wake_ups(&mut self) -> Result<WakeUps, CounterError> {
        self.kernel.ring_buffer("WAKES").map(WakeUps)
    }

    /// Returns the counts of rare events on this node since the programs were first loaded.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn events(&mut self) -> Result<Events, CounterError> {
        let map: Array<_, EventCount> = self.kernel.map("EVENTS")?;
        let count = |kind: usize| {
            map.get(&(kind as u32), 0)
                .map(|event| event.count)
                .map_err(|source| map_error("EVENTS", source))
        };
        Ok(Events {
            unreadable: count(event::UNREADABLE)?,
            attach_failed: count(event::ATTACH_FAILED)?,
            out_of_order_full: count(event::OUT_OF_ORDER_FULL)?,
            out_of_order_share_full: count(event::OUT_OF_ORDER_SHARE_FULL)?,
            bytes_missed: count(event::BYTES_MISSED)?,
            no_memory: count(event::NO_MEMORY)?,
            resumed: count(event::RESUMED)?,
            mptcp: count(event::MPTCP)?,
        })
    }

    /// Forwards the kernel programs' log messages to the log of this process. Must be called regularly: when the buffer
    /// is full, new messages are lost.
    pub fn flush_log(&mut self) {
        self.log.0.flush();
    }
}
