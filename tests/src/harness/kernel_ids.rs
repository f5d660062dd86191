//! The ids of the loaded programs and maps, listed without opening any of them.
//!
//! aya's `loaded_maps` and bpftool are not used, because they open each map. A program array that is opened and closed
//! while its last owner goes away is never freed (its clearing is requested twice and done once; seen on Linux 6.18). So a
//! check for remains would itself leave something.

use std::collections::BTreeSet;

/// `enum bpf_cmd` of `include/uapi/linux/bpf.h`.
const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
const BPF_MAP_GET_NEXT_ID: libc::c_long = 12;

/// The part of `union bpf_attr` that these two commands use.
#[repr(C)]
#[derive(Default)]
struct NextId {
    start: u32,
    next: u32,
    open_flags: u32,
}

/// The ids of all loaded programs. Linux 4.13, CAP_SYS_ADMIN.
pub(super) fn programs() -> BTreeSet<u32> {
    all(BPF_PROG_GET_NEXT_ID)
}

/// The ids of all maps. Linux 4.13, CAP_SYS_ADMIN.
pub(super) fn maps() -> BTreeSet<u32> {
    all(BPF_MAP_GET_NEXT_ID)
}

/// # Panics
/// If the kernel does not answer: an empty list would be read as "nothing is left".
fn all(command: libc::c_long) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    let mut attr = NextId::default();
    loop {
        // SAFETY: `attr` is a live `bpf_attr` of the given size; the kernel writes `next` only.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<NextId>()) };
        if result != 0 {
            let error = std::io::Error::last_os_error();
            assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "bpf: {error}");
            return ids;
        }
        ids.insert(attr.next);
        attr.start = attr.next;
    }
}
