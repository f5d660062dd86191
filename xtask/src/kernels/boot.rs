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

/// A CPU with all features that can be emulated except cmpxchg16b: QEMU 7.2 computes its flags wrongly (seen: a direction
/// flag that nothing had set, and memory overwritten in the kernel's allocator). Kernels have another method for CPUs without it.
const CPU: &str = "max,-cx16";

/// From 6.18 on, a Debian kernel on a CPU without cmpxchg16b gives no memory to socket storage unless its allocator checks
/// itself (`kmalloc_nolock`, <https://elixir.bootlin.com/linux/v6.18/source/mm/slub.c>). This parameter enables the checks.
const ALLOCATOR: &str = "slub_debug=F,kmalloc-*";

/// Time limit: a run takes half a minute on an idle machine, so a run that takes this long does not end.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The results of a run.
pub(super) struct Finished {
    /// The output of the checks.
    pub(super) results: String,
    /// The output of the kernel and the verifier.
    pub(super) console: PathBuf,
    /// The time taken, including the boot.
    pub(super) took: Duration,
}

/// Boots a kernel and waits for its end. The output is kept in `folder`.
pub(super) fn boot(
    kernel: &Kernel,
    initramfs: &Path,
    folder: &Path,
    only: Option<&str>,
) -> Result<Finished> {
    let results = folder.join(format!("{}-results.log", kernel.version));
    let console = folder.join(format!("{}-console.log", kernel.version));
    // The console of an earlier run must not be mixed with this one.
    fs::remove_file(&console).ok();

    let mut command = Command::new(EMULATOR);
    // Emulated even if there is KVM: that works on every machine, with the same results.
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
    // The first serial line is the console, the second one is for the results.
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

/// Returns the kernel's parameters. An unknown parameter with a value becomes a variable of the first process.
fn parameters(only: Option<&str>) -> String {
    // A panic ends the machine: it would reboot at once, and -no-reboot turns the reboot into an end.
    let mut parameters =
        format!("console=ttyS0 quiet panic=-1 {ALLOCATOR} EBB_BIN_DIR={PROGRAM_FOLDER}");
    if let Some(only) = only {
        parameters += &format!(" \"EBB_CHECK={only}\"");
    }
    parameters
}
