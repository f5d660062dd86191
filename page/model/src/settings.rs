//! The settings in force, and the source of each setting.

use std::time::Duration;

use ebb_autoscaler_core::{Config, GoDuration, Metric, Settings, annotations::KNATIVE};

use crate::json::Setting;

/// The sources of a workload's settings.
#[derive(Clone, Copy)]
pub struct SettingSources<'a> {
    /// Returns true if the workload has an annotation with this name.
    pub annotated: &'a dyn Fn(&str) -> bool,
    /// The settings of the cluster, from its ConfigMap.
    pub config: &'a Config,
    /// The built-in defaults.
    pub defaults: &'a Config,
}

impl SettingSources<'_> {
    /// Returns a row of the table of settings: a setting and its source. `key` is the name of the annotation, including
    /// its group. If the workload has this annotation, the annotation is the source. Otherwise `differs` formats the
    /// setting once for the cluster's ConfigMap and once for the defaults. If the two texts differ, the ConfigMap is
    /// the source, otherwise the default.
    fn row(
        &self,
        key: &'static str,
        value: String,
        differs: impl Fn(&Config) -> String,
    ) -> Setting {
        let short = key.strip_prefix(KNATIVE).unwrap_or(key);
        let camel = format!("{KNATIVE}{}", camel(short));
        let from = if (self.annotated)(key) || (self.annotated)(&camel) {
            "annotation"
        } else if differs(self.config) != differs(self.defaults) {
            "config"
        } else {
            "default"
        };
        Setting {
            key: short.into(),
            value,
            from: from.into(),
        }
    }
}

/// Builds the name of an annotation of Knative.
macro_rules! knative {
    ($key:literal) => {
        concat!("autoscaling.knative.dev/", $key)
    };
}

/// Returns the settings in force. The settings that users need most often are first.
#[must_use]
pub fn settings(settings: &Settings, sources: &SettingSources<'_>) -> Vec<Setting> {
    let none = |_: &Config| String::new();
    let rps = settings.metric == Metric::Rps;
    let unit = if rps {
        "requests/s"
    } else {
        "requests in flight"
    };
    let percent = |share: f64| format!("{} %", short(share * 100.0));
    let bound = |pods: u32| match pods {
        0 => "no limit".to_owned(),
        pods => pods.to_string(),
    };
    vec![
        sources.row(
            knative!("metric"),
            if rps { "rps" } else { "concurrency" }.to_owned(),
            none,
        ),
        sources.row(
            knative!("target"),
            format!("{} {unit} per pod", short(settings.total)),
            |config| {
                (if rps {
                    config.rps_target
                } else {
                    config.concurrency_target
                })
                .to_string()
            },
        ),
        sources.row(
            knative!("target-utilization-percentage"),
            percent(settings.target / settings.total),
            |config| config.target_fraction.to_string(),
        ),
        sources.row(
            knative!("min-scale"),
            settings.min_scale.to_string(),
            |config| config.min_scale.to_string(),
        ),
        sources.row(knative!("max-scale"), bound(settings.max_scale), |config| {
            config.max_scale.to_string()
        }),
        sources.row(
            knative!("initial-scale"),
            settings.initial_scale.to_string(),
            |config| config.initial_scale.to_string(),
        ),
        sources.row(
            knative!("activation-scale"),
            match settings.activation_scale {
                0 | 1 => "off".to_owned(),
                pods => pods.to_string(),
            },
            none,
        ),
        sources.row(knative!("window"), time(settings.stable_window), |config| {
            time(config.stable_window)
        }),
        sources.row(
            knative!("panic-window-percentage"),
            time(settings.panic_window),
            |config| config.panic_window_percentage.to_string(),
        ),
        sources.row(
            knative!("panic-threshold-percentage"),
            percent(settings.panic_threshold),
            |config| config.panic_threshold_percentage.to_string(),
        ),
        sources.row(
            "ebb.dev/burst-window",
            time(settings.burst_window),
            |config| time(config.burst_window),
        ),
        sources.row(
            knative!("scale-down-delay"),
            time(settings.scale_down_delay),
            |config| time(config.scale_down_delay),
        ),
        sources.row(
            knative!("scale-to-zero-pod-retention-period"),
            time(settings.last_pod_retention),
            |config| time(config.last_pod_retention),
        ),
        sources.row(
            knative!("target-burst-capacity"),
            short(settings.target_burst_capacity),
            |config| config.target_burst_capacity.to_string(),
        ),
        sources.row("ebb.dev/hard-limit", bound(settings.hard_limit), none),
        sources.row(
            "max-scale-up-rate",
            short(settings.max_scale_up_rate),
            |config| config.max_scale_up_rate.to_string(),
        ),
        sources.row(
            "max-scale-down-rate",
            short(settings.max_scale_down_rate),
            |config| config.max_scale_down_rate.to_string(),
        ),
        sources.row(
            "enable-scale-to-zero",
            settings.scale_to_zero.to_string(),
            |config| config.scale_to_zero.to_string(),
        ),
        sources.row(
            "scale-to-zero-grace-period",
            time(settings.scale_to_zero_grace),
            |config| time(config.scale_to_zero_grace),
        ),
    ]
}

fn time(time: Duration) -> String {
    if time.is_zero() {
        return "0".to_owned();
    }
    GoDuration::from(time).to_string()
}

/// Formats a number with at most two decimals.
fn short(number: f64) -> String {
    ((number * 100.0).round() / 100.0).to_string()
}

/// Converts the name of an annotation to camel case, which Knative allows as well.
fn camel(kebab: &str) -> String {
    let mut camel = String::new();
    let mut up = false;
    for letter in kebab.chars() {
        match letter {
            '-' => up = true,
            letter if std::mem::take(&mut up) => camel.extend(letter.to_uppercase()),
            letter => camel.push(letter),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use ebb_autoscaler_core::Annotations;

    use super::*;

    #[test]
    fn each_setting_says_where_it_is_from() {
        let pairs = [
            ("autoscaling.knative.dev/target", "10"),
            ("autoscaling.knative.dev/maxScale", "7"),
        ];
        let config = Config::from_map([("stable-window", "30s")]).unwrap();
        let annotations = Annotations::parse(&config, pairs).unwrap();
        let table = settings(
            &Settings::resolve(&config, &annotations, 0),
            &SettingSources {
                annotated: &|name| pairs.iter().any(|(key, _)| *key == name),
                config: &config,
                defaults: &Config::default(),
            },
        );
        let row = |key: &str| {
            let row = table.iter().find(|row| row.key == key).unwrap();
            (row.value.as_str(), &*row.from)
        };
        assert_eq!(
            row("target"),
            ("10 requests in flight per pod", "annotation")
        );
        assert_eq!(row("max-scale"), ("7", "annotation"));
        assert_eq!(row("window"), ("30s", "config"));
        assert_eq!(row("panic-window-percentage"), ("3s", "default"));
        assert_eq!(row("min-scale"), ("0", "default"));
        assert_eq!(row("target-utilization-percentage"), ("70 %", "default"));
    }
}
