//! Data that arrives with a packet of the handshake, before its connection is established.
//!
//! Data arrives before its connection is established in four cases: the client's last packet of the handshake was lost;
//! the accept queue was full when that packet arrived; the listener uses `TCP_DEFER_ACCEPT` (then always); the client
//! uses TCP Fast Open (RFC 7413), whose first packet carries data. For a packet with early data, the kernel runs the
//! programs only on the listening socket (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp_ipv4.c#L2254>).
//! So the programs store its data. A moment later, on the same CPU, the kernel establishes the connection, and the
//! programs read the stored data as if it arrived at that moment (see [`drain`]). If the kernel never establishes the
//! connection, the data is never read, and nothing is counted. If packets with early data arrive on two CPUs, one
//! packet establishes the connection, and the kernel runs the programs for the other packet once more, on the new
//! socket. So the pieces that each CPU stores have separate keys.
//!
//! While the kernel establishes the connection, more data can arrive on other CPUs. At that moment the kernel finds the
//! new socket, but the program `connections` has not run for it yet. So the programs store this data, too. The kernel
//! runs the programs only once for each of these packets, and there can be several.

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
        ADOPTED_PIECES, EARLY_PIECES, EARLY_REACH, EarlyKey, MEANWHILE, PIECE, PIECE_WORDS, Place,
    },
    packet::Meter as _,
};

use crate::{
    maps::{EARLY, EEXIST, NO_PIECE, PIECES_KEPT, RULES, connection, go_on_in, http2, make_stash},
    meter::{Pod, add},
    out_of_order::{self, Share, Work},
    segment::{Header, ends},
    serialisation, sockets,
};

/// Index of the word in which a piece holds its sequence number and length. The parsers read no data from this word.
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
        store(context, &header, first_of(ends), BPF_ANY);
        return;
    }
    store(context, &header, meanwhile(ends), BPF_NOEXIST);
    // If the connection has been established since this program began, `handshake_read` may have run before this data
    // was stored. So this program continues with reading the packet. The stored data remains in the map, because
    // `handshake_read` may be reading it.
    if connection(header.socket).is_some() {
        serialisation::set_put_aside(context, 0);
        go_on_in(context, Side::Requests, ingress::HTTP1_INGRESS_LOOP);
    }
}

/// Returns the key in the map `EARLY` of the first piece of a packet that arrives at the listening socket on this CPU.
/// Data is stored in pieces of at most [`PIECE`] bytes.
#[inline(always)]
pub fn first_of(ends: Ends) -> EarlyKey {
    EarlyKey {
        ends,
        // SAFETY: the helper takes no arguments.
        from: unsafe { bpf_get_smp_processor_id() },
        index: 0,
    }
}

/// Returns the key in the map `EARLY` of the first piece of data that arrives on another CPU while the kernel
/// establishes the connection. Data is stored in pieces of at most [`PIECE`] bytes.
#[inline(always)]
pub fn meanwhile(ends: Ends) -> EarlyKey {
    EarlyKey {
        ends,
        from: MEANWHILE,
        index: 0,
    }
}

/// Stores a packet in pieces, with keys from `key` on. With `BPF_NOEXIST` in `flags`, keys that are in the map already
/// are skipped.
#[inline(always)]
fn store(context: &SkBuffContext, header: &Header, mut key: EarlyKey, flags: u32) {
    for index in 0..EARLY_PIECES {
        // The number of stored bytes is read from the control block, so that the verifier does not know its value.
        // Otherwise the verifier would follow one path for each number of keys that are skipped.
        let done = serialisation::put_aside(context);
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
        // piece. The word was 0, so an atomic add can write it. The add is also the barrier between this write and the
        // check whether the connection exists.
        // SAFETY: the pointer is to a value of the map.
        let about = unsafe { &raw mut (*piece)[ABOUT] };
        add(about, u64::from(first) << 32 | u64::from(length));
        serialisation::set_put_aside(context, done + PIECE as u32);
    }
}

/// Moves the data that arrived before the connection was established to the out-of-order buffer of the new connection.
/// Then `http1` reads the data. If the connection has changed to HTTP/2, `then` reads the rest.
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
    let Some(stash_of) = make_stash(socket) else {
        return;
    };
    // SAFETY: socket storage is valid while the program runs.
    let (slot, own, kept) = unsafe { ((*connection).slot, &mut *connection, &mut *stash_of) };
    // SAFETY: the pointer is the program's context.
    kept.socket = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
    let (Some(mut pod), Some(rules)) = (Pod::of(slot), RULES.get(slot)) else {
        return;
    };
    let Some(share) = Share::of(&pod) else {
        return;
    };
    let mut key = first_of(sockets::ends(context));
    kept.adopt_from(key.from);
    for index in 0..ADOPTED_PIECES {
        kept.next_early(&mut key);
        let Some(piece) = EARLY.get_ptr(key) else {
            if key.from == MEANWHILE {
                break;
            }
            kept.adopt_from(MEANWHILE);
            continue;
        };
        // SAFETY: the pointer is to a value of the map.
        let about = unsafe { (&raw const (*piece)[ABOUT]).read_volatile() };
        let place = Place {
            first: (about >> 32) as u32,
            length: about as u32,
        };
        if place.length == 0 || place.first.wrapping_sub(own.requests.next) >= EARLY_REACH {
            // If the length is 0, another CPU is still storing the piece: that CPU will see that the connection exists,
            // and read the packet itself. If the sequence number is too far ahead, the piece is left from an earlier
            // connection with the same addresses and ports. In both cases the piece is dropped.
            let _ = EARLY.remove(key);
            continue;
        }
        // At the same time, other CPUs may store later segments, or this same piece, in the out-of-order buffer. They
        // claim free places from the last one down, while this program claims places from the first one up.
        // SAFETY: the pointer is to a value of the map.
        let piece = unsafe { &*piece };
        let lock = &raw mut kept.lock;
        let claimed = pod.locked(lock, || kept.claim_at(index, place.first, place.length));
        if claimed {
            match PIECES_KEPT.insert(
                out_of_order::key(kept, place.first),
                piece,
                u64::from(BPF_NOEXIST),
            ) {
                // The pod's share of the out-of-order buffer is not checked here: only the handshake stores these
                // pieces, and they are few.
                Ok(()) => {
                    share.take();
                    kept.settle(index, place);
                }
                Err(EEXIST) => kept.settle(index, Place::FREE),
                Err(_) => {
                    kept.settle(index, Place::FREE);
                    own.lose(&mut pod, event::NO_ROOM);
                }
            }
        } else {
            own.lose(&mut pod, event::NO_ROOM);
        }
        let _ = EARLY.remove(key);
    }
    kept.next_early(&mut key);
    if key.index >= EARLY_PIECES || EARLY.get_ptr(key).is_some() {
        // One run cannot move all pieces that have arrived to the out-of-order buffer, so the connection becomes
        // opaque.
        own.lose(&mut pod, event::NO_ROOM);
    }
    own.turn.put_aside();
    if own.turn.enter(&pod) {
        own.turn.look(&pod);
        let mut work = Work {
            socket,
            stash: stash_of,
            turn: &raw mut own.turn,
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
                stash: stash_of,
                turn: work.turn,
                connection: http2,
                pod: work.pod,
                rules,
            });
        }
    }
    // Segments that other CPUs have stored while this program ran are read with the next packet: this program cannot
    // call the ingress programs.
    own.turn.leave(&pod);
}
