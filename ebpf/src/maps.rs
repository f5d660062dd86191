//! The maps. Their values are in `ebb_common`.

#[expect(
    deprecated,
    reason = "its successor, CGRP_STORAGE, needs Linux 6.2; this one is there from 4.19"
)]
use aya_ebpf::btf_maps::CgroupStorage;
use aya_ebpf::{
    bindings::bpf_sock,
    btf_maps::{Array, HashMap, LruHashMap, ProgramArray, RingBuf, SkStorage},
    helpers::generated::bpf_sk_storage_get,
    macros::btf_map,
    programs::SkBuffContext,
};
use ebb_common::{
    abi::{
        Ends, EventCount, Exclusion, MAX_EXCLUSIONS, MAX_PODS, PodCounters, PodRules, egress,
        event, ingress, sockets,
    },
    conn::Conn,
    direction::Side,
    http2::Http2,
    out_of_order::{EarlyKey, MAX_EARLY_PIECES, MAX_PIECES, Piece, PieceKey, Stash},
};

/// The key is in the map already: `-EEXIST` of include/uapi/asm-generic/errno-base.h.
pub const EEXIST: i32 = -17;

/// `BPF_F_MMAPABLE`: user space reads the counters without a system call. Linux 5.5.
const MMAPABLE: usize = 1 << 10;

/// The counters of each pod, by slot.
#[btf_map]
pub static PODS: Array<PodCounters, { MAX_PODS as usize }, MMAPABLE> = Array::new();

/// The rules of each pod, by slot.
#[btf_map]
pub static RULES: Array<PodRules, { MAX_PODS as usize }> = Array::new();

/// The paths that are not counted. The value means nothing.
#[btf_map]
pub static EXCLUSIONS: HashMap<Exclusion, u32, { MAX_EXCLUSIONS as usize }> = HashMap::new();

/// The slot of the cgroup that `sockets` is attached to.
#[btf_map]
#[expect(deprecated, reason = "see the import")]
pub static SLOT: CgroupStorage<u64> = CgroupStorage::new();

/// What rarely happens, by [`ebb_common::abi::event`].
#[btf_map]
pub static EVENTS: Array<EventCount, { event::KINDS }> = Array::new();

/// Slots with as many requests as user space wants to be woken at.
#[btf_map]
pub static WAKES: RingBuf<u64, 4096> = RingBuf::new();

/// The slots by their cgroups' ids: for sockets of which nothing is known but the cgroup.
#[btf_map]
pub static CGROUPS: HashMap<u64, u32, { MAX_PODS as usize }> = HashMap::new();

/// Connections that were opened from inside a counted cgroup, between their two ends' being
/// established: microseconds on one host. A slot is the value.
#[btf_map]
pub static INNER: LruHashMap<Ends, u64, 4096> = LruHashMap::new();

/// The programs that see bytes arrive, by [`ebb_common::abi::ingress`]. Not in one array with the others: the
/// kernel (6.17 and later) wants one attach type in an array.
#[btf_map]
pub static INGRESS: ProgramArray<{ ingress::PROGRAMS as usize }> = ProgramArray::new();

/// The programs that see bytes leave, by [`ebb_common::abi::egress`].
#[btf_map]
pub static EGRESS: ProgramArray<{ egress::PROGRAMS as usize }> = ProgramArray::new();

/// The programs that `sockets` calls, by [`ebb_common::abi::sockets`].
#[btf_map]
pub static SOCKETS: ProgramArray<{ sockets::PROGRAMS as usize }> = ProgramArray::new();

/// What has come before its connection: see `early`.
#[btf_map]
pub static EARLY: LruHashMap<EarlyKey, Piece, { MAX_EARLY_PIECES as usize }> = LruHashMap::new();

/// The connections that are counted.
#[btf_map]
static CONNECTIONS: SkStorage<Conn> = SkStorage::new();

/// Those of them that speak HTTP/2.
#[btf_map]
static HTTP2: SkStorage<Http2> = SkStorage::new();

/// Sockets that were open before, and serve nobody. The value means nothing.
#[btf_map]
static NOT_COUNTED: SkStorage<u32> = SkStorage::new();

