//! The BPF maps. The types of their values are in `ebb_abi` if user space uses the map, else in `ebb_parser`.

#[expect(
    deprecated,
    reason = "the map type CGROUP_STORAGE works from Linux 4.19 on; its successor, CGRP_STORAGE, needs Linux 6.2"
)]
use aya_ebpf::btf_maps::CgroupStorage;
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::{Array, HashMap, LruHashMap, ProgramArray, RingBuf, SkStorage},
    helpers::generated::bpf_sk_storage_get,
    macros::btf_map,
    programs::SkBuffContext,
};
use ebb_abi::{
    EventCount, Exclusion, MAX_EXCLUSIONS, MAX_PODS, OVERFLOW_TABLES, OverflowOwner, PodCounters,
    PodRules, egress, event, ingress, sockets,
};
use ebb_parser::{
    conn::Conn,
    direction::Side,
    ends::{ClientEnd, ServerEnd},
    http2::{Http2, OverflowTable},
    out_of_order::{
        HandshakePieceKey, MAX_HANDSHAKE_PIECES, MAX_PIECES, OutOfOrderBuffer, Piece, PieceKey,
    },
};

/// Error code of an insertion whose key is already in the map: `-EEXIST` of include/uapi/asm-generic/errno-base.h.
/// aya's bindings lack it.
pub const EEXIST: i32 = -17;

/// The counters of each pod, by slot. User space maps this array into its memory, and reads the counters without a
/// system call (`BPF_F_MMAPABLE`, Linux 5.5).
#[btf_map]
pub static PODS: Array<PodCounters, { MAX_PODS as usize }, { BPF_F_MMAPABLE as usize }> =
    Array::new();

/// The rules of each pod, by slot.
#[btf_map]
pub static RULES: Array<PodRules, { MAX_PODS as usize }> = Array::new();

/// The paths that are excluded from counting. Only the keys matter; the values have no meaning.
#[btf_map]
pub static EXCLUSIONS: HashMap<Exclusion, u32, { MAX_EXCLUSIONS as usize }> = HashMap::new();

/// The pod slot of each cgroup to which `connections` is attached.
#[btf_map]
#[expect(deprecated, reason = "see the import")]
pub static SLOT: CgroupStorage<u64> = CgroupStorage::new();

/// Counts of rare events, by [`ebb_abi::event`].
#[btf_map]
pub static EVENTS: Array<EventCount, { event::KINDS }> = Array::new();

/// Wake-ups for user space: the slots of pods whose number of started requests has reached the burst threshold.
#[btf_map]
pub static WAKES: RingBuf<u64, 4096> = RingBuf::new();

/// The pod slots, by cgroup id. Used for sockets without a counted connection: only the cgroup of these sockets is
/// known.
#[btf_map]
pub static CGROUPS: HashMap<u64, u32, { MAX_PODS as usize }> = HashMap::new();

/// The connections that are open and were opened from inside a counted cgroup. An entry is needed until the passive end
/// is established or, if NAT has changed the destination, until the first packet arrives at that end. The oldest entries
/// are dropped: such a connection may count as one from outside.
#[btf_map]
pub static INNER: LruHashMap<ClientEnd, ServerEnd, 4096> = LruHashMap::new();

/// The ingress programs, by [`ebb_abi::ingress`]. Each kind of program has a separate array: since Linux 6.17 all
/// programs of an array must have the same attach type.
#[btf_map]
pub static INGRESS: ProgramArray<{ ingress::PROGRAMS as usize }> = ProgramArray::new();

/// The egress programs, by [`ebb_abi::egress`].
#[btf_map]
pub static EGRESS: ProgramArray<{ egress::PROGRAMS as usize }> = ProgramArray::new();

/// The programs that `connections` calls, by [`ebb_abi::sockets`].
#[btf_map]
pub static SOCKETS: ProgramArray<{ sockets::PROGRAMS as usize }> = ProgramArray::new();

/// Data that arrived before its connection was established: see `handshake`.
#[btf_map]
pub static EARLY: LruHashMap<HandshakePieceKey, Piece, { MAX_HANDSHAKE_PIECES as usize }> =
    LruHashMap::new();

/// The owners of the overflow tables.
#[btf_map]
pub static OVERFLOW_OWNERS: Array<OverflowOwner, { OVERFLOW_TABLES as usize }> = Array::new();

/// The overflow tables: streams of HTTP/2 connections that have more streams in flight than fit in their own tables.
#[btf_map]
pub static OVERFLOW_TABLE: Array<OverflowTable, { OVERFLOW_TABLES as usize }> = Array::new();

/// The counted connections.
#[btf_map]
static CONNECTIONS: SkStorage<Conn> = SkStorage::new();

/// The HTTP/2 state of counted HTTP/2 connections.
#[btf_map]
static HTTP2: SkStorage<Http2> = SkStorage::new();

