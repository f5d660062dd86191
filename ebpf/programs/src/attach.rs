//! Connections that were open before their cgroup was counted.
//!
//! The programs find such a connection by a packet that arrives on it, and count the connection from its next request
//! on. If no request can be recognised in the data that arrives, the connection becomes opaque. A connection is counted
//! only if the pod is its server, not its client. If the rules name ports, the connection's local port must be one of
//! them. If the rules name none, a socket must listen on the connection's local address. The rules also say whether the
//! other end must be in the same cgroup, or must not be (`PodRules::clients`).
//!
//! The kernel calls the program `connections` at the close of a connection only if this call was requested when the
//! connection opened. So the close of these connections is counted by the program `socket_release` (Linux 5.9).

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_F_CURRENT_NETNS, BPF_TCP_LISTEN, bpf_sock, bpf_sock_tuple,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Ipv4,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Ipv6,
    },
    helpers::generated::{
        bpf_sk_ancestor_cgroup_id, bpf_sk_lookup_tcp, bpf_sk_release, bpf_skb_ancestor_cgroup_id,
        bpf_skb_load_bytes, bpf_tcp_sock,
    },
    programs::SkBuffContext,
};
use ebb_abi::{NO_SLOT, clients, egress, event, ingress};
use ebb_parser::{
    attaching::{Beginning, LEAST, LOOK, beginning},
    conn::{Conn, state},
    direction::{Segment, Side},
    ends::Ends,
    packet::Meter as _,
};

use crate::{
    http2,
    maps::{
        self, CGROUPS, INNER, RULES, connection, do_not_count, go_on_in, is_not_counted,
        make_connection, make_http2,
    },
    meter::{Pod, masked},
    segment::{Header, acknowledged, ends},
    serialisation,
    sockets::serves,
};

/// Maximum depth of a pod's cgroup that is searched. Kubelet uses a depth of 3 or 4; a node that runs in a container
/// uses a somewhat greater one.
const DEEPEST: i32 = 12;

/// Decides whether the connection of a packet can be counted from this packet on.
#[inline(always)]
pub fn mid_stream(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let known = match connection(header.socket) {
        Some(connection) => Some(connection),
        None => create_connection(context, &header),
    };
    let Some(connection) = known else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let connection = unsafe { &mut *connection };
    let Some(mut pod) = Pod::of(connection.slot) else {
        return;
    };
    if !serialisation::acquire(context, connection, &mut pod) {
        return;
    }
    if connection.is(state::ATTACHING) && !connection.is(state::HTTP2) {
        look(context, &header, connection, &mut pod);
    }
    if connection.is(state::HTTP2) {
        go_on_in(context, Side::Requests, ingress::HTTP2_INGRESS_LOOP);
    } else if !connection.is(state::ATTACHING) {
        go_on_in(context, Side::Requests, ingress::HTTP1_INGRESS_LOOP);
    }
    serialisation::release(context, connection, &pod);
}

/// Looks for the head of a frame at the beginning of the server's data. From a head on, the data is read as HTTP/2.
#[inline(always)]
pub fn responses(context: &SkBuffContext) {
    let Some((header, connection, http2, mut pod)) = http2::counted(context) else {
        return;
    };
    if !http2.reads_responses() {
        // SAFETY: the pointer is to the socket of the current packet.
        let tcp = unsafe { bpf_tcp_sock(header.socket) };
        if tcp.is_null() || header.segment.length == 0 {
            return;
        }
        // SAFETY: the field is part of the structure that the helper has returned.
        if unsafe { (*tcp).snd_nxt } != header.segment.first {
            // A retransmission.
            return;
        }
        let is_frame = read_beginning(context, header.segment).is_some_and(|beginning| {
            beginning == Beginning::Headers || beginning == Beginning::Frame
        });
        if is_frame {
            http2.attach_responses(header.segment.first);
            http2.end_attaching(connection, &pod);
        } else if http2.reads_requests() {
            http2.become_opaque(Side::Responses, &mut pod);
            http2.end_attaching(connection, &pod);
        } else {
            return;
        }
    }
    go_on_in(context, Side::Responses, egress::HTTP2_EGRESS_LOOP);
}

