//! A packet of a counted connection, in either direction.

use aya_ebpf::programs::SkBuffContext;
use ebb_common::{
    conn::Conn,
    direction::{Direction, Segment, flag},
    http1::{Side, arrive, last_byte, leave, step},
    packet::Meter,
};

use crate::{
    maps::{EARLY_REQUESTS, MORE_REQUESTS, MORE_RESPONSES, RULES, connection},
    meter::Pod,
    segment::{Header, Ruled},
};

/// BPF_TCP_LISTEN of include/uapi/linux/bpf.h.
const TCP_LISTEN: u32 = 10;

/// Steps (lines, or stretches of a body) of one run; then the program calls itself, up to 33 times.
/// More would bring the verifier to its limit of a million instructions; few packets need ten.
const STEPS: usize = 20;

/// Counts what a packet begins and ends.
#[inline(always)]
pub fn run(context: &SkBuffContext, side: Side) {
    let Some(header) = Header::read(context) else {
        return;
    };
    if header.segment.length == 0 && header.segment.flags & Segment::FIN == 0 {
        return;
    }
    let Some(connection) = connection(header.socket) else {
        // SAFETY: a field that every socket has.
        if side == Side::Requests && unsafe { (*header.socket).state } == TCP_LISTEN {
            // SAFETY: a program of the same kind.
            unsafe { EARLY_REQUESTS.tail_call(context, 0) };
        }
        return;
    };
    // SAFETY: socket storage lives as long as the socket, and this direction's part of it is
    // written by this program only, one packet at a time.
    let connection = unsafe { &mut *connection };
    let Some(mut pod) = Pod::of(connection.slot) else {
        return;
    };
    let Some(rules) = RULES.get(connection.slot) else {
        return;
    };
    let packet = Ruled { context, rules };
    let segment = direction(connection, side).arrived(header.segment);
    if arrive(side, connection, segment) {
        if steps(side, connection, &packet, &mut pod, segment) {
            direction(connection, side).flags |= flag::UNFINISHED;
            let again = match side {
                Side::Requests => &MORE_REQUESTS,
                Side::Responses => &MORE_RESPONSES,
            };
            // SAFETY: this program again; it goes on where the connection says.
            unsafe { again.tail_call(context, 0) };
            // Only a packet of more than 33 * STEPS lines or chunks gets here.
            direction(connection, side).flags |= flag::UNREADABLE;
        }
        leave(side, connection, &mut pod);
    }
    if side == Side::Responses && segment.flags & Segment::FIN != 0 {
        last_byte(connection, &mut pod, true);
    }
}

/// Steps through a segment, as far as one run goes. `true` if there is more to read in it.
#[inline(always)]
pub fn steps<M: Meter>(
    side: Side,
    connection: &mut Conn,
    packet: &Ruled<'_>,
    meter: &mut M,
    segment: Segment,
) -> bool {
    for _ in 0..STEPS {
        if !step(side, connection, packet, meter, segment) {
            return false;
        }
    }
    true
}

#[inline(always)]
fn direction(connection: &mut Conn, side: Side) -> &mut Direction {
    match side {
        Side::Requests => &mut connection.requests,
        Side::Responses => &mut connection.responses,
    }
}
