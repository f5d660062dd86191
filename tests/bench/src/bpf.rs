//! eBPF programs that do nothing, and the kernel's run-time statistics of programs.
//!
//! This module calls bpf(2) directly: programs of two instructions need neither a compiler nor a loader. File
//! descriptors own all kernel objects, so the kernel removes the objects when this process ends, however it ends.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};

// Commands of bpf(2), from `enum bpf_cmd` of include/uapi/linux/bpf.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28; // Linux 5.7
const BPF_ENABLE_STATS: libc::c_long = 32; // Linux 5.8

// Program types, from `enum bpf_prog_type` of include/uapi/linux/bpf.h.
const CGROUP_SKB: u32 = 8;
const SOCK_OPS: u32 = 13;

/// The attach points on a cgroup; the numbers are those of `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Hook {
    /// Packets to the sockets of the cgroup.
    Ingress = 0,
    /// Packets from the sockets of the cgroup.
    Egress = 1,
    /// Events of the cgroup's sockets, such as opening and closing.
    SockOps = 3,
}

/// An instruction: `struct bpf_insn` of include/uapi/linux/bpf.h.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The program `r0 = 1; exit`, which lets each packet pass.
const NOTHING: [Instruction; 2] = [
    Instruction {
        code: 0xb7, // BPF_ALU64 | BPF_MOV | BPF_K
        registers: 0,
        offset: 0,
        immediate: 1,
    },
    Instruction {
        code: 0x95, // BPF_JMP | BPF_EXIT
        registers: 0,
        offset: 0,
        immediate: 0,
    },
];

/// The fields of `union bpf_attr` that BPF_PROG_LOAD uses here.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The fields of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct Link {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// The fields of `union bpf_attr` for BPF_ENABLE_STATS; `kind` 0 is BPF_STATS_RUN_TIME.
#[repr(C)]
struct Statistics {
    kind: u32,
}

/// Empty programs at the three attach points that a counter uses. Dropping this value detaches them.
#[derive(Debug)]
pub(super) struct Empty {
    /// For each attach point: (program, link).
    _held: [(OwnedFd, OwnedFd); 3],
}

impl Empty {
    /// Attaches one empty program to each of the three attach points of `cgroup`.
    ///
    /// # Errors
    /// If the kernel refuses: the process is not root, or `cgroup` is not a cgroup v2.
    pub(super) fn attach(cgroup: &Path) -> Result<Self> {
        let folder = File::open(cgroup).with_context(|| cgroup.display().to_string())?;
        let attach = |hook| program(&folder, hook).context("cannot attach an empty program");
        Ok(Self {
            _held: [
                attach(Hook::Ingress)?,
                attach(Hook::Egress)?,
                attach(Hook::SockOps)?,
            ],
        })
    }
}

fn program(cgroup: &File, hook: Hook) -> io::Result<(OwnedFd, OwnedFd)> {
    let license = c"Dual MIT/GPL";
    let mut load = Load {
        program_type: match hook {
            Hook::Ingress | Hook::Egress => CGROUP_SKB,
            Hook::SockOps => SOCK_OPS,
        },
        instruction_count: NOTHING.len() as u32,
        instructions: NOTHING.as_ptr() as u64,
        license: license.as_ptr() as u64,
        attach_type: hook as u32,
        ..Load::default()
    };
    load.name[..9].copy_from_slice(b"ebb_empty");
    // SAFETY: `NOTHING` and `license` are static, so the addresses in the attribute are valid.
    let program = unsafe { bpf(BPF_PROG_LOAD, &mut load) }?;
    let mut link = Link {
        program: program.as_raw_fd().cast_unsigned(),
        target: cgroup.as_raw_fd().cast_unsigned(),
        attach_type: hook as u32,
        flags: 0,
    };
    // SAFETY: the attribute contains no addresses.
    let link = unsafe { bpf(BPF_LINK_CREATE, &mut link) }?;
    Ok((program, link))
}

/// Makes the kernel measure each run of each program, until the returned file descriptor is closed. The measurement
/// costs about 30 ns per run. Needs Linux 5.8.
///
/// # Errors
/// If the kernel refuses: the process is not root.
pub(super) fn measure_runs() -> Result<OwnedFd> {
    // SAFETY: the attribute contains no addresses.
    unsafe { bpf(BPF_ENABLE_STATS, &mut Statistics { kind: 0 }) }
        .context("cannot make the kernel measure the run time of programs")
}

/// Calls bpf(2) and returns the resulting file descriptor.
///
/// # Safety
/// `attr` must have the layout of the kernel's `union bpf_attr` for this command. Addresses in `attr` must be valid
/// during the call.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is a live value of the given size. The caller guarantees the layout of `attr` and valid addresses
    // in it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attr),
            size_of::<T>(),
        )
    };
    match libc::c_int::try_from(result) {
        // SAFETY: these commands return a new descriptor, which nothing else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
