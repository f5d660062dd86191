//! Bytes that come with the last packet of a handshake, before there is a connection to count them on.
//!
//! That is so where the accept queue was full when the client's own last packet came, and always
//! with `TCP_DEFER_ACCEPT`. The kernel shows such a packet to the listening socket only
//! (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp_ipv4.c#L2254>). It is read here as any
//! other, on a connection that belongs to nobody; when the kernel makes the connection, `sockets` takes it over.
//! If it never does, nothing has been counted. Excluded paths are not known here.

use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, programs::SkBuffContext};
use ebb_common::{
    abi::NO_SLOT,
    conn::{Conn, Lock},
    direction::flag,
    http1::{Side, arrive, leave},
    packet::{Gauge, Meter},
};

use crate::{
    maps::{BLANK, EARLY, RULES},
    segment::{Header, Ruled, ends},
    traffic::steps,
};

/// Reads a packet for a connection to come.
#[inline(always)]
pub fn run(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(ends) = ends(context) else {
        return;
    };
    if EARLY.get_ptr(ends).is_none() {
        let Some(blank) = BLANK.get(0) else { return };
        let _ = EARLY.insert(ends, blank, 0);
    }
    let Some(entry) = EARLY.get_ptr_mut(ends) else {
        return;
    };
    // SAFETY: as many bytes as a `Conn`, which is valid for all values, and aligned to 8. What it is
    // used for here takes no lock.
    let connection = unsafe { &mut *entry.cast::<Conn>() };
    if connection.requests.flags == 0 {
        // `sockets` compares the sequence number: an older entry of the same ends is not this one.
        connection.open_at(NO_SLOT, header.segment.first, header.segment.first);
    }
    let Some(rules) = RULES.get(NO_SLOT) else {
        return;
    };
    let packet = Ruled { context, rules };
    let segment = connection.requests.arrived(header.segment);
    if arrive(Side::Requests, connection, segment) {
        if steps(Side::Requests, connection, &packet, &mut Nobody, segment) {
            // There is no second run here.
            connection.requests.flags |= flag::UNREADABLE;
        }
        leave(Side::Requests, connection, &mut Nobody);
    }
}

/// Counts nothing: see [`Conn::count_early`].
struct Nobody;

impl Meter for Nobody {
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: no arguments.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn start(&mut self, _count: u64, _now: u64) {}

    #[inline(always)]
    fn end(&mut self, _way: usize, _count: u64, _now: u64) {}

    #[inline(always)]
    fn latency(&mut self, _bucket: usize) {}

    #[inline(always)]
    fn gauge(&mut self, _gauge: Gauge, _by: u64) {}

    #[inline(always)]
    fn locked<R>(&self, _lock: *mut Lock, change: impl FnOnce() -> R) -> R {
        // Nobody else knows of the entry.
        change()
    }
}
