//! The command line of `ebb simulate`.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use ebb_autoscaler_core::Activity;

use crate::option::{annotation, duration};

/// Replay recorded traffic through the decision code of the autoscaler.
///
/// With --trace, the workload's pods are simulated too: they become ready --pod-start after they are requested, and end
/// at once when they are no longer desired. With --steps, each row is one decision on the averages in it.
/// Each decision is one line on stdout; the summary of a trace goes to stderr.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("input").required(true),
    after_help = "\
A trace has the columns t,concurrency[,rps][,reachable]: one row a second, t in seconds, the means over the second that
ends at t, summed over the workload. The lines of `ebb watch --json` serve as well. Steps have the columns
t,ready,stable,panic[,reachable][,replicas][,proxied_for][,activator_answers]; `-` stands for what is not known.

Example:
  ebb simulate --trace day.csv --annotation autoscaling.knative.dev/target=10 --plot day.svg

Exit status: 0, 1 on errors, 2 for wrong usage."
)]
pub(crate) struct Args {
    /// CSV with the traffic of a workload, second by second; - is stdin
    #[arg(long, value_name = "FILE", group = "input")]
    pub(super) trace: Option<PathBuf>,

    /// CSV with ready pods and averages, one decision per row; - is stdin
    #[arg(long, value_name = "FILE", group = "input")]
    pub(super) steps: Option<PathBuf>,

    /// YAML or JSON with `config-autoscaler` settings: the ConfigMap, or just its keys
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Annotation of the workload, as on its pod template; can be given several times
    #[arg(long, value_name = "K=V", value_parser = annotation)]
    pub(super) annotation: Vec<(String, String)>,

    /// Hard limit of requests in flight per pod, the containerConcurrency of a revision; 0 means no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) container_concurrency: u32,

    /// Time that a requested pod takes to become ready
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, conflicts_with = "steps")]
    pub(super) pod_start: Duration,

    /// Ready pods that the autoscaler finds when it starts; with 2 or more, it starts in panic mode. Without this
    /// option, --trace simulates a new workload, whose first pods still have to start
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)))]
    pub(super) initial_ready: Option<u32>,

    /// State of the workload at the start: activating, active or inactive. A suffix :DURATION says for how long the
    /// workload has been in this state
    #[arg(long, value_name = "STATE", default_value = "activating", value_parser = state)]
    pub(super) initial_state: (Activity, Duration),

    /// Whether traffic is routed to the workload, if the rows have no column `reachable`
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(super) reachable: bool,

    /// Fill each gap in a trace, of at most an hour, with the values of the row before the gap; without this option,
    /// a gap is an error
    #[arg(long, conflicts_with = "steps")]
    pub(super) fill_gaps: bool,

    /// Replay the trace a second time with this annotation changed, and show both results side by side; can be given
    /// several times
    #[arg(long, value_name = "K=V", value_parser = annotation, conflicts_with = "steps")]
    pub(super) compare: Vec<(String, String)>,

    /// Replay the trace a second time with these settings instead of --config
    #[arg(long, value_name = "FILE", conflicts_with = "steps")]
    pub(super) compare_config: Option<PathBuf>,

    /// Draw the scaling metric, its averages and the pods as a picture; the file name ends in .svg or .png
    #[arg(long, value_name = "FILE", value_parser = picture, conflicts_with = "steps")]
    pub(super) plot: Option<PathBuf>,

    /// Print one JSON object per decision instead of CSV
    #[arg(long)]
    pub(super) json: bool,

    /// Print no decisions
    #[arg(long, short)]
    pub(super) quiet: bool,

    /// Where the summary of a trace goes: as text to stderr, or as JSON to stdout, after the decisions
    #[arg(long, value_enum, default_value_t = SummaryForm::Text, conflicts_with = "steps")]
    pub(super) summary: SummaryForm,
}

/// The output formats of the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SummaryForm {
    /// A table on stderr.
    Text,
    /// One line `{"summary":{…}}` on stdout.
    Json,
    /// No summary.
    None,
}

impl Args {
    /// Returns whether the options request a second replay for comparison.
    pub(super) fn compares(&self) -> bool {
        !self.compare.is_empty() || self.compare_config.is_some()
    }
}

fn state(text: &str) -> Result<(Activity, Duration), String> {
    let (name, lasted) = match text.split_once(':') {
        Some((name, lasted)) => (name, duration(lasted)?),
        None => (text, Duration::ZERO),
    };
    let activity = match name {
        "activating" => Activity::Activating,
        "active" => Activity::Active,
        "inactive" => Activity::Inactive,
        _ => {
            return Err(
                "expected activating, active or inactive, optionally followed by :DURATION"
                    .to_owned(),
            );
        }
    };
    Ok((activity, lasted))
}

fn picture(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("svg" | "png") => Ok(path),
        _ => Err("expected a name that ends in .svg or .png".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_a_name_and_a_length() {
        assert_eq!(state("active"), Ok((Activity::Active, Duration::ZERO)));
        assert_eq!(
            state("inactive:1m"),
            Ok((Activity::Inactive, Duration::from_secs(60)))
        );
        assert!(state("asleep").is_err() && state("active:60").is_err());
    }

    #[test]
    fn pictures_are_svg_or_png() {
        assert!(picture("a/b.svg").is_ok() && picture("b.png").is_ok());
        assert!(picture("b.gif").is_err() && picture("svg").is_err());
    }
}
