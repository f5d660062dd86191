//! The terminal, shared by the live view and the log.
//!
//! The view is a block of lines, and each update overwrites the previous block. For a log line, the block is erased,
//! the line is written, and the block is painted again below it. The terminal is in no special mode (no alternate
//! screen, no raw mode, cursor visible), so nothing has to be restored when ebb ends, not even after `kill -9`.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crossterm::{
    cursor::{MoveToColumn, MoveUp},
    queue,
    style::{Attribute, PrintStyledContent, Stylize as _},
    terminal::{self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};
use tracing_subscriber::fmt::MakeWriter;

/// Width of the label column, in characters.
const LABEL_WIDTH: usize = 10;
/// Size (columns, rows) that is assumed if the terminal does not report its size.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// One line of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The label; at most 9 characters.
    pub(crate) label: &'static str,
    /// The text; cut at the right edge.
    pub(crate) text: String,
    /// Whether the text is bold.
    pub(crate) strong: bool,
}

/// A handle to the terminal. Clones share the terminal.
#[derive(Clone)]
pub(crate) struct Console {
    state: Arc<Mutex<State>>,
}

struct State {
    /// The lines that the terminal shows now.
    block: Vec<Line>,
    logs: Logs,
}

/// The destination of log lines.
enum Logs {
    Stderr,
    #[cfg(test)]
    Captured(Vec<String>),
}

impl Console {
    /// Creates a console that logs to stderr and paints the view on stdout.
    pub(crate) fn new() -> Console {
        Console::with(Logs::Stderr)
    }

    fn with(logs: Logs) -> Console {
        let state = State {
            block: Vec::new(),
            logs,
        };
        Console {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Writes one line to the log. `line` does not contain the line feed.
    pub(crate) fn line(&self, line: &[u8]) {
        // If stderr cannot be written to, the failure cannot be reported either.
        let _ = self.lock().log(line);
    }

    /// Paints `lines` over the previous view.
    pub(crate) fn paint(&self, lines: &[Line]) {
        // An error is ignored: if the terminal is closed, no view is needed.
        let _ = self.lock().repaint(lines);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned lock may be used: at worst, the live view is on the terminal twice after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Console {
    /// Creates a console that keeps log lines for [`Console::taken`].
    pub(crate) fn captured() -> Console {
        Console::with(Logs::Captured(Vec::new()))
    }

    /// Returns the lines logged since the last call.
    pub(crate) fn taken(&self) -> Vec<String> {
        match &mut self.lock().logs {
            Logs::Captured(lines) => std::mem::take(lines),
            Logs::Stderr => Vec::new(),
        }
    }
}

impl State {
    fn log(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.logs {
            Logs::Stderr => {}
            #[cfg(test)]
            Logs::Captured(lines) => {
                lines.push(String::from_utf8_lossy(line).into_owned());
                return Ok(());
            }
        }
        let block = std::mem::take(&mut self.block);
        if !block.is_empty() {
            let mut stdout = io::stdout().lock();
            erase(&mut stdout, block.len())?;
            stdout.flush()?;
        }
        // The line is one write, so that output of other processes on the same terminal does not mix with it.
        io::stderr().lock().write_all(&[line, b"\n"].concat())?;
        self.repaint(&block)
    }

    fn repaint(&mut self, lines: &[Line]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let (width, height) = terminal::size().unwrap_or(USUAL_SIZE);
        // Only the lines that fit above the cursor are painted: further lines would scroll off the screen, where they
        // cannot be erased.
        let lines = &lines[..lines.len().min(usize::from(height).saturating_sub(1))];
        // The frame is built in memory and written with one call.
        let mut frame = Vec::new();
        queue!(frame, BeginSynchronizedUpdate)?;
        erase(&mut frame, self.block.len())?;
        for line in lines {
            draw(&mut frame, line, usize::from(width))?;
        }
        queue!(frame, EndSynchronizedUpdate)?;
        self.block = lines.to_vec();
        let mut stdout = io::stdout().lock();
        stdout.write_all(&frame)?;
        stdout.flush()
    }
}

/// Erases the block of `height` lines that ends just above the cursor.
fn erase(out: &mut impl Write, height: usize) -> io::Result<()> {
    // `MoveUp` is not sent for zero lines: terminals move the cursor up by one line even then.
    if let Ok(height @ 1..) = u16::try_from(height) {
        queue!(out, MoveUp(height))?;
    }
    queue!(out, MoveToColumn(0), Clear(ClearType::FromCursorDown))
}

/// Draws one line, cut so that it does not wrap.
fn draw(out: &mut impl Write, line: &Line, width: usize) -> io::Result<()> {
    let label = format!("{:<LABEL_WIDTH$}", line.label);
    // The last column stays free: writing there makes some terminals wrap.
    let room = width.saturating_sub(LABEL_WIDTH + 1);
    let text: String = line.text.chars().take(room).collect();
    let text = if line.strong {
        text.attribute(Attribute::Bold)
    } else {
        text.reset()
    };
    queue!(
        out,
        PrintStyledContent(label.dim()),
        PrintStyledContent(text)
    )?;
    out.write_all(b"\r\n")
}

/// Writes log records of `tracing` above the view.
impl<'a> MakeWriter<'a> for Console {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine {
            console: self,
            text: Vec::new(),
        }
    }
}

/// A log record; written when dropped.
pub(crate) struct LogLine<'a> {
    console: &'a Console,
    text: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        let text = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        if !text.is_empty() {
            self.console.line(text);
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, width: usize) -> String {
        let line = Line {
            label: "load",
            text: text.to_owned(),
            strong: false,
        };
        let mut out = Vec::new();
        draw(&mut out, &line, width).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_cut_before_the_right_edge() {
        assert!(drawn("123456", 17).contains("123456"));
        let cut = drawn("123456", 16);
        assert!(cut.contains("12345") && !cut.contains("123456"), "{cut:?}");
    }

    #[test]
    fn a_log_record_is_one_line() {
        let console = Console::captured();
        let mut writer = console.make_writer();
        writer.write_all(b"INFO one").unwrap();
        writer.write_all(b" record\n").unwrap();
        drop(writer);
        assert_eq!(console.taken(), ["INFO one record"]);
    }
}