/// Reads the first bytes of a packet on a connection that is being attached mid-stream. If they begin a request, the
/// connection is counted from this packet on. If they show that the connection cannot be read, it becomes opaque.
/// Otherwise a later packet decides.
#[inline(always)]
fn look(context: &SkBuffContext, header: &Header, connection: &mut Conn, pod: &mut Pod) {
    let segment = header.segment;
    // SAFETY: the pointer is to the socket of the current packet.
    let tcp = unsafe { bpf_tcp_sock(header.socket) };
    if tcp.is_null() {
        return;
    }
    // SAFETY: the fields are part of the structure that the helper has returned.
    let (received, sent) = unsafe { ((*tcp).rcv_nxt, (*tcp).snd_nxt) };
    if (segment.first.wrapping_sub(received) as i32) < 0 {
        // The segment is a retransmission: the server has its bytes already.
        return;
    }
    let Some(found) = read_beginning(context, segment) else {
        return;
    };
    let http2 = maps::http2(header.socket);
    let is_opaque = match found {
        Beginning::Request => false,
        Beginning::Tls => true,
        Beginning::Headers | Beginning::Frame => {
            return attach_http2(context, header, connection, pod, found, sent);
        }
        Beginning::Unknown => {
            // A connection with HTTP/2 state counts already, and waits for a stream.
            if http2.is_some() || !connection.is_unknown(sent) {
                return;
            }
            true
        }
    };
    if let Some(http2) = http2 {
        // The bytes before only looked like HTTP/2.
        // SAFETY: socket storage lives as long as the socket; a lock guards the fields that both directions write.
        unsafe { &mut *http2 }.finish(pod);
    }
    connection.attach_at(segment.first, sent);
    if is_opaque {
        connection.become_opaque(pod, event::ATTACH_FAILED);
    }
}

/// Handles a segment that begins with an HTTP/2 frame. `sent` is the sequence number of the server's next byte.
#[inline(always)]
fn attach_http2(
    context: &SkBuffContext,
    header: &Header,
    connection: &mut Conn,
    pod: &mut Pod,
    found: Beginning,
    sent: u32,
) {
    let Some(http2) = make_http2(header.socket) else {
        pod.note(event::NO_MEMORY);
        return;
    };
    // SAFETY: socket storage lives as long as the socket; a lock guards the fields that both directions write.
    let http2 = unsafe { &mut *http2 };
    http2.belong_to(connection.slot);
    let begins = found == Beginning::Headers
        && (http2.reads_responses() || acknowledged(context, header) == Some(sent));
    if !begins {
        if http2.begin_attaching(pod) {
            connection.happened(event::ATTACH_FAILED);
            if connection.is_closed_now() {
                // Another CPU has closed the connection, and may not have seen its HTTP/2 state.
                http2.finish(pod);
            }
        }
        return;
    }
    if !connection.become_http2(pod) {
        return;
    }
    if http2.attach_requests(pod, header.segment.first) {
        connection.happened(event::RESUMED);
    }
    http2.end_attaching(connection, pod);
}

/// Returns what a segment begins with, or `None` if the segment is too short or cannot be read.
#[inline(always)]
fn read_beginning(context: &SkBuffContext, segment: Segment) -> Option<Beginning> {
    if segment.length < LEAST {
        return None;
    }
    let mut words = [0u64; LOOK / 8];
    let length = if segment.length < LOOK as u32 {
        segment.length
    } else {
        LOOK as u32
    };
    let less = masked::<{ LOOK - 1 }>(length.wrapping_sub(1) as usize) as u32;
    // SAFETY: at most as many bytes are copied as `words` has room for.
    let loaded = unsafe {
        bpf_skb_load_bytes(
            context.as_ptr().cast(),
            segment.offset,
            words.as_mut_ptr().cast(),
            less + 1,
        )
    };
    (loaded == 0).then(|| beginning(words))
}

/// Creates the connection of a packet. Returns `None` if the connection is not to be counted.
#[inline(always)]
fn create_connection(context: &SkBuffContext, header: &Header) -> Option<*mut Conn> {
    let socket = header.socket;
    if is_not_counted(socket) {
        return None;
    }
    // A cgroup that is just being attached or detached has no slot. A later packet may find its slot, so the socket is
    // not marked as not counted.
    let slot = slot(context, header)?;
    if slot == NO_SLOT {
        do_not_count(socket);
        return None;
    }
    // SAFETY: the pointer is to the socket of the current packet.
    let tcp = unsafe { bpf_tcp_sock(socket) };
    if tcp.is_null() {
        return None;
    }
    // SAFETY: the field is part of the structure that the helper has returned.
    let sent = unsafe { (*tcp).snd_nxt };
    let mut pod = Pod::of(slot)?;
    let Some(connection) = make_connection(socket) else {
        pod.note(event::NO_MEMORY);
        return None;
    };
    // SAFETY: socket storage is valid while the program runs.
    let own = unsafe { &mut *connection };
    let lock = &raw mut own.lock;
    let first = pod.locked(lock, || {
        // Another CPU may have begun to count this connection first.
        let first = !own.is_open();
        if first {
            own.open_mid_stream(slot, sent);
        }
        first
    });
    if first {
        pod.opened();
    }
    Some(connection)
}

