//! The machine's first process: the tasks of an init that the checks need.
//!
//! Results go to the second serial line, so that kernel messages on the first cannot be mixed with them. The process ends
//! by powering the machine off. Failure mode: if the process dies earlier, the kernel panics and the machine ends too.

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

/// Device for the results.
const RESULTS: &str = "/dev/ttyS1";

/// Folder of the kernel modules to load, in the order of their names.
const MODULES: &str = "/modules";

/// `MODULE_INIT_COMPRESSED_FILE` of include/uapi/linux/module.h: the kernel decompresses the module. Linux 5.17; Debian
/// compresses its modules since 6.12.
const COMPRESSED: libc::c_uint = 4;

/// File systems and their mount points.
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
        // Mount points below /sys exist once /sys is mounted.
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

/// For a machine that is not ours alone: enters a private network namespace with a loopback device.
pub(super) fn network_of_our_own() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace (it takes root)")?;
    netlink::loopback_up().context("the loopback device cannot be switched on")
}

/// Loads the modules in `MODULES`. A failure is reported on the console; a check that needs the module will then be
/// skipped or fail.
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
