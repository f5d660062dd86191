//! The `ebb run` under demonstration: started, read line by line, ended.

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

/// `ebb run` tries the command before it listens, which takes as long as the command's start.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);

/// Its own grace for replicas is 10 s (`--stop-grace`); some more to tidy up after them.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// How often to look whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running `ebb run`. Dropping it asks it to end.
pub(super) struct Program<'a> {
    child: Child,
    root: &'a Root,
    /// With the time each was read.
    events: mpsc::Receiver<(Instant, Event)>,
    /// When its clock was at zero, as near as events tell.
    origin: Cell<Instant>,
    log: String,
}

impl<'a> Program<'a> {
    /// Starts `ebb` (its stderr goes to `log`), and waits until it listens; the address it listens on.
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
        // Ends with the pipe, that is with ebb.
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

    /// A moment on the clock of its events, in seconds. The more events were read, the better.
    pub(super) fn t(&self, moment: Instant) -> f64 {
        moment
            .saturating_duration_since(self.origin.get())
            .as_secs_f64()
    }

    /// An event is read after it happened, never before: the earliest origin is the best.
    fn set_clock(&self, read: Instant, event: &Event) {
        let since = event.t().and_then(|t| Duration::try_from_secs_f64(t).ok());
        if let Some(origin) = since.and_then(|since| read.checked_sub(since)) {
            self.origin.set(self.origin.get().min(origin));
        }
    }

    /// The next event, or `None` at `until`.
    ///
    /// # Errors
    /// It has ended, which it should not by itself.
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

    /// Asks it to end, and waits until it has.
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
            // Dead already is what is wanted.
            kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM).ok();
        } else {
            // It belongs to root; sudo passes the signal on to it.
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
