//! The maps. Their values are in `ebb_common`.

#[expect(
    deprecated,
    reason = "its successor, CGRP_STORAGE, needs Linux 6.2; this one is there from 4.19"
)]
use aya_ebpf::btf_maps::CgroupStorage;
use aya_ebpf::{
    bindings::bpf_sock,
    btf_maps::{Array, HashMap, LruHashMap, ProgramArray, SkStorage},
    helpers::generated::bpf_sk_storage_get,
    macros::btf_map,
};
use ebb_common::{
    abi::{Ends, Exclusion, MAX_EARLY, MAX_EXCLUSIONS, MAX_PODS, PodCounters, PodRules},
    conn::Conn,
};

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

/// Connections that were opened from inside a counted cgroup, between their two ends' being
/// established: microseconds on one host. A slot is the value.
#[btf_map]
pub static INNER: LruHashMap<Ends, u64, 4096> = LruHashMap::new();

/// `requests`, to go on in with a packet of more steps than one run has. Not in one array with
/// `responses`: the kernel (6.17 and later) wants one attach type in an array.
#[btf_map]
pub static MORE_REQUESTS: ProgramArray<1> = ProgramArray::new();

/// `responses`, for the same.
#[btf_map]
pub static MORE_RESPONSES: ProgramArray<1> = ProgramArray::new();

/// `early`, which `requests` goes on in.
#[btf_map]
pub static EARLY_REQUESTS: ProgramArray<1> = ProgramArray::new();

/// Bytes of a [`Conn`]. As plain words: the kernel would take a `Conn` in this kind of map for one with
/// a lock, and refuse it.
pub type EarlyConn = [u64; size_of::<Conn>() / 8];

/// Connections that are not made yet, by their ends: see `early`. An entry that is evicted costs
/// one request that is not counted.
#[btf_map]
pub static EARLY: LruHashMap<Ends, EarlyConn, { MAX_EARLY as usize }> = LruHashMap::new();

/// Zeros, larger than the stack: what a new entry of [`EARLY`] is copied from.
#[btf_map]
pub static BLANK: Array<EarlyConn, 1> = Array::new();

#[btf_map]
static CONNECTIONS: SkStorage<Conn> = SkStorage::new();

/// The connection of a socket, if it is counted.
#[inline(always)]
pub fn connection(socket: *mut bpf_sock) -> Option<*mut Conn> {
    storage(socket, core::ptr::null_mut(), 0)
}

/// Makes room for the connection of a socket: a copy of an early one, or filled with zeros.
#[inline(always)]
pub fn adopt(socket: *mut bpf_sock, early: Option<*mut EarlyConn>) -> Option<*mut Conn> {
    const CREATE: u64 = 1; // BPF_SK_STORAGE_GET_F_CREATE
    storage(socket, early.unwrap_or(core::ptr::null_mut()), CREATE)
}

#[inline(always)]
fn storage(socket: *mut bpf_sock, from: *mut EarlyConn, flags: u64) -> Option<*mut Conn> {
    // The typed getters of aya take a sock_addr context only.
    let map = (&raw const CONNECTIONS).cast_mut();
    // SAFETY: the verifier checks the socket, the map and what is copied.
    let pointer = unsafe { bpf_sk_storage_get(map.cast(), socket.cast(), from.cast(), flags) };
    if pointer.is_null() {
        None
    } else {
        Some(pointer.cast())
    }
}
