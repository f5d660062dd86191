//! Data that arrives with a packet of the handshake, before its connection is established (early data).
//!
//! Early data arrives in four cases: the client's last packet of the handshake was lost; the accept queue was full when
//! that packet arrived; the listener uses `TCP_DEFER_ACCEPT` (then always); the client uses TCP Fast Open (RFC 7413),
//! whose first packet carries data. For a packet with early data, the kernel runs the programs only on the listening
//! socket (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp_ipv4.c#L2254>). So the programs store its data.
//! A moment later, on the same CPU, the kernel establishes the connection, and the programs read the stored data as if
//! it arrived at that moment (see [`drain`]). If the kernel never establishes the connection, the data is never read,
//! and nothing is counted. If packets with early data arrive on two CPUs, only one of them establishes the connection.
//! For the other packet, the kernel then runs the programs again, on the new socket. So the pieces that each CPU stores
//! have separate keys.
//!
//! While the kernel establishes the connection, more data can arrive on other CPUs. At that moment the kernel finds the
//! new socket, but the program `connections` has not run for it yet. The kernel does not run the programs for these
//! packets again, so the programs store this data, too. There can be several such packets.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_ANY, BPF_NOEXIST, BPF_TCP_LISTEN},
    helpers::generated::{bpf_get_smp_processor_id, bpf_get_socket_cookie},
    programs::{SkBuffContext, SockOpsContext},
};
use ebb_abi::{event, ingress};
use ebb_parser::{
    conn::{Conn, state},
    direction::Side,
    ends::Ends,
    out_of_order::{
        ADOPTED_PIECES, HANDSHAKE_PACKET_PIECES, HandshakePieceKey, MAX_HANDSHAKE_DISTANCE,
        NEW_SOCKET, PIECE, PIECE_WORDS, PiecePlace,
    },
    packet::Meter as _,
};

use crate::{
    maps::{
        EARLY, EEXIST, NO_PIECE, PIECES_KEPT, RULES, connection, go_on_in, http2,
        make_out_of_order_buffer,
    },
    meter::{Pod, add},
    out_of_order::{self, Share, Work},
    segment::{Header, ends},
    serialisation, sockets,
};

/// Index of the word of a piece that holds the piece's sequence number and length. The parsers read no data from this
/// word.
const ABOUT: usize = PIECE_WORDS - 1;

/// Stores the data of a packet whose connection is not established yet.
#[inline(always)]
pub fn store_packet(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(ends) = ends(context, &header) else {
        return;
    };
    // SAFETY: every socket has this field.
    if unsafe { (*header.socket).state } == BPF_TCP_LISTEN {
        store(context, &header, listener_key(ends), BPF_ANY);
        return;
    }
    store(context, &header, new_socket_key(ends), BPF_NOEXIST);
    // The connection may have been established since this program began. Then `handshake_read` may have run before this
    // program stored the data. So this program continues with reading the packet. The stored data remains in the map,
    // because `handshake_read` may be reading it.
    if connection(header.socket).is_some() {
        serialisation::set_stored_bytes(context, 0);
        go_on_in(context, Side::Requests, ingress::HTTP1_INGRESS_LOOP);
    }
}

/// Returns the key in the map `EARLY` of the first piece of a packet that arrives at the listening socket on this CPU.
/// Data is stored in pieces of at most [`PIECE`] bytes.
#[inline(always)]
pub fn listener_key(ends: Ends) -> HandshakePieceKey {
    HandshakePieceKey {
        ends,
        // SAFETY: the helper takes no arguments.
        from: unsafe { bpf_get_smp_processor_id() },
        index: 0,
    }
}

/// Returns the key in the map `EARLY` of the first piece of a packet that arrives at the new socket, while another CPU
/// establishes the connection. Data is stored in pieces of at most [`PIECE`] bytes.
#[inline(always)]
pub fn new_socket_key(ends: Ends) -> HandshakePieceKey {
    HandshakePieceKey {
        ends,
        from: NEW_SOCKET,
        index: 0,
    }
}

/// Stores a packet in the map `EARLY`, in pieces. The keys of the pieces are `key` with the indexes from 0 on. If
/// `flags` is `BPF_NOEXIST`, indexes that are in the map already are skipped.
#[inline(always)]
fn store(context: &SkBuffContext, header: &Header, mut key: HandshakePieceKey, flags: u32) {
    for index in 0..HANDSHAKE_PACKET_PIECES {
        // The number of stored bytes is read from the control block, so that the verifier does not know its value.
        // Otherwise the verifier would follow one path for each number of skipped indexes.
        let done = serialisation::stored_bytes(context);
        if done >= header.segment.length {
            break;
        }
        key.index = index;
        let Some(blank) = NO_PIECE.get(0) else { return };
        if EARLY.insert(key, blank, u64::from(flags)) == Err(EEXIST) {
            continue;
        }
        let Some(piece) = EARLY.get_ptr_mut(key) else {
            return;
        };
        let left = header.segment.length - done;
        let length = if left < PIECE as u32 {
            left
        } else {
            PIECE as u32
        };
        if !out_of_order::load(
            context,
            header.segment.offset.wrapping_add(done),
            piece,
            length,
        ) {
            return;
        }
        let first = header.segment.first_byte().wrapping_add(done);
        // The word with the sequence number and the length is written last, because another CPU may be reading the
        // piece. The word was 0, so adding the value writes it. The atomic add is also a memory barrier: the word is
        // written before the program checks whether the connection exists. SAFETY: the pointer is to a value of the
        // map.
        let about = unsafe { &raw mut (*piece)[ABOUT] };
        add(about, u64::from(first) << 32 | u64::from(length));
        serialisation::set_stored_bytes(context, done + PIECE as u32);
    }
}

