//! Starts the `ebb run` of the demo, reads its output line by line, and ends it.

use std::{
    cell::Cell,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::event::Event;
use crate::{exec, root::Root};

/// Time limit until `ebb run` listens. Before `ebb run` listens, it starts one replica as a trial, which takes as long
/// as the start of the command.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// Time limit for the end of `ebb run`: 10 s, the grace period for replicas (`--stop-grace`), and 5 s for the clean-up.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// Interval between checks whether `ebb run` has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running `ebb run`. Dropping this value sends SIGTERM and waits for the end.
pub(super) struct Program<'a> {
    child: Child,
    root: &'a Root,
    /// Events, each with the time at which it was read.
    events: mpsc::Receiver<(Instant, Event)>,
    /// The time at which the clock of the events was at zero, estimated from the events.
    origin: Cell<Instant>,
    log: String,
}

impl<'a> Program<'a> {
    /// Starts `ebb` with its stderr in `log`, waits until it listens, and returns its address.
    pub(super) fn start(
        root: &'a Root,
        ebb: &Path,
        args: &[String],
        log: &Path,
    ) -> Result<(Self, String)> {
        let stderr =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = root
            .command(ebb)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot start {}", ebb.display()))?;
        let stdout = child.stdout.take().context("ebb has no output")?;
        let (sender, events) = mpsc::channel();
        // This thread ends when ebb ends and the pipe is closed.
        thread::spawn(move || {
            for line in BufReader::new(stdout)
                .lines()
                .map_while(std::io::Result::ok)
            {
                let event = serde_json::from_str(&line).unwrap_or(Event::Other);
                if sender.send((Instant::now(), event)).is_err() {
                    break;
                }
            }
        });
        let program = Self {
            child,
            root,
            events,
            origin: Cell::new(Instant::now() + LISTENS_WITHIN),
            log: log.display().to_string(),
        };
        let address = program.address()?;
        Ok((program, address))
    }

    fn address(&self) -> Result<String> {
        let until = Instant::now() + LISTENS_WITHIN;
        while let Some(event) = self.next(until)? {
            if let Event::Listening { address } = event {
                return Ok(address);
            }
        }
        bail!(
            "ebb run did not listen within {} s: see {}",
            LISTENS_WITHIN.as_secs(),
            self.log
        )
    }

    /// Converts `moment` to the time that events of `ebb run` contain: seconds since the start of the run. The start is
    /// estimated from the events read so far, so each event can make the conversion more precise.
    pub(super) fn t(&self, moment: Instant) -> f64 {
        moment
            .saturating_duration_since(self.origin.get())
            .as_secs_f64()
    }

    /// Updates the origin of the clock. An event is read after it happened, never before, so the earliest estimate is
    /// the best.
    fn set_clock(&self, read: Instant, event: &Event) {
        let since = event.t().and_then(|t| Duration::try_from_secs_f64(t).ok());
        if let Some(origin) = since.and_then(|since| read.checked_sub(since)) {
            self.origin.set(self.origin.get().min(origin));
        }
    }

    /// Returns the next event, or `None` if no event arrives before `until`.
    ///
    /// # Errors
    /// Returns an error if `ebb run` has ended by itself.
    pub(super) fn next(&self, until: Instant) -> Result<Option<Event>> {
        match self
            .events
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            Ok((read, event)) => {
                self.set_clock(read, &event);
                Ok(Some(event))
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                let last = said
                    .lines()
                    .rfind(|line| !line.trim().is_empty())
                    .unwrap_or_default();
                bail!("ebb run ended by itself: {last} (full log: {})", self.log)
            }
        }
    }

    /// Sends SIGTERM and waits for the end of `ebb run`.
    pub(super) fn end(mut self) -> Result<()> {
        self.terminate();
        let until = Instant::now() + ENDS_WITHIN;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().context("cannot wait for ebb")? {
                if status.success() {
                    return Ok(());
                }
                bail!("ebb run ended with {status}: see {}", self.log);
            }
            thread::sleep(LOOK_EVERY);
        }
        bail!(
            "ebb run did not end within {} s after SIGTERM",
            ENDS_WITHIN.as_secs()
        )
    }

    fn terminate(&mut self) {
        let pid = self.child.id();
        if Root::is_already() {
            // An error is ignored: it means that `ebb run` has already ended.
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).ok();
        } else {
            // The child is sudo and runs as root, so the signal is sent as root; sudo passes the signal on to `ebb
            // run`.
            let mut command: Command = self.root.command("kill");
            exec::output(command.args(["-TERM", &pid.to_string()]));
        }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.terminate();
            self.child.wait().ok();
        }
    }
}
