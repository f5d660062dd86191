//! Resolves the settings of a replay from `config-autoscaler`, the annotations and the hard limit.
//!
//! Bias: all problems are reported together, one line each; with any problem, nothing is replayed.

use std::{collections::BTreeMap, path::Path};

use ebb_autoscaler_core::{Annotations, Config, Settings};

use super::args::Args;
use crate::{
    config_file::{self, FileError},
    problems::{Lines, lines},
};

/// The reason why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    /// A settings file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Values are invalid; one line per problem.
    #[error("{}", Lines(.0))]
    Values(Vec<String>),
}

/// Returns the settings of the first replay.
pub(super) fn first(args: &Args) -> Result<Settings, SettingsError> {
    resolve(
        args.config.as_deref(),
        &[&args.annotation],
        args.container_concurrency,
    )
}

/// Returns the settings of the second replay: the settings of the first, with the changes of --compare and
/// --compare-config.
pub(super) fn second(args: &Args) -> Result<Settings, SettingsError> {
    let config = args.compare_config.as_deref().or(args.config.as_deref());
    let annotations = [args.annotation.as_slice(), &args.compare];
    resolve(config, &annotations, args.container_concurrency)
}

/// Resolves the settings. A later annotation replaces an earlier annotation with the same key.
fn resolve(
    file: Option<&Path>,
    annotations: &[&[(String, String)]],
    container_concurrency: u32,
) -> Result<Settings, SettingsError> {
    let keys = file.map_or_else(|| Ok(BTreeMap::new()), config_file::read)?;
    let mut wrong = Vec::new();
    let config = Config::from_map(texts(&keys)).unwrap_or_else(|problems| {
        let name = file.unwrap_or(Path::new("defaults")).display();
        wrong.extend(lines(&format!("--config {name}:"), &problems));
        // The annotations are validated even if keys of the file are invalid, with the valid keys of the file, so that
        // all problems are reported together.
        Config::from_map_lossy(texts(&keys)).0
    });
    let given: BTreeMap<String, String> = annotations.concat().into_iter().collect();
    let annotations = Annotations::parse(&config, texts(&given)).unwrap_or_else(|problems| {
        wrong.extend(lines("annotation", &problems));
        Annotations::default()
    });
    let settings = Settings::resolve(&config, &annotations, container_concurrency);
    if wrong.is_empty() && !settings.class.is_ours() {
        wrong.push(
            "annotation autoscaling.knative.dev/class: ebb cannot simulate the autoscaler of this class; \
             expected kpa.autoscaling.knative.dev or ebb.dev"
                .to_owned(),
        );
    }
    if wrong.is_empty() {
        Ok(settings)
    } else {
        Err(SettingsError::Values(wrong))
    }
}

fn texts(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(key, value)| {
                (
                    format!("autoscaling.knative.dev/{key}"),
                    (*value).to_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn later_annotations_win_and_the_hard_limit_counts() {
        let (base, change) = (
            pairs(&[("target", "50"), ("window", "30s")]),
            pairs(&[("target", "8")]),
        );
        let settings = resolve(None, &[&base, &change], 10).unwrap();
        assert_eq!(
            (settings.total, settings.stable_window.as_secs()),
            (8.0, 30)
        );
        assert_eq!(resolve(None, &[&base], 10).unwrap().total, 10.0);
    }

    #[test]
    fn every_problem_is_a_line() {
        let wrong = pairs(&[("target", "NaN"), ("window", "60"), ("colour", "blue")]);
        let error = resolve(None, &[&wrong], 0).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{error}");
        let class = pairs(&[("class", "hpa.autoscaling.knative.dev")]);
        assert!(resolve(None, &[&class], 0).is_err());
    }
}
