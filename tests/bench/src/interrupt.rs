//! Ctrl-C and other signals that end the bench. A signal handler records them, and the bench checks for them wherever
//! it waits. So the bench returns normally, and destructors remove what it created.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Installs the signal handler. From then on, SIGINT, SIGTERM and SIGHUP are recorded and do not end the program.
pub(super) fn listen() -> Result<()> {
    // With SA_RESTART, an interrupted system call is restarted after the signal, because no code here handles EINTR.
    let action = SigAction::new(
        SigHandler::Handler(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot await {signal}"))?;
    }
    Ok(())
}

/// Checks whether a signal has ended the bench.
///
/// # Errors
/// If SIGINT, SIGTERM or SIGHUP has arrived.
pub(super) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