/// Returns the slot that counts the connection of a packet, or [`NO_SLOT`] if the connection is not counted. Returns
/// `None` if the packet's cgroup has no slot.
#[inline(always)]
fn slot(context: &SkBuffContext, header: &Header) -> Option<u32> {
    let here = ends(context, header)?;
    for up in 0..DEEPEST {
        let level = DEEPEST - up;
        // SAFETY: the pointer is the program's context.
        let cgroup = unsafe { bpf_skb_ancestor_cgroup_id(context.skb.skb, level) };
        let Some(slot) = CGROUPS.get_ptr(cgroup) else {
            continue;
        };
        // SAFETY: the pointer is to a value of the map, and is read once.
        let slot = unsafe { *slot };
        let rules = RULES.get(slot)?;
        let is_served = if rules.port_count != 0 {
            serves(rules, here.local_port)
        } else {
            listens(context, &here)
        };
        let counted = is_served
            && (rules.clients == clients::ALL
                || is_inside(context, &here, cgroup, level, slot)
                    == (rules.clients == clients::INSIDE));
        return Some(if counted { slot } else { NO_SLOT });
    }
    None
}

/// Returns whether a socket listens on the local address and port of a connection.
#[inline(always)]
fn listens(context: &SkBuffContext, here: &Ends) -> bool {
    // No connection has the remote address 0, so the lookup finds only a listening socket.
    let nobody = Ends {
        remote: [0; 4],
        remote_port: 0,
        ..*here
    };
    look_up(context, &nobody, |socket| {
        // SAFETY: every socket has this field.
        unsafe { (*socket).state == BPF_TCP_LISTEN }
    }) == Some(true)
}

/// Returns whether the other end of a connection is also in this cgroup, whose pod has the given slot. If NAT has
/// changed the destination, there is no socket with the addresses that this end sees. Then the client is inside if it
/// was inside when it opened the connection.
#[inline(always)]
fn is_inside(context: &SkBuffContext, here: &Ends, cgroup: u64, level: i32, slot: u32) -> bool {
    let there = Ends {
        local: here.remote,
        remote: here.local,
        local_port: here.remote_port,
        remote_port: here.local_port,
    };
    look_up(context, &there, |socket| {
        // SAFETY: the lookup holds a reference to the socket while this closure runs.
        unsafe { bpf_sk_ancestor_cgroup_id(socket.cast(), level) == cgroup }
    })
    .unwrap_or_else(|| INNER.get_ptr(here.remote_client(slot)).is_some())
}

/// Looks up the socket with the addresses and ports in `ends`, and calls `ask` with this socket. Returns the result of
/// `ask`, or `None` if there is no such socket.
#[inline(always)]
fn look_up(
    context: &SkBuffContext,
    ends: &Ends,
    ask: impl Fn(*mut bpf_sock) -> bool,
) -> Option<bool> {
    const IPV4_MAPPED: u32 = u32::to_be(0xffff);
    let port = |port: u32| u16::to_be(port as u16);
    // SAFETY: a union of plain numbers may be all zeros.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let [first, second, third, last] = ends.local;
    let length = if first | second == 0 && third == IPV4_MAPPED {
        tuple.__bindgen_anon_1.ipv4 = Ipv4 {
            saddr: ends.remote[3],
            daddr: last,
            sport: port(ends.remote_port),
            dport: port(ends.local_port),
        };
        size_of::<Ipv4>()
    } else {
        tuple.__bindgen_anon_1.ipv6 = Ipv6 {
            saddr: ends.remote,
            daddr: ends.local,
            sport: port(ends.remote_port),
            dport: port(ends.local_port),
        };
        size_of::<Ipv6>()
    };
    // SAFETY: the tuple has the layout that the helper expects; the socket that the helper returns is released below.
    let socket = unsafe {
        bpf_sk_lookup_tcp(
            context.as_ptr(),
            &raw mut tuple,
            length as u32,
            BPF_F_CURRENT_NETNS as u64,
            0,
        )
    };
    if socket.is_null() {
        return None;
    }
    let answer = ask(socket);
    // SAFETY: the lookup has taken the reference that is released here.
    unsafe { bpf_sk_release(socket.cast()) };
    Some(answer)
}