/// Moves the data that arrived before the connection was established to the out-of-order buffer of the new connection.
/// Then calls `http1`, which reads the data. If the connection has changed to HTTP/2, calls `then`, which reads the
/// rest.
#[inline(always)]
pub fn drain(
    context: &SockOpsContext,
    http1: impl Fn(&mut Work<'_, Conn>),
    then: impl Fn(&mut Work<'_, ebb_parser::http2::Http2>),
) {
    let Some(socket) = sockets::socket(context) else {
        return;
    };
    let Some(connection) = connection(socket) else {
        return;
    };
    let Some(buffer_pointer) = make_out_of_order_buffer(socket) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let (slot, own, buffer) =
        unsafe { ((*connection).slot, &mut *connection, &mut *buffer_pointer) };
    // SAFETY: the pointer is the program's context.
    buffer.socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let (Some(mut pod), Some(rules)) = (Pod::of(slot), RULES.get(slot)) else {
        return;
    };
    let Some(share) = Share::of(&pod) else {
        return;
    };
    let mut key = listener_key(sockets::ends(context));
    buffer.adopt_from(key.from);
    for index in 0..ADOPTED_PIECES {
        buffer.next_handshake_key(&mut key);
        let Some(piece) = EARLY.get_ptr(key) else {
            if key.from == NEW_SOCKET {
                break;
            }
            buffer.adopt_from(NEW_SOCKET);
            continue;
        };
        // SAFETY: the pointer is to a value of the map.
        let about = unsafe { (&raw const (*piece)[ABOUT]).read_volatile() };
        let place = PiecePlace {
            first: (about >> 32) as u32,
            length: about as u32,
        };
        if place.length == 0
            || place.first.wrapping_sub(own.requests.next) >= MAX_HANDSHAKE_DISTANCE
        {
            // If the length is 0, another CPU is still storing the piece: that CPU will see that the connection exists,
            // and read the packet itself. If the sequence number is too far ahead, the piece is left from an earlier
            // connection with the same addresses and ports. In both cases the piece is dropped.
            let _ = EARLY.remove(key);
            continue;
        }
        // At the same time, other CPUs may store later segments, or this same piece, in the out-of-order buffer. They
        // claim the last free place. This program claims places from the first one on, so that they rarely claim the
        // same place. SAFETY: the pointer is to a value of the map.
        let piece = unsafe { &*piece };
        let lock = &raw mut buffer.lock;
        let claimed = pod.locked(lock, || buffer.claim_at(index, place.first, place.length));
        if claimed {
            match PIECES_KEPT.insert(
                out_of_order::key(buffer, place.first),
                piece,
                u64::from(BPF_NOEXIST),
            ) {
                // The pod's share of the out-of-order buffer is not checked here: only the handshake stores these
                // pieces, and they are few.
                Ok(()) => {
                    share.take();
                    buffer.set_place(index, place);
                }
                Err(EEXIST) => buffer.set_place(index, PiecePlace::FREE),
                Err(_) => {
                    buffer.set_place(index, PiecePlace::FREE);
                    own.lose(&mut pod, event::OUT_OF_ORDER_FULL);
                }
            }
        } else {
            own.lose(&mut pod, event::OUT_OF_ORDER_FULL);
        }
        let _ = EARLY.remove(key);
    }
    buffer.next_handshake_key(&mut key);
    if key.index >= HANDSHAKE_PACKET_PIECES || EARLY.get_ptr(key).is_some() {
        // More pieces have arrived than one run moves to the out-of-order buffer, so the connection becomes opaque.
        own.lose(&mut pod, event::OUT_OF_ORDER_FULL);
    }
    own.serialisation.record_buffered();
    if own.serialisation.enter(&pod) {
        own.serialisation.begin_reading(&pod);
        let mut work = Work {
            socket,
            buffer: buffer_pointer,
            serialisation: &raw mut own.serialisation,
            connection,
            pod: pod.again(),
            rules,
        };
        http1(&mut work);
        if own.is(state::HTTP2)
            && let Some(http2) = http2(socket)
        {
            then(&mut Work {
                socket,
                buffer: buffer_pointer,
                serialisation: work.serialisation,
                connection: http2,
                pod: work.pod,
                rules,
            });
        }
    }
    // This program cannot call the ingress programs. So if other CPUs have stored segments while this program ran, the
    // segments are read with the next packet.
    own.serialisation.leave(&pod);
}
