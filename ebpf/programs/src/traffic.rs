//! Handles a packet of a counted connection, in either direction.

use aya_ebpf::{
    bindings::{BPF_TCP_ESTABLISHED, BPF_TCP_LISTEN, BPF_TCP_SYN_RECV},
    programs::SkBuffContext,
};
use ebb_abi::{egress, ingress};
use ebb_parser::{
    conn::{Conn, state},
    direction::{Segment, Side, flag},
    http1::{Step, arrive, is_next, is_out_of_order, last_byte, leave, must_search, step},
    packet::Meter,
    protocol::Protocol as _,
    steps as budget,
};

use crate::{
    http2::{self, MayChange as _},
    maps::{connection, go_on_in},
    meter::Pod,
    segment::{Header, SkbPacket},
    serialisation,
    sockets::count_out,
};

/// Counts the requests that begin or end in a packet. The function `steps` parses the segment, and returns whether more
/// of the segment must be read. The function `speaks_http2` handles a packet of an HTTP/2 connection. Without
/// `UNUSUAL`, unusual messages are left to the program for the rest of a packet.
#[inline(always)]
pub fn run<const UNUSUAL: bool>(
    context: &SkBuffContext,
    side: Side,
    steps: impl Fn(Side, &mut Conn, &SkbPacket<'_>, &mut Pod, Segment) -> bool,
    speaks_http2: impl Fn(&SkBuffContext, Side, &mut Conn, &mut Pod, Header),
) {
    let Some(header) = Header::read(context) else {
        return;
    };
    if header.segment.length == 0 && header.segment.flags & (Segment::FIN | Segment::RST) == 0 {
        return;
    }
    let Some(connection) = connection(header.socket) else {
        if side == Side::Requests {
            // SAFETY: every socket has this field.
            match unsafe { (*header.socket).state } {
                BPF_TCP_LISTEN | BPF_TCP_SYN_RECV => {
                    go_on_in(context, side, ingress::HANDSHAKE_STORE)
                }
                BPF_TCP_ESTABLISHED => go_on_in(context, side, ingress::ATTACH_MID_STREAM),
                _ => {}
            }
        }
        return;
    };
    // SAFETY: socket storage lives as long as the socket. Ingress state is written by one CPU at a time (ingress
    // serialisation). Egress state is written by this program only, one packet at a time.
    let connection = unsafe { &mut *connection };
    let Some(mut pod) = Pod::of(connection.slot) else {
        return;
    };
    if side == Side::Requests
        && header.segment.length == 0
        && header.segment.flags & Segment::RST != 0
    {
        connection.client_resets();
    }
    if side == Side::Requests && !serialisation::acquire(context, connection, &mut pod) {
        return;
    }
    // The parsers do not read an opaque connection, even if the server has begun HTTP/2.
    if connection.is(state::HTTP2 | state::ATTACHING)
        || (connection.direction(side).has(flag::HTTP2) && !connection.is(state::OPAQUE))
    {
        if !connection.is(state::ATTACHING) {
            return speaks_http2(context, side, connection, &mut pod, header);
        }
        let attach = match side {
            Side::Requests => ingress::ATTACH_MID_STREAM,
            Side::Responses => egress::ATTACH_RESPONSES,
        };
        go_on_in(context, side, attach);
        return stop(context, side, connection, &pod);
    }
    if side == Side::Responses {
        pod.sends(context, &mut connection.direction(side).stamp);
    }
    let packet = SkbPacket {
        context,
        slot: connection.slot,
    };
    let segment = connection.direction(side).arrived(header.segment);
    let is_next = is_next(side, connection, segment);
    if side == Side::Requests && !is_next && is_out_of_order(side, connection, segment) {
        go_on_in(context, side, ingress::OUT_OF_ORDER_STORE);
    }
    let rest = match side {
        Side::Requests => ingress::HTTP1_INGRESS_LOOP,
        Side::Responses => egress::HTTP1_EGRESS_LOOP,
    };
    if !UNUSUAL && !is_next && must_search(side, connection) {
        go_on_in(context, side, rest);
    }
    if is_next || arrive::<UNUSUAL, _, _>(side, connection, &packet, &mut pod, segment) {
        if steps(side, connection, &packet, &mut pod, segment) {
            connection.direction(side).flags |= flag::UNFINISHED;
            go_on_in(context, side, rest);
            // Only a kernel without `bpf_loop` reaches this line, with a packet that needs more runs than the kernel
            // allows tail calls (33).
            connection.direction(side).flags |= flag::UNREADABLE;
        }
        if connection.changes(side, &mut pod, header.socket) {
            return http2::go_on(context, side, connection, &pod);
        }
        leave(side, connection, &mut pod);
        if side == Side::Requests && connection.serialisation.has_buffered() {
            go_on_in(context, side, ingress::HTTP1_DRAIN_LOOP);
        }
    }
    if side == Side::Responses && segment.flags & (Segment::FIN | Segment::RST) != 0 {
        last_byte(connection, &mut pod, true);
        count_out(connection, &mut pod, state::SENT_LAST);
    }
    stop(context, side, connection, &pod);
}

/// Ends the work on a packet: leaves ingress serialisation, and calls the logging program if a rare event is recorded.
#[inline(always)]
pub fn stop(context: &SkBuffContext, side: Side, connection: &mut Conn, pod: &Pod) {
    match side {
        Side::Requests => serialisation::release(context, connection, pod),
        Side::Responses => {
            if connection.has_event() {
                go_on_in(context, side, egress::LOG_EGRESS);
            }
        }
    }
}

/// Parses a segment, with as many steps as one run can take. Returns `true` if more of the segment must be read:
/// [`crate::loops`] or another run of this program reads the rest.
#[inline(always)]
pub fn steps<const UNUSUAL: bool, M: Meter>(
    side: Side,
    connection: &mut Conn,
    packet: &SkbPacket<'_>,
    meter: &mut M,
    segment: Segment,
) -> bool {
    for _ in 0..budget::HTTP1 {
        match step::<UNUSUAL, _, _>(side, connection, packet, meter, segment) {
            Step::Done => return false,
            Step::More => {}
            Step::Unusual => break,
        }
    }
    true
}
