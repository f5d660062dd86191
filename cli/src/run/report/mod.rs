//! The output of a run's events: lines on a pipe, a live view on a terminal.
//!
//! Failure mode: if the reader of stdout goes away, the run ends gracefully ([`Reporter::reader_gone`]). Otherwise the
//! run would continue unnoticed.

pub(crate) mod console;
mod view;

use std::{
    fmt,
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use self::{console::Console, view::View};
use super::event::Event;
use crate::screen;

/// The form of the output.
#[derive(Debug)]
enum Form {
    Text,
    Json,
    /// A live view on a terminal.
    Live(Box<Mutex<View>>),
}

/// Writes the events of a run. Clones share the output.
#[derive(Clone)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
}

struct Shared {
    form: Form,
    start: Instant,
    console: Console,
    reader_gone: Notify,
}

impl Reporter {
    /// Writes JSON lines if `json` is set; otherwise a live view if stdout is a terminal, or else text lines.
    ///
    /// `title` is the first line of the view.
    pub(crate) fn new(json: bool, title: String, console: Console) -> Reporter {
        let form = if json {
            Form::Json
        } else if screen::is_there() {
            Form::Live(Box::new(Mutex::new(View::new(title))))
        } else {
            Form::Text
        };
        Reporter {
            shared: Arc::new(Shared {
                form,
                start: Instant::now(),
                console,
                reader_gone: Notify::new(),
            }),
        }
    }

    /// Returns the seconds since the start of the run, for events.
    pub(crate) fn seconds(&self) -> f64 {
        self.shared.start.elapsed().as_secs_f64()
    }

    /// Writes an event.
    pub(crate) fn report(&self, event: &Event) {
        match &self.shared.form {
            Form::Text => self.line(&event.to_string()),
            // Serialisation does not fail: an event is plain data with string keys.
            Form::Json => self.line(&serde_json::to_string(event).unwrap_or_default()),
            Form::Live(view) => {
                let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
                view.apply(event);
                self.shared.console.paint(&view.lines());
            }
        }
    }

    /// Shows the mean concurrency of the last second, if there is a live view.
    pub(crate) fn second(&self, concurrency: f64) {
        if let Form::Live(view) = &self.shared.form {
            let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
            view.second(concurrency, self.seconds());
            self.shared.console.paint(&view.lines());
        }
    }

    /// Resolves when the reader of stdout has closed the pipe.
    pub(crate) async fn reader_gone(&self) {
        self.shared.reader_gone.notified().await;
    }

    fn line(&self, line: &str) {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        if written.is_err() {
            self.shared.reader_gone.notify_one();
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("form", &self.shared.form)
            .finish_non_exhaustive()
    }
}
