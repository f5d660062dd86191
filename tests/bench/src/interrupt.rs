//! Ctrl-C: recorded by a signal handler and checked wherever the bench waits, so that destructors remove what the bench
//! created.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on, SIGINT, SIGTERM and SIGHUP are recorded and do not end the program.
pub(super) fn listen() -> Result<()> {
    // A waiting system call is restarted after the signal: no code here expects EINTR.
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

/// # Errors
/// If one of the signals has arrived.
pub(super) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}
