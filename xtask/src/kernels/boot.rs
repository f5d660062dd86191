//! Boots one kernel on an emulated machine and waits until the machine switches itself off.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{debian::Kernel, image::PROGRAM_FOLDER};
use crate::exec;

/// The emulator, from the package `qemu-system-x86`.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";

/// A CPU with all features that QEMU can emulate, except the instruction cmpxchg16b: QEMU 7.2 computes the CPU flags of
/// this instruction wrongly (observed: a direction flag that nothing had set, and memory overwritten in the kernel's
/// allocator). Kernels use another method on CPUs without cmpxchg16b.
const CPU: &str = "max,-cx16";

/// From 6.18 on, a Debian kernel on a CPU without cmpxchg16b allocates no memory for socket storage unless the
/// allocator's debug checks are on (`kmalloc_nolock`, <https://elixir.bootlin.com/linux/v6.18/source/mm/slub.c>). This
/// parameter enables the checks.
const ALLOCATOR: &str = "slub_debug=F,kmalloc-*";

/// Time limit of a run. A run takes half a minute on an idle machine, so a run that takes 10 min is stuck.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The results of a run.
pub(super) struct Finished {
    /// The output of the checks.
    pub(super) results: String,
    /// The file with the output of the kernel and the verifier.
    pub(super) console: PathBuf,
    /// The time taken, including the boot.
    pub(super) took: Duration,
}

/// Boots a kernel on an emulated machine and waits until the machine switches itself off. The output is kept in
/// `folder`.
pub(super) fn boot(
    kernel: &Kernel,
    initramfs: &Path,
    folder: &Path,
    only: Option<&str>,
) -> Result<Finished> {
    let results = folder.join(format!("{}-results.log", kernel.version));
    let console = folder.join(format!("{}-console.log", kernel.version));
    // The console output of an earlier run must not be mixed with the output of this run.
    fs::remove_file(&console).ok();

    let mut command = Command::new(EMULATOR);
    // The CPU is emulated even if KVM is available: emulation works on every machine, with the same results.
    command.args(["-accel", "tcg", "-machine", "q35", "-cpu", CPU]);
    command.args([
        "-smp",
        "2",
        "-m",
        "1G",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
    ]);
    // The first serial port is the console, the second serial port is for the results.
    command
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    command.args(["-serial", "stdio"]);
    command.arg("-kernel").arg(&kernel.image);
    command.arg("-initrd").arg(initramfs);
    command.arg("-append").arg(parameters(only));
    let start = Instant::now();
    exec::watched(
        &format!("kernel {}", kernel.version),
        &mut command,
        &results,
        LIMIT,
    )?;
    let took = start.elapsed();
    let results = fs::read(&results).with_context(|| results.display().to_string())?;
    Ok(Finished {
        results: String::from_utf8_lossy(&results).into_owned(),
        console,
        took,
    })
}

/// Returns the kernel's parameters. An unknown parameter with a value becomes an environment variable of the first
/// process.
fn parameters(only: Option<&str>) -> String {
    // After a kernel panic, the machine must end: panic=-1 reboots at once, and QEMU's -no-reboot exits instead.
    let mut parameters =
        format!("console=ttyS0 quiet panic=-1 {ALLOCATOR} EBB_BIN_DIR={PROGRAM_FOLDER}");
    if let Some(only) = only {
        parameters += &format!(" \"EBB_CHECK={only}\"");
    }
    parameters
}
