//! Logs the agent library's events to standard error, which is the console.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Logs events of the agent library up to level debug, which includes the verifier's log, and only warnings of other
/// libraries.
const FILTER: &str = "warn,ebb_agent=debug";

/// Maximum number of lines of one log event that are written; the first lines of a longer event are omitted. A verifier
/// log can have a million lines, and its last lines state the error. The serial console takes about a microsecond per
/// byte, so a whole log would take more than a minute.
const LINES: usize = 60;

/// Starts the logging of events, for the life of the process.
pub(super) fn start() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_ansi(false)
        .without_time()
        .with_writer(Ends)
        .init();
}

/// A writer that writes only the last [`LINES`] lines of an event.
struct Ends;

impl MakeWriter<'_> for Ends {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Ends {
    /// Writes one event: the logging library passes each event in one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut starts: Vec<_> = (0..event.len())
            .filter(|at| *at == 0 || event[at - 1] == b'\n')
            .collect();
        if starts.len() > LINES {
            eprintln!("({} lines left out)", starts.len() - LINES);
            starts.drain(..starts.len() - LINES);
        }
        io::stderr().write_all(&event[starts.first().copied().unwrap_or(0)..])?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
