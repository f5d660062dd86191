//! The machine's first process: what an init does, as far as the checks need it.
//!
//! Results go to the second serial line, so that what the kernel says on the first cannot fall between them.
//! It ends by switching the machine off; should it die before, the kernel panics and the machine ends too.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use anyhow::{Context as _, Result};
use nix::{
    kmod::{ModuleInitFlags, finit_module},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::reboot::{RebootMode, reboot},
    unistd::dup2_stdout,
};

use super::netlink;

/// Where results go.
const RESULTS: &str = "/dev/ttyS1";

/// Where the kernel modules are that are to be loaded, in the order of their names.
const MODULES: &str = "/modules";

/// `MODULE_INIT_COMPRESSED_FILE` of include/uapi/linux/module.h: the kernel unpacks it. Linux 5.17; Debian
/// compresses its modules from 6.12 on.
const COMPRESSED: libc::c_uint = 4;

/// File systems, and where they are expected.
const MOUNTS: [(&str, &str); 6] = [
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("tmpfs", "/tmp"),
];

/// Makes a machine of it, does what there is to do, and switches it off.
pub(super) fn as_first_process<T>(work: impl FnOnce() -> T) -> Result<()> {
    for (kind, at) in MOUNTS {
        // Those below /sys exist once that is mounted.
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
    netlink::set_up(netlink::LOOPBACK).context("the loopback device cannot be switched on")?;
    work();
    reboot(RebootMode::RB_POWER_OFF).context("cannot be switched off")?;
    Ok(())
}

/// On a machine of others: a loopback device that only this process has.
pub(super) fn network_of_our_own() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace (it takes root)")?;
    netlink::set_up(netlink::LOOPBACK).context("the loopback device cannot be switched on")
}

/// Loads the modules that were brought along. One that cannot be is told on the console: the check that needs
/// it will miss it.
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
