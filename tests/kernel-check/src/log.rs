//! Logs the agent library's events to standard error, the console.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The library's own events, including the verifier's log (level debug).
const FILTER: &str = "warn,ebb_agent=debug";

/// Most lines written of one event. A verifier's log can have a million lines, and the last ones state the error; a serial
/// line takes a microsecond per byte.
const LINES: usize = 60;

/// Writes events as they occur, for the life of the process.
pub(super) fn start() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_ansi(false)
        .without_time()
        .with_writer(Ends)
        .init();
}

/// Writes only the end of long events.
struct Ends;

impl MakeWriter<'_> for Ends {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Ends {
    /// Each event arrives in one call.
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
