//! The opt-in rule: which pods and pod templates Ebb scales.

/// Annotation of a pod template that names the autoscaler of the pods.
pub const CLASS_KEY: &str = "autoscaling.knative.dev/class";

/// The value of [`CLASS_KEY`] that names Ebb.
pub const CLASS: &str = "ebb.dev";

/// Returns whether `class`, the value of [`CLASS_KEY`], names Ebb. The value is compared byte for byte, as in Knative.
#[must_use]
pub fn is_opted_in(class: Option<&str>) -> bool {
    class == Some(CLASS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_value_opts_in() {
        assert!(is_opted_in(Some("ebb.dev")));
        for other in [
            None,
            Some(""),
            Some("ebb.dev "),
            Some("Ebb.dev"),
            Some("kpa.autoscaling.knative.dev"),
        ] {
            assert!(!is_opted_in(other), "{other:?}");
        }
    }
}
