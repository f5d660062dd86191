//! Logs rare events, at most one line a second for each kind of event. Logging is the last work on a packet, and has
//! separate programs: the code that formats a line would make all other programs larger.

use aya_ebpf::{
    helpers::generated::bpf_ktime_get_ns,
    programs::{SkBuffContext, SockOpsContext},
};
use aya_log_ebpf::{info, warn};
use ebb_abi::event;

use crate::{
    maps::{EVENTS, connection},
    meter::masked,
    segment::Header,
};

/// Minimum time between two log lines about one kind of event, in ns.
const PAUSE: u64 = 1_000_000_000;

/// Logs the rare event that is recorded in the packet's connection.
#[inline(always)]
pub fn packet(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(connection) = connection(header.socket) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let connection = unsafe { &mut *connection };
    let Some(event) = connection.take_event() else {
        return;
    };
    let Some(count) = due(event) else { return };
    let slot = connection.slot;
    match event {
        event::UNREADABLE => warn!(
            context,
            "slot {}: a connection is opaque: its data cannot be parsed ({} so far)", slot, count
        ),
        event::RESUMED => info!(
            context,
            "slot {}: an opaque connection is counted by requests again ({} so far)", slot, count
        ),
        event::MPTCP => info!(
            context,
            "slot {}: a connection is opaque: it uses MPTCP ({} so far)", slot, count
        ),
        event::ATTACH_FAILED => warn!(
            context,
            "slot {}: a connection attached mid-stream is opaque ({} so far)", slot, count
        ),
        event::BYTES_MISSED => warn!(
            context,
            "slot {}: a connection is opaque: TCP accepted bytes that were not seen ({} so far)",
            slot,
            count
        ),
        event::OUT_OF_ORDER_SHARE_FULL => warn!(
            context,
            "slot {}: a connection is opaque: its pod has used up its share of the out-of-order buffer ({} so far)",
            slot,
            count
        ),
        _ => warn!(
            context,
            "slot {}: a connection is opaque: no room in the out-of-order buffer ({} so far)",
            slot,
            count
        ),
    }
}

/// Logs that a connection is not counted because the kernel has no memory for it.
#[inline(always)]
pub fn socket(context: &SockOpsContext) {
    if let Some(count) = due(event::NO_MEMORY) {
        warn!(
            context,
            "a connection is not counted: no memory for it ({} so far)", count
        );
    }
}

/// Returns the count of an event if a log line about it is due, or `None` if the last line is too recent.
#[inline(always)]
fn due(event: usize) -> Option<u64> {
    let entry = EVENTS.get_ptr_mut(masked::<{ event::KINDS - 1 }>(event) as u32)?;
    // SAFETY: the helper takes no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: the pointer is to a value of the map. Two CPUs that log at the same time do no harm.
    let entry = unsafe { &mut *entry };
    if entry.logged_at != 0 && now.wrapping_sub(entry.logged_at) < PAUSE {
        return None;
    }
    entry.logged_at = now;
    Some(entry.count)
}
