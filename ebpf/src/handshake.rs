//! Bytes that come with a packet of the handshake, before there is a connection to count them on.
//!
//! That is so where the client's own last packet was lost, where the accept queue was full when it came, and always with
//! `TCP_DEFER_ACCEPT`; and with TCP Fast Open (RFC 7413), where the first packet brings them. The kernel shows such a packet
//! to the listening socket only
//! (<https://elixir.bootlin.com/linux/v6.12/source/net/ipv4/tcp_ipv4.c#L2254>). It is kept; when the kernel makes
//! the connection, a moment later and on the same CPU, it is read there as if it came then (see [`adopt`]). If it never
//! does, nothing has been counted, and the bytes are forgotten. Of two such packets on two CPUs one makes the connection;
//! the other is shown again, to its socket. So each CPU has a place of its own.
//!
//! The same is done with what comes on another CPU while the kernel makes the connection: its socket can be found by then,
//! but `sockets` has not heard of it. It is shown once only, and there can be several.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::generated::{bpf_get_smp_processor_id, bpf_get_socket_cookie},
    programs::{SkBuffContext, SockOpsContext},
};
use ebb_common::{
    abi::{Ends, event, ingress},
    conn::{Conn, state},
    direction::Side,
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
    traffic::TCP_LISTEN,
};

/// Where a piece says what it is: in a word that no text is read from.
const ABOUT: usize = PIECE_WORDS - 1;

/// Keeps what a packet brings for a connection to come.
#[inline(always)]
pub fn store_packet(context: &SkBuffContext) {
    let Some(header) = Header::read(context) else {
        return;
    };
    let Some(ends) = ends(context, &header) else {
        return;
    };
    // SAFETY: a field that every socket has.
    if unsafe { (*header.socket).state } == TCP_LISTEN {
        store(context, &header, first_of(ends), BPF_ANY);
        return;
    }
    store(context, &header, meanwhile(ends), BPF_NOEXIST);
    // Made meanwhile: it may have been taken on before there was anything to hand to it. What was kept is left to the
    // map, as it may just be being handed over.
    if connection(header.socket).is_some() {
        serialisation::set_put_aside(context, 0);
        go_on_in(context, Side::Requests, ingress::HTTP1_INGRESS_LOOP);
    }
}

/// The first piece of the packet that is at the listening socket on this CPU.
#[inline(always)]
pub fn first_of(ends: Ends) -> EarlyKey {
    EarlyKey {
        ends,
        // SAFETY: no arguments.
        from: unsafe { bpf_get_smp_processor_id() },
        index: 0,
    }
}

/// The first piece that came while the connection was being made.
#[inline(always)]
pub fn meanwhile(ends: Ends) -> EarlyKey {
    EarlyKey {
        ends,
        from: MEANWHILE,
        index: 0,
    }
}

/// Keeps a packet in pieces, from one place on; in free ones if `flags` say so.
#[inline(always)]
fn store(context: &SkBuffContext, header: &Header, mut key: EarlyKey, flags: u32) {
    for index in 0..EARLY_PIECES {
        // From where the verifier does not know it: else each number of places taken would be a way of its own.
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
        // Last, as another CPU may be taking it on. The add, to 0, is the barrier between that and the look whether there is
        // a connection now.
        // SAFETY: a value of the map.
        let about = unsafe { &raw mut (*piece)[ABOUT] };
        add(about, u64::from(first) << 32 | u64::from(length));
        serialisation::set_put_aside(context, done + PIECE as u32);
    }
}

/// Hands what was kept to the connection that has been made, and has it read by `http1` and `http2`.
#[inline(always)]
pub fn drain(
    context: &SockOpsContext,
    http1: impl Fn(&mut Work<'_, Conn>),
    then: impl Fn(&mut Work<'_, ebb_common::http2::Http2>),
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
    // SAFETY: socket storage, as long as the program runs.
    let (slot, own, kept) = unsafe { ((*connection).slot, &mut *connection, &mut *stash_of) };
    // SAFETY: the program's context.
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
        // SAFETY: a value of the map.
        let about = unsafe { (&raw const (*piece)[ABOUT]).read_volatile() };
        let place = Place {
            first: (about >> 32) as u32,
            length: about as u32,
        };
        if place.length == 0 || place.first.wrapping_sub(own.requests.next) >= EARLY_REACH {
            // Another CPU is at it, and will see that there is a connection. Or an earlier one of these ends left it.
            let _ = EARLY.remove(key);
            continue;
        }
        // Others put aside meanwhile what comes now: from the last place on, and perhaps this once more.
        // SAFETY: as above.
        let piece = unsafe { &*piece };
        let lock = &raw mut kept.lock;
        let claimed = pod.locked(lock, || kept.claim_at(index, place.first, place.length));
        if claimed {
            match PIECES_KEPT.insert(
                out_of_order::key(kept, place.first),
                piece,
                u64::from(BPF_NOEXIST),
            ) {
                // Without a look at the pod's share: these pieces are few, and only the handshake brings them.
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
        // There may have been more than there is room for.
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
    // What is put aside meanwhile is looked at with the next packet: from here there is no way on.
    own.turn.leave(&pod);
}
