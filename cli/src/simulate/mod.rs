//! `ebb simulate`: replays recorded traffic through the decision code of the autoscaler.
//!
//! The whole input is read and checked before the first decision is printed, so a bad row never causes a partial
//! result. The same input gives the same output, byte for byte, pictures included.

mod args;
mod clock;
mod input;
mod line;
mod plot;
mod pods;
mod replay;
mod report;
mod settings;
mod steps;
mod summary;

use std::{
    io::{self, BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use ebb_autoscaler_core::{Activity, Status, Timestamp};
use serde::Serialize;

pub(crate) use self::args::Args;
use self::{
    args::SummaryForm,
    input::{Source, Steps, Trace},
    line::Line,
    replay::{Replay, Start},
    report::Report,
    summary::Summary,
};

/// Replays the trace or the steps.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match (&args.trace, &args.steps) {
        (Some(path), _) => run_trace(&args, path),
        (None, Some(path)) => run_steps(&args, path),
        // Not reached: clap requires either --trace or --steps.
        (None, None) => Ok(()),
    }
}

fn run_steps(args: &Args, path: &Path) -> anyhow::Result<()> {
    let settings = settings::first(args)?;
    let steps = Steps::read(&Source::read(path)?)?;
    let ready = args.initial_ready.unwrap_or(0);
    let lines = steps::replay(
        &steps,
        settings,
        ready,
        |now| status(args, now),
        args.reachable,
    );
    let mut output = Output::new(args);
    output.lines(None, &lines)?;
    output.finish()
}

fn run_trace(args: &Args, path: &Path) -> anyhow::Result<()> {
    let first = settings::first(args)?;
    let second = args
        .compares()
        .then(|| settings::second(args))
        .transpose()?;
    let trace = Trace::read(&Source::read(path)?, args.fill_gaps)?;
    let start = Start {
        pod_start: args.pod_start,
        ready: args.initial_ready,
        reachable: args.reachable,
    };
    let replay = |settings| {
        replay::replay(&trace, settings, start, |now| status(args, now))
            .with_context(|| path.display().to_string())
    };
    let first = replay(first)?;
    let second = second.map(replay).transpose()?;

    let mut output = Output::new(args);
    match &second {
        None => output.lines(None, &first.lines)?,
        Some(second) => {
            output.lines(Some("first"), &first.lines)?;
            output.lines(Some("second"), &second.lines)?;
        }
    }
    output.summary(&trace, &first, second.as_ref())?;
    output.finish()?;
    if let Some(file) = &args.plot {
        let runs: Vec<_> = [Some(&first), second.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        plot::write(file, &trace, &runs)
            .with_context(|| format!("cannot draw {}", file.display()))?;
    }
    Ok(())
}

/// Returns the status of the workload at the start.
fn status(args: &Args, now: Timestamp) -> Status {
    let (activity, lasted) = args.initial_state;
    Status {
        activity,
        since: now - lasted,
        // A workload that is active or inactive has already reached its initial scale.
        initialized: activity != Activity::Activating,
    }
}

/// The output on stdout. If the reader (such as `head`) closes the pipe, this is not an error.
struct Output<'a> {
    args: &'a Args,
    stdout: BufWriter<io::Stdout>,
    headed: bool,
}

/// A decision, with the name of its replay if two replays are compared.
#[derive(Serialize)]
struct OfRun<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    #[serde(flatten)]
    line: &'a Line,
}

/// The summaries, as the last line of the JSON output.
#[derive(Serialize)]
struct Closing<'a> {
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<&'a Summary>,
}

impl<'a> Output<'a> {
    fn new(args: &'a Args) -> Output<'a> {
        Output {
            args,
            stdout: BufWriter::new(io::stdout()),
            headed: false,
        }
    }

    /// Prints the decisions of a replay. `run` is the name of the replay if two replays are compared.
    fn lines(&mut self, run: Option<&str>, lines: &[Line]) -> anyhow::Result<()> {
        if self.args.quiet {
            return Ok(());
        }
        if self.args.json {
            for line in lines {
                self.json(&OfRun { run, line })?;
            }
            return Ok(());
        }
        let name = run.map_or_else(String::new, |run| format!("{run},"));
        if !self.headed {
            let column = if run.is_some() { "run," } else { "" };
            self.line(&format!("{column}{}", line::HEADER))?;
            self.headed = true;
        }
        for line in lines {
            self.line(&format!("{name}{}", line.csv()))?;
        }
        Ok(())
    }

    /// Prints the summary in the form that `--summary` selects.
    fn summary(
        &mut self,
        trace: &Trace,
        first: &Replay,
        second: Option<&Replay>,
    ) -> anyhow::Result<()> {
        let (summary, compared) = (&first.summary, second.map(|second| &second.summary));
        match self.args.summary {
            SummaryForm::None => Ok(()),
            SummaryForm::Json => self.json(&Closing { summary, compared }),
            SummaryForm::Text => {
                let report = Report {
                    first: summary,
                    second: compared,
                    filled: trace.filled,
                };
                // An error is ignored: the reader of stderr may have closed the pipe.
                let _ = write!(io::stderr(), "{report}");
                Ok(())
            }
        }
    }

    fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let line = serde_json::to_string(value).context("cannot write a line as JSON")?;
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        ignore_closed_pipe(writeln!(self.stdout, "{line}"))
    }

    fn finish(mut self) -> anyhow::Result<()> {
        ignore_closed_pipe(self.stdout.flush())
    }
}

/// Ignores the error that the reader of stdout has closed the pipe.
fn ignore_closed_pipe(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to stdout"),
    }
}
