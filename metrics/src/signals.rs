//! Ctrl-C and similar signals, for programs that run until a signal ends them.

use std::{fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed), caught from now on. SIGHUP stays ignored if it was
/// ignored at the start: with `nohup`, a program continues after its terminal was closed.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Installs the signal handlers.
    ///
    /// # Errors
    /// If the operating system refuses a signal handler.
    pub fn catch() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let hang_up = SignalKind::hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: match is_ignored(&status, hang_up) {
                true => None,
                false => Some(signal(hang_up)?),
            },
        })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hang_up => "SIGHUP",
        }
    }
}

/// Returns whether a process ignores a signal. `status`: the text of the file `/proc/PID/status`, in which bit 0 of
/// `SigIgn` is signal 1 (proc(5)).
fn is_ignored(status: &str, signal: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = signal.as_raw_value() - 1;
    mask.unwrap_or(0) >> bit & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_nohup_sighup_is_ignored() {
        let hang_up = |ignored| {
            let status = format!("Name:\tebb\nSigBlk:\t0000000000000001\nSigIgn:\t{ignored}\n");
            is_ignored(&status, SignalKind::hangup())
        };
        assert!(hang_up("0000000000001001"));
        assert!(!hang_up("0000000000001000"));
        assert!(!is_ignored("", SignalKind::hangup()));
    }
}
