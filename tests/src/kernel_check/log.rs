//! What the agent's library logs, on standard error: the console.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// The library's own words, those of the verifier (which are debug) included.
const FILTER: &str = "warn,ebb_agent=debug";

/// Lines that are written of one event. A verifier's log can have a million, of which the last say what is
/// wrong, and a serial line takes a microsecond a byte.
const LINES: usize = 60;

/// Writes events as they come, for the life of the process.
pub(super) fn start() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_ansi(false)
        .without_time()
        .with_writer(Ends)
        .init();
}

/// Writes the ends of long events.
struct Ends;

impl MakeWriter<'_> for Ends {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Ends {
    /// An event comes as one piece.
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
