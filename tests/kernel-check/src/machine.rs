//! The first process (init) of a test machine: it mounts file systems, loads modules, runs the checks, and powers the
//! machine off.
//!
//! Results are written to the second serial port, so that kernel messages on the first one cannot mix with them.
//! Failure mode: if this process ends before it powers the machine off, the kernel panics and the machine ends too.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context as _, Result};
use ebb_fixtures::net::netlink;
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::reboot::{RebootMode, reboot},
    unistd::dup2_stdout,
};

/// The serial port of the virtual machine to which the results are written.
const RESULTS: &str = "/dev/ttyS1";

/// The folder with the kernel modules to load, which are loaded in the order of their names.
const MODULES: &str = "/modules";

/// The flag `MODULE_INIT_COMPRESSED_FILE` of include/uapi/linux/module.h (Linux 5.17): the kernel decompresses the
/// module. Debian compresses its modules since Linux 6.12.
const COMPRESSED: libc::c_uint = 4;

/// The file systems to mount, as (type, mount point).
const MOUNTS: [(&str, &str); 6] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("tmpfs", "/tmp"),
];

/// Sets up the machine, runs `work`, and powers the machine off.
pub(super) fn as_first_process<T>(work: impl FnOnce() -> T) -> Result<()> {
    for (kind, at) in MOUNTS {
        // The mount points below /sys exist only after /sys has been mounted.
        fs::create_dir_all(at).with_context(|| format!("{at}: cannot be made"))?;
        mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("{at}: cannot mount {kind}"))?;
    }
    let results = File::options().write(true).open(RESULTS).context(RESULTS)?;
    dup2_stdout(&results).context("standard output")?;
    let version =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's version")?;
    println!("kernel: {}", version.trim());
    load_modules();
    netlink::loopback_up().context("the loopback device cannot be switched on")?;
    work();
    reboot(RebootMode::RB_POWER_OFF).context("cannot be switched off")?;
    Ok(())
}

/// Enters a private network namespace with a loopback device. This is for a machine that also runs other programs.
pub(super) fn network_of_our_own() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot create a network namespace (requires root)")?;
    netlink::loopback_up().context("the loopback device cannot be switched on")
}

/// Loads the modules in `MODULES`. If a module cannot be loaded, the error is printed on the console, and a check that
/// needs the module is skipped or fails.
fn load_modules() {
    let mut modules: Vec<_> = fs::read_dir(MODULES)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    modules.sort();
    for module in modules {
        if let Err(error) = load_module(&module) {
            eprintln!("{}: {error}", module.display());
        }
    }
}

fn load_module(path: &Path) -> io::Result<()> {
    let flags = match path.extension() {
        Some(extension) if extension != "ko" => ModuleInitFlags::from_bits_retain(COMPRESSED),
        _ => ModuleInitFlags::empty(),
    };
    finit_module(File::open(path)?, c"", flags)?;
    Ok(())
}
