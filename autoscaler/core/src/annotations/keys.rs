//! The known annotation keys, and their alternative spellings.

use crate::nearest::nearest;

/// Prefix of Knative's annotation keys. Each key has the same meaning here as in Knative.
pub const KNATIVE: &str = "autoscaling.knative.dev/";
/// Prefix of Ebb's annotation keys.
pub const EBB: &str = "ebb.dev/";
/// The only key with the prefix `serving.knative.dev/` that is parsed. All other keys with this prefix are ignored.
pub(super) const PROGRESS_DEADLINE: &str = "serving.knative.dev/progress-deadline";

macro_rules! keys {
    ($($variant:ident: $group:ident $kebab:literal $(or $camel:literal)?,)+) => {
        /// A known key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Key { $($variant,)+ }

        impl Key {
            const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Returns group, kebab-case name and camelCase alias. If a workload has annotations with both names, the
            /// kebab-case one applies.
            const fn spelling(self) -> (&'static str, &'static str, Option<&'static str>) {
                match self {
                    $(Self::$variant => ($group, $kebab, keys!(@alias $($camel)?)),)+
                }
            }
        }
    };
    (@alias) => { None };
    (@alias $camel:literal) => { Some($camel) };
}

keys! {
    Class: KNATIVE "class",
    Metric: KNATIVE "metric",
    Target: KNATIVE "target",
    TargetUtilization: KNATIVE "target-utilization-percentage" or "targetUtilizationPercentage",
    TargetBurstCapacity: KNATIVE "target-burst-capacity" or "targetBurstCapacity",
    MinScale: KNATIVE "min-scale" or "minScale",
    MaxScale: KNATIVE "max-scale" or "maxScale",
    InitialScale: KNATIVE "initial-scale" or "initialScale",
    ActivationScale: KNATIVE "activation-scale",
    Window: KNATIVE "window",
    PanicWindow: KNATIVE "panic-window-percentage" or "panicWindowPercentage",
    PanicThreshold: KNATIVE "panic-threshold-percentage" or "panicThresholdPercentage",
    ScaleDownDelay: KNATIVE "scale-down-delay" or "scaleDownDelay",
    Retention: KNATIVE "scale-to-zero-pod-retention-period" or "scaleToZeroPodRetentionPeriod",
    Aggregation: KNATIVE "metric-aggregation-algorithm" or "metricAggregationAlgorithm",
    BurstWindow: EBB "burst-window",
    Ports: EBB "ports",
    ExcludePaths: EBB "exclude-paths",
    Hop: EBB "hop",
    Mode: EBB "mode",
    HardLimit: EBB "hard-limit",
}

impl Key {
    /// Returns the full key, in the preferred spelling.
    pub(super) fn name(self) -> String {
        let (group, kebab, _) = self.spelling();
        format!("{group}{kebab}")
    }

    /// Returns the key with this name, in either spelling.
    pub(super) fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| {
            let (group, kebab, camel) = key.spelling();
            name.strip_prefix(group)
                .is_some_and(|rest| rest == kebab || Some(rest) == camel)
        })
    }

    /// Returns whether `name` is the camelCase alias of this key.
    pub(super) fn is_alias(self, name: &str) -> bool {
        let (group, _, camel) = self.spelling();
        camel.is_some() && name.strip_prefix(group) == camel
    }

    /// Returns the known key that is most similar to the unknown key `name`.
    pub(super) fn nearest(name: &str) -> Option<String> {
        let group = if name.starts_with(EBB) { EBB } else { KNATIVE };
        let names = Self::ALL
            .iter()
            .map(|key| key.spelling())
            .filter(|spelling| spelling.0 == group)
            .map(|spelling| spelling.1);
        nearest(name.strip_prefix(group)?, names).map(|near| format!("{group}{near}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_found_and_no_others() {
        assert_eq!(
            Key::find("autoscaling.knative.dev/min-scale"),
            Some(Key::MinScale)
        );
        assert_eq!(
            Key::find("autoscaling.knative.dev/minScale"),
            Some(Key::MinScale)
        );
        assert_eq!(Key::find("ebb.dev/min-scale"), None);
        assert_eq!(Key::find("autoscaling.knative.dev/activationScale"), None);
        assert!(Key::MinScale.is_alias("autoscaling.knative.dev/minScale"));
        assert!(!Key::Window.is_alias("autoscaling.knative.dev/window"));
        assert!(!Key::Window.is_alias("ebb.dev/ports"));
        assert_eq!(
            Key::nearest("autoscaling.knative.dev/min-scal").as_deref(),
            Some("autoscaling.knative.dev/min-scale")
        );
        assert_eq!(Key::nearest("autoscaling.knative.dev/colour"), None);
    }
}