/// `BPF_SK_STORAGE_GET_F_CREATE` of include/uapi/linux/bpf.h.
const CREATE: u64 = 1;

/// What connections have kept of their segments that came before their turn.
#[btf_map]
static STASH: SkStorage<Stash> = SkStorage::new();

/// The pieces of those. All allocated from the start: from 6.1 on the kernel has one of this size at hand for
/// a program that asks for memory, and goes to look for the next one later (`bpf_mem_alloc`).
#[btf_map]
pub static PIECES_KEPT: HashMap<PieceKey, Piece, { MAX_PIECES as usize }> = HashMap::new();

/// Zeros: what a new piece is copied from.
#[btf_map]
pub static NO_PIECE: Array<Piece, 1> = Array::new();

/// The connection of a socket, if it is counted.
#[inline(always)]
pub fn connection(socket: *mut bpf_sock) -> Option<*mut Conn> {
    let connection = storage(&CONNECTIONS, socket, 0)?;
    // SAFETY: socket storage lives as long as the socket.
    unsafe { (*connection).is_open() }.then_some(connection)
}

/// Makes room for the connection of a socket, filled with zeros. It is one when it has been opened.
#[inline(always)]
pub fn make_connection(socket: *mut bpf_sock) -> Option<*mut Conn> {
    create(&CONNECTIONS, socket)
}

/// Whether a socket has been found to serve nobody.
#[inline(always)]
pub fn is_not_counted(socket: *mut bpf_sock) -> bool {
    storage(&NOT_COUNTED, socket, 0).is_some()
}

/// Notes that it does not.
#[inline(always)]
pub fn do_not_count(socket: *mut bpf_sock) {
    create(&NOT_COUNTED, socket);
}

/// The HTTP/2 side of a socket's connection, if it has one.
#[inline(always)]
pub fn http2(socket: *mut bpf_sock) -> Option<*mut Http2> {
    storage(&HTTP2, socket, 0)
}

/// The HTTP/2 side of a socket's connection; filled with zeros if it had none.
#[inline(always)]
pub fn make_http2(socket: *mut bpf_sock) -> Option<*mut Http2> {
    create(&HTTP2, socket)
}

/// The storage of a socket, made if it is not there. To whoever comes second of two CPUs that make it at once the kernel
/// gives none (`BPF_NOEXIST` in net/core/bpf_sk_storage.c): then it is there.
#[inline(always)]
fn create<T>(map: &'static SkStorage<T>, socket: *mut bpf_sock) -> Option<*mut T> {
    match storage(map, socket, CREATE) {
        Some(made) => Some(made),
        None => storage(map, socket, 0),
    }
}

#[inline(always)]
fn storage<T>(map: &'static SkStorage<T>, socket: *mut bpf_sock, flags: u64) -> Option<*mut T> {
    // The typed getters of aya take a sock_addr context only.
    let map = core::ptr::from_ref(map).cast_mut();
    // SAFETY: the verifier checks the socket and the map.
    let pointer =
        unsafe { bpf_sk_storage_get(map.cast(), socket.cast(), core::ptr::null_mut(), flags) };
    if pointer.is_null() {
        None
    } else {
        Some(pointer.cast())
    }
}

/// What a socket's connection has kept, if it has.
#[inline(always)]
pub fn stash(socket: *mut bpf_sock) -> Option<*mut Stash> {
    storage(&STASH, socket, 0)
}

/// Where a socket's connection keeps what comes before its turn.
#[inline(always)]
pub fn make_stash(socket: *mut bpf_sock) -> Option<*mut Stash> {
    create(&STASH, socket)
}

/// Goes on in another program of the same side: it does not return, unless the kernel's limit of 33 is reached.
#[inline(always)]
pub fn go_on_in(context: &SkBuffContext, side: Side, program: u32) {
    // SAFETY: programs of the same kind, which look at everything anew.
    unsafe {
        match side {
            Side::Requests => INGRESS.tail_call(context, program),
            Side::Responses => EGRESS.tail_call(context, program),
        }
    };
}
