//! The `ebb run` of the demonstration: started, read line by line, ended.

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

/// Time limit until `ebb run` listens. Before that it tries the command, which takes as long as the command's start.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// Time limit for its end. Its own grace period for replicas is 10 s (`--stop-grace`), and the clean-up takes some more.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// How often to check whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running `ebb run`. Dropping it sends SIGTERM.
pub(super) struct Program<'a> {
    child: Child,
    root: &'a Root,
    /// Events, each with the time at which it was read.
    events: mpsc::Receiver<(Instant, Event)>,
    /// The time at which its clock was at zero, as closely as the events show.
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
        // Ends with the pipe, that is, when ebb ends.
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

    /// Converts a moment to the clock of its events, in seconds. It becomes more precise with each event read.
    pub(super) fn t(&self, moment: Instant) -> f64 {
        moment
            .saturating_duration_since(self.origin.get())
            .as_secs_f64()
    }

    /// Updates the origin of the clock. An event is read after it happened, never before, so the earliest origin is the best.
    fn set_clock(&self, read: Instant, event: &Event) {
        let since = event.t().and_then(|t| Duration::try_from_secs_f64(t).ok());
        if let Some(origin) = since.and_then(|since| read.checked_sub(since)) {
            self.origin.set(self.origin.get().min(origin));
        }
    }

    /// Returns the next event, or `None` at `until`.
    ///
    /// # Errors
    /// If it has ended, which it should not do by itself.
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
                bail!("ebb run ended by itself: {last} (all of it: {})", self.log)
            }
        }
    }

    /// Sends SIGTERM and waits for the end.
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
            "ebb run was asked to end and did not within {} s",
            ENDS_WITHIN.as_secs()
        )
    }

    fn terminate(&mut self) {
        let pid = self.child.id();
        if Root::is_already() {
            // If it has ended already, nothing is to be done.
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).ok();
        } else {
            // It belongs to root, so the signal is sent as root; sudo passes the signal on to it.
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
