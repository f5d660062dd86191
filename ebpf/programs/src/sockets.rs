//! Handles connections that open and close.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_TCP_CLOSE, bpf_sock,
    },
    helpers::generated::bpf_load_hdr_opt,
    programs::{SockContext, SockOpsContext},
};
use ebb_abi::{
    NO_SLOT, PodRules, clients, event,
    sockets::{HANDSHAKE_READ_LOOP, LOG_SOCK_OPS},
};
use ebb_parser::{
    conn::{Conn, state},
    direction::{Direction, flag},
    ends::Ends,
    http1::last_byte,
    packet::Meter as _,
};

use crate::{
    handshake,
    maps::{
        EARLY, INNER, RULES, SLOT, SOCKETS, connection, do_not_count, http2, make_connection,
        out_of_order_buffer,
    },
    meter::Pod,
    out_of_order,
};

/// The address family of IPv4: `AF_INET` of include/linux/socket.h. aya's bindings lack it.
const AF_INET: u32 = 2;

/// Handles one event of a socket in the pod's cgroup.
#[inline(always)]
pub fn run(context: &SockOpsContext) {
    match context.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => opens_from_here(context),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(context),
        BPF_SOCK_OPS_STATE_CB if context.arg(1) == BPF_TCP_CLOSE => closed(context),
        _ => {}
    }
}

#[inline(always)]
pub fn socket(context: &SockOpsContext) -> Option<*mut bpf_sock> {
    // SAFETY: the field is part of the program's context.
    let socket = unsafe { (*context.ops).__bindgen_anon_2.sk };
    if socket.is_null() { None } else { Some(socket) }
}

#[inline(always)]
fn slot() -> u32 {
    // SAFETY: the storage is that of the cgroup for which the program runs; user space writes all of it at once.
    unsafe { *SLOT.get_ptr_mut() as u32 }
}

/// Returns the addresses and ports of a connection. An IPv4 address is returned as an IPv4-mapped IPv6 address, so the
/// result does not depend on the kind of the socket.
#[inline(always)]
pub fn ends(context: &SockOpsContext) -> Ends {
    let mapped = u32::to_be(0xffff);
    let ops = context.ops;
    // The verifier rejects a read of the context at a computed address. So each field is read separately: otherwise the
    // compiler would first choose between two addresses and then read.
    macro_rules! field {
        ($($field:tt)+) => {
            // SAFETY: the field is part of the program's context.
            unsafe { (&raw const (*ops).$($field)+).read_volatile() }
        };
    }
    let mut local = [
        field!(local_ip6[0]),
        field!(local_ip6[1]),
        field!(local_ip6[2]),
        field!(local_ip6[3]),
    ];
    let mut remote = [
        field!(remote_ip6[0]),
        field!(remote_ip6[1]),
        field!(remote_ip6[2]),
        field!(remote_ip6[3]),
    ];
    let (local_ip4, remote_ip4) = (field!(local_ip4), field!(remote_ip4));
    if field!(family) == AF_INET {
        local = [0, 0, mapped, local_ip4];
        remote = [0, 0, mapped, remote_ip4];
    }
    // The remote port is in network order, the local one in host order (include/uapi/linux/bpf.h).
    Ends {
        local,
        remote,
        local_port: field!(local_port),
        remote_port: u32::from_be(field!(remote_port)),
    }
}

/// Records a connection that is being opened from inside the cgroup. The client's end has its address and port, and its
/// SYN has not been sent (`tcp_connect` in net/ipv4/tcp_output.c). With TCP Fast Open, the server's end can be
/// established before the client's.
#[inline(always)]
fn opens_from_here(context: &SockOpsContext) {
    let slot = slot();
    if slot == NO_SLOT
        || RULES
            .get(slot)
            .is_none_or(|rules| rules.clients == clients::ALL)
    {
        return;
    }
    // The record must be removed when the connection closes, because another client may then get the port.
    if context
        .set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32)
        .is_ok()
    {
        let here = ends(context);
        let _ = INNER.insert(
            here.local_client(slot),
            here.remote_server(),
            u64::from(BPF_ANY),
        );
    }
}

/// Returns whether the rules name this local port.
#[inline(always)]
pub fn serves(rules: &PodRules, local_port: u32) -> bool {
    for (index, port) in rules.ports.iter().enumerate() {
        if (index as u32) < rules.port_count && u32::from(*port) == local_port {
            return true;
        }
    }
    false
}

/// The kind of the TCP option of MPTCP (RFC 8684, section 3).
const MPTCP: u8 = 30;

/// The subtype of the option with which a client adds a subflow to a connection.
const MP_JOIN: u8 = 1;

/// Returns the subtype of the MPTCP option in the packet that establishes the connection, or `None` if the connection
/// does not use MPTCP.
#[inline(always)]
fn mptcp_subtype(context: &SockOpsContext) -> Option<u8> {
    /// Maximum number of bytes of an option: 40 bytes of options fit into a TCP header.
    const LONGEST: usize = 40;
    let mut option = [0u8; LONGEST];
    option[0] = MPTCP;
    // SAFETY: the helper writes at most `LONGEST` bytes.
    let length = unsafe {
        bpf_load_hdr_opt(
            context.ops,
            option.as_mut_ptr().cast::<c_void>(),
            LONGEST as u32,
            0,
        )
    };
    (length > 2).then_some(option[2] >> 4)
}

