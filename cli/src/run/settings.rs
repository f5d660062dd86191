//! The settings of a run: those of `--config`, the annotations, and the options that stand for annotations.
//!
//! Bias: all problems are reported together, one line each, and a setting that `ebb run` does not support is an error
//! and is not ignored.

use std::{collections::BTreeMap, path::Path};

use ebb_autoscaler_core::{Annotations, Config, Metric, Problems, Settings, annotations::Mode};
use ebb_page_model::{Setting, SettingSources};

use super::args::Args;
use crate::{
    config_file::{self, FileError},
    problems::{Lines, lines},
};

/// Defaults of `ebb run` that differ from Knative's defaults. Keys in the --config file override them.
const LOCAL_DEFAULTS: [(&str, &str); 3] = [
    // A run starts without replicas: a request starts the first one.
    ("allow-zero-initial-scale", "true"),
    ("initial-scale", "0"),
    // Whoever starts `ebb run` has opted in to Ebb, so the class is Ebb's own, which also reacts to bursts at once.
    ("pod-autoscaler-class", "ebb.dev"),
];

/// The settings of a run.
#[derive(Debug)]
pub(crate) struct RunSettings {
    /// The settings in force.
    pub(crate) settings: Settings,
    /// The validated `config-autoscaler` settings from which `settings` was resolved.
    pub(crate) config: Config,
    /// The validated annotations from which `settings` was resolved.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Paths whose requests are not counted.
    pub(crate) exclude_paths: Vec<String>,
    /// All settings in force and their sources, for the live page.
    pub(crate) table: Vec<Setting>,
}

/// The reason why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file given with `--config` cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Values are invalid; one line per problem.
    #[error("{}", Lines(.0))]
    Values(Vec<String>),
}

impl RunSettings {
    /// Builds the settings from the command line.
    ///
    /// # Errors
    ///
    /// Returns all problems of the settings.
    pub(crate) fn from_args(args: &Args) -> Result<RunSettings, SettingsError> {
        let file = args
            .config
            .as_deref()
            .map_or(Ok(BTreeMap::new()), config_file::read)?;
        let mut wrong = Vec::new();
        let local_defaults = config(BTreeMap::new()).unwrap_or_default();
        let config = config(file).unwrap_or_else(|problems| {
            let name = args.config.as_deref().unwrap_or(Path::new("defaults"));
            wrong.extend(lines(&format!("--config {}:", name.display()), &problems));
            // The annotations are validated too, with the default config, so that all problems are reported together.
            Config::default()
        });
        let given = args.annotations();
        let pairs = given
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        let annotations = Annotations::parse(&config, pairs).unwrap_or_else(|problems| {
            wrong.extend(lines("annotation", &problems));
            Annotations::default()
        });
        let settings = Settings::resolve(&config, &annotations, 0);
        wrong.extend(not_here(&annotations, &settings));
        if !wrong.is_empty() {
            return Err(SettingsError::Values(wrong));
        }
        let table = ebb_page_model::settings(
            &settings,
            &SettingSources {
                annotated: &|name| given.contains_key(name),
                config: &config,
                // A default of `ebb run` is not shown as a setting of the user, even if Knative's default differs.
                defaults: &local_defaults,
            },
        );
        Ok(RunSettings {
            table,
            settings,
            exclude_paths: annotations.exclude_paths,
            config,
            annotations: given,
        })
    }

    /// Returns the most important settings in a few words.
    pub(crate) fn summary(&self) -> String {
        let settings = &self.settings;
        let most = match settings.max_scale {
            0 => "any number of".to_owned(),
            most => most.to_string(),
        };
        let unit = match settings.metric {
            Metric::Rps => "requests/s",
            _ => "requests in flight",
        };
        format!(
            "{} to {most} replicas, {:.1} {unit} each, window {} s",
            settings.min_scale,
            settings.target,
            settings.stable_window.as_secs()
        )
    }
}

fn config(mut given: BTreeMap<String, String>) -> Result<Config, Problems> {
    for (key, value) in LOCAL_DEFAULTS {
        given
            .entry(key.to_owned())
            .or_insert_with(|| value.to_owned());
    }
    Config::from_map(
        given
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )
}

/// Returns one problem per setting that is valid in a cluster but has no meaning for `ebb run`.
fn not_here(annotations: &Annotations, settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    if !settings.class.is_ours() {
        wrong.push(
            "annotation autoscaling.knative.dev/class: ebb run does not support this class; expected ebb.dev or \
             kpa.autoscaling.knative.dev"
                .to_owned(),
        );
    }
    if !annotations.ports.is_empty() {
        wrong.push(
            "annotation ebb.dev/ports: ebb run chooses and counts the port of each replica; remove this annotation"
                .to_owned(),
        );
    }
    if annotations.hop.is_some() {
        wrong.push(
            "annotation ebb.dev/hop: the replicas of ebb run have no sidecar; remove this annotation"
                .to_owned(),
        );
    }
    if annotations.mode == Mode::Recommend {
        wrong.push(
            "annotation ebb.dev/mode: ebb run always scales and has no recommend mode; remove this annotation"
                .to_owned(),
        );
    }
    wrong
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn settings(options: &[&str]) -> Result<RunSettings, SettingsError> {
        let words = ["run"]
            .into_iter()
            .chain(options.iter().copied())
            .chain(["--", "serve"]);
        RunSettings::from_args(&Line::try_parse_from(words).unwrap().args)
    }

    fn wrong(options: &[&str]) -> Vec<String> {
        let error = settings(options).unwrap_err().to_string();
        error.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_run_starts_with_no_copy_and_sees_bursts() {
        let settings = settings(&[]).unwrap().settings;
        assert_eq!((settings.initial_scale, settings.min_scale), (0, 0));
        assert!(!settings.burst_window.is_zero());
    }

    #[test]
    fn options_are_short_for_annotations_and_win() {
        let options = [
            "--annotation",
            "autoscaling.knative.dev/target=5",
            "--target",
            "10",
        ];
        assert_eq!(settings(&options).unwrap().settings.total, 10.0);
    }

    #[test]
    fn a_hard_limit_bounds_the_target() {
        let options = ["--annotation", "ebb.dev/hard-limit=1", "--target", "10"];
        let settings = settings(&options).unwrap();
        let settings = settings.settings;
        assert_eq!((settings.hard_limit, settings.total), (1, 1.0));
        for value in ["-1", "x", "1001"] {
            let annotation = format!("ebb.dev/hard-limit={value}");
            assert_eq!(wrong(&["--annotation", &annotation]).len(), 1, "{value}");
        }
    }

    #[test]
    fn all_problems_are_told_one_line_each() {
        let wrong = wrong(&[
            "--target",
            "-1",
            "--annotation",
            "autoscaling.knative.dev/window=60",
            "--annotation",
            "autoscaling.knative.dev/colour=blue",
        ]);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        for key in ["target", "window", "colour"] {
            let start = format!("annotation autoscaling.knative.dev/{key}: ");
            assert!(
                wrong.iter().any(|line| line.starts_with(&start)),
                "{key}: {wrong:?}"
            );
        }
    }

    #[test]
    fn what_has_no_meaning_here_is_refused() {
        for annotation in [
            "autoscaling.knative.dev/class=hpa.autoscaling.knative.dev",
            "ebb.dev/ports=80",
            "ebb.dev/hop=app",
            "ebb.dev/mode=recommend",
        ] {
            assert_eq!(
                wrong(&["--annotation", annotation]).len(),
                1,
                "{annotation}"
            );
        }
    }
}
