//! An emulated machine with one kernel, from the start to its own switching off.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{debian::Kernel, image::PROGRAM_FOLDER};
use crate::exec;

/// The emulator, of the package `qemu-system-x86`.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";

/// All that can be emulated, but for cmpxchg16b: QEMU 7.2 gets its flags wrong (seen: a direction flag out of
/// nowhere, and memory overwritten in the kernel's allocator). Kernels have another way where a CPU lacks it.
const CPU: &str = "max,-cx16";

/// A kernel of Debian without cmpxchg16b gives no memory to socket storage from 6.18 on, but where its allocator checks
/// itself (`kmalloc_nolock`, <https://elixir.bootlin.com/linux/v6.18/source/mm/slub.c>). So it does.
const ALLOCATOR: &str = "slub_debug=F,kmalloc-*";

/// A run takes half a minute on an idle machine. One that takes this long does not end any more.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// What is left of a run.
pub(super) struct Finished {
    /// What the checks printed.
    pub(super) results: String,
    /// What the kernel and the verifier said.
    pub(super) console: PathBuf,
    /// How long it took, the boot included.
    pub(super) took: Duration,
}

/// Boots a kernel and waits for its end. What it says is kept in `folder`.
pub(super) fn boot(
    kernel: &Kernel,
    initramfs: &Path,
    folder: &Path,
    only: Option<&str>,
) -> Result<Finished> {
    let results = folder.join(format!("{}-results.log", kernel.version));
    let console = folder.join(format!("{}-console.log", kernel.version));
    // Where a run before this one ended is nobody's business.
    fs::remove_file(&console).ok();

    let mut command = Command::new(EMULATOR);
    // Emulated also where there is KVM: what works everywhere, and comes out the same.
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
    // The first serial line is the console's, the second the results'.
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

/// The kernel's parameters. What it does not know, and has a value, becomes the first process's environment.
fn parameters(only: Option<&str>) -> String {
    // A panic ends the machine (it would reboot at once, which -no-reboot makes an end).
    let mut parameters =
        format!("console=ttyS0 quiet panic=-1 {ALLOCATOR} EBB_BIN_DIR={PROGRAM_FOLDER}");
    if let Some(only) = only {
        parameters += &format!(" \"EBB_CHECK={only}\"");
    }
    parameters
}