#[inline(always)]
fn accepted(context: &SockOpsContext) {
    let slot = slot();
    if slot == NO_SLOT {
        return;
    }
    let Some(rules) = RULES.get(slot) else { return };
    let here = ends(context);
    if rules.port_count != 0 && !serves(rules, here.local_port) {
        return;
    }
    if rules.clients != clients::ALL {
        // A proxy and its application can be in one pod. Each request would be counted twice if the connection between
        // them and the connection from outside were both counted. Nor are requests counted that the application sends
        // through a proxy in its pod.
        let opened = INNER.get_ptr(here.remote_client(slot));
        // SAFETY: the pointer is to a value of the map.
        if opened.is_some_and(|server| !here.is_at(unsafe { &*server })) {
            // Either NAT has changed the destination of a connection from inside the pod, or a client outside the pod
            // has the same address and port as one inside. The first packet decides (see `attach`).
            return;
        }
        let is_inside = opened.is_some();
        if is_inside != (rules.clients == clients::INSIDE) {
            // Otherwise the first packet would attach the connection mid-stream.
            if let Some(socket) = socket(context) {
                do_not_count(socket);
            }
            return;
        }
    }
    let Some(socket) = socket(context) else {
        return;
    };
    let mptcp = mptcp_subtype(context);
    if mptcp == Some(MP_JOIN) {
        // A further subflow of a connection that counts already.
        do_not_count(socket);
        return;
    }
    let Some(mut pod) = Pod::of(slot) else { return };
    // SAFETY: the fields are part of the program's context.
    let (next_in, next_out) = unsafe { ((*context.ops).rcv_nxt, (*context.ops).snd_nxt) };
    let Some(connection) = make_connection(socket) else {
        pod.note(event::NO_MEMORY);
        // SAFETY: the called program has the same program type.
        unsafe { SOCKETS.tail_call(context, LOG_SOCK_OPS) };
        return;
    };
    // SAFETY: the socket storage is new, and the packet programs do not find the connection before it is open.
    let connection = unsafe { &mut *connection };
    connection.open_at(slot, next_in, next_out);
    if context
        .set_cb_flags(BPF_SOCK_OPS_STATE_CB_FLAG as i32)
        .is_ok()
    {
        pod.opened();
    }
    if mptcp.is_some() {
        connection.requests.detail = Direction::NEVER_HTTP1;
        connection.become_opaque(&mut pod, event::MPTCP);
        return;
    }
    if EARLY.get_ptr(handshake::listener_key(here)).is_some()
        || EARLY.get_ptr(handshake::new_socket_key(here)).is_some()
    {
        // SAFETY: the called program has the same program type.
        unsafe { SOCKETS.tail_call(context, HANDSHAKE_READ_LOOP) };
        connection.requests.flags |= flag::UNREADABLE;
    }
}

#[inline(always)]
fn closed(context: &SockOpsContext) {
    let Some(socket) = socket(context) else {
        return;
    };
    if let Some(connection) = connection(socket) {
        close(connection, socket);
    } else {
        let _ = INNER.remove(ends(context).local_client(slot()));
    }
}

/// Handles the last release of a socket. The program `connections` does not see every close: not that of a connection
/// that was attached mid-stream, and none if another program has taken its callback away (`bpf_sock_ops_cb_flags_set`
/// of the latest program counts).
///
/// If the connection is still established, TCP now sends the rest of the server's data and then a FIN, or a RST: the
/// requests in flight end with that packet, and so does the connection.
#[inline(always)]
pub fn released(context: &SockContext) {
    let Some(connection) = connection(context.sock) else {
        return;
    };
    // SAFETY: the field is part of the program's context.
    let is_closed = unsafe { (*context.sock).state } == BPF_TCP_CLOSE;
    // SAFETY: socket storage lives as long as the socket; a lock guards the fields that other CPUs change at the same
    // time.
    let own = unsafe { &mut *connection };
    if is_closed || own.is(state::ATTACHED_MID_STREAM) {
        close(connection, context.sock);
    } else if let Some(mut pod) = Pod::of(own.slot) {
        count_out(own, &mut pod, state::RELEASED);
    }
}

/// Records an event in the end of a connection (see [`Conn::counts_out`]).
#[inline(always)]
pub fn count_out(connection: &mut Conn, pod: &mut Pod, seen: u32) {
    if connection.counts_out(pod, seen) {
        pod.closed();
    }
}

#[inline(always)]
fn close(connection: *mut Conn, socket: *mut bpf_sock) {
    // SAFETY: socket storage lives as long as the socket; a lock guards the fields that other CPUs change at the same
    // time.
    let connection = unsafe { &mut *connection };
    let Some(mut pod) = Pod::of(connection.slot) else {
        return;
    };
    // If the server closes before it has read all data, TCP reports the close first, and sends the RST afterwards.
    let complete = !connection.has_client_reset();
    last_byte(connection, &mut pod, complete);
    // This is looked up after the close has been recorded: HTTP/2 state that another CPU creates later stays unused.
    if let Some(http2) = http2(socket) {
        // SAFETY: socket storage lives as long as the socket; a lock guards the fields that other CPUs change at the
        // same time.
        unsafe { &mut *http2 }.finish(&mut pod);
    }
    count_out(connection, &mut pod, state::RELEASED | state::SENT_LAST);
    out_of_order::clear(out_of_order_buffer(socket), &pod);
}