/// Sockets that were open before their cgroup was counted, and are not counted, because the pod is not the server of
/// their connections. The value has no meaning.
#[btf_map]
static NOT_COUNTED: SkStorage<u32> = SkStorage::new();

/// The state of the out-of-order buffer of each connection that has used one: which pieces the buffer holds.
#[btf_map]
static STASH: SkStorage<OutOfOrderBuffer> = SkStorage::new();

/// The pieces of all out-of-order buffers. The kernel allocates the memory of all pieces when it creates the map.
/// Allocation at run time would not be enough: from Linux 6.1 on, a program can rely on only one allocation of this
/// size, because the kernel refills its cache of free memory later (`bpf_mem_alloc`).
#[btf_map]
pub static PIECES_KEPT: HashMap<PieceKey, Piece, { MAX_PIECES as usize }> = HashMap::new();

/// A piece of zeros: the initial value of each new piece.
#[btf_map]
pub static NO_PIECE: Array<Piece, 1> = Array::new();

/// Returns the connection of a socket, or `None` if the connection is not counted.
#[inline(always)]
pub fn connection(socket: *mut bpf_sock) -> Option<*mut Conn> {
    let connection = storage(&CONNECTIONS, socket, 0)?;
    // SAFETY: socket storage lives as long as the socket.
    unsafe { (*connection).is_open() }.then_some(connection)
}

/// Creates the state of a socket's connection, filled with zeros. [`connection`] returns this state only after it has
/// been assigned to a pod.
#[inline(always)]
pub fn make_connection(socket: *mut bpf_sock) -> Option<*mut Conn> {
    create(&CONNECTIONS, socket)
}

/// Returns whether a socket has been marked by `do_not_count`.
#[inline(always)]
pub fn is_not_counted(socket: *mut bpf_sock) -> bool {
    storage(&NOT_COUNTED, socket, 0).is_some()
}

/// Marks a socket as not counted.
#[inline(always)]
pub fn do_not_count(socket: *mut bpf_sock) {
    create(&NOT_COUNTED, socket);
}

/// Returns the HTTP/2 state of a socket's connection, or `None` if there is none.
#[inline(always)]
pub fn http2(socket: *mut bpf_sock) -> Option<*mut Http2> {
    storage(&HTTP2, socket, 0)
}

/// Returns the HTTP/2 state of a socket's connection. Creates the state, filled with zeros, if there is none.
#[inline(always)]
pub fn make_http2(socket: *mut bpf_sock) -> Option<*mut Http2> {
    create(&HTTP2, socket)
}

/// Returns the storage of a socket. Creates the storage if it does not exist. If two CPUs create it at once, the kernel
/// returns null to the second CPU (`BPF_NOEXIST` in net/core/bpf_sk_storage.c); by then the storage exists.
#[inline(always)]
fn create<T>(map: &'static SkStorage<T>, socket: *mut bpf_sock) -> Option<*mut T> {
    match storage(map, socket, BPF_SK_STORAGE_GET_F_CREATE) {
        Some(made) => Some(made),
        None => storage(map, socket, 0),
    }
}

#[inline(always)]
fn storage<T>(map: &'static SkStorage<T>, socket: *mut bpf_sock, flags: u32) -> Option<*mut T> {
    // The helper `bpf_sk_storage_get` is called directly, because aya's typed getters accept a sock_addr context only.
    let map = core::ptr::from_ref(map).cast_mut();
    // SAFETY: the verifier checks the socket and the map.
    let pointer = unsafe {
        bpf_sk_storage_get(
            map.cast(),
            socket.cast(),
            core::ptr::null_mut(),
            u64::from(flags),
        )
    };
    if pointer.is_null() {
        None
    } else {
        Some(pointer.cast())
    }
}

/// Returns the out-of-order buffer of a socket's connection, or `None` if there is none.
#[inline(always)]
pub fn out_of_order_buffer(socket: *mut bpf_sock) -> Option<*mut OutOfOrderBuffer> {
    storage(&STASH, socket, 0)
}

/// Returns the out-of-order buffer of a socket's connection. Creates the buffer, filled with zeros, if there is none.
#[inline(always)]
pub fn make_out_of_order_buffer(socket: *mut bpf_sock) -> Option<*mut OutOfOrderBuffer> {
    create(&STASH, socket)
}

/// Continues, by a tail call, in another program of the same direction. Returns only if the kernel's limit of 33 tail
/// calls is reached.
#[inline(always)]
pub fn go_on_in(context: &SkBuffContext, side: Side, program: u32) {
    // SAFETY: all programs of an array have the same type, and each program reads its state anew.
    unsafe {
        match side {
            Side::Requests => INGRESS.tail_call(context, program),
            Side::Responses => EGRESS.tail_call(context, program),
        }
    };
}
