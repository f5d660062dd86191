//! The hop at which the requests of a pod are counted, and the reason for the choice.
//!
//! The agent chooses the hop. Its metrics, its reports and the page of the workload show the choice in the same words.
//!
//! Bias: hop and reason are words, not enums, so that an autoscaler can show a word that a newer agent sends. Failure
//! mode: an unknown word is shown as it is.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::bounded;

/// The hop `edge`: connections from outside the pod.
pub const EDGE: &str = "edge";
/// The hop `app`: connections to the ports of the application, such as those from a sidecar.
pub const APP: &str = "app";
/// The hop `ports`: connections to the ports in `ebb.dev/ports`, whoever the client is.
pub const PORTS: &str = "ports";

/// The reason `annotation`: the pod has the annotation `ebb.dev/hop` or `ebb.dev/ports`.
pub const ANNOTATION: &str = "annotation";
/// The reason `default`: the pod has neither annotation, and no known sidecar. Every other reason is the name of a
/// sidecar.
pub const DEFAULT: &str = "default";

/// The hop at which the requests of a pod are counted, and the reason for the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedAt<'a> {
    /// The hop: [`EDGE`], [`APP`] or [`PORTS`].
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub hop: Cow<'a, str>,
    /// The reason: [`ANNOTATION`], [`DEFAULT`], or the name of the sidecar that was found, such as `istio`.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub reason: Cow<'a, str>,
    /// The ports whose connections are counted. Empty: every port that listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// True if only connections from inside the pod are counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_inside: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl CountedAt<'_> {
    /// Returns a copy that borrows nothing from the input.
    #[must_use]
    pub fn to_static(&self) -> CountedAt<'static> {
        CountedAt {
            hop: self.hop.clone().into_owned().into(),
            reason: self.reason.clone().into_owned().into(),
            ports: self.ports.clone(),
            only_inside: self.only_inside,
        }
    }

    /// Returns what to do about the choice, for people; `None` if there is nothing to do. Something is to do for a pod
    /// that has a sidecar and whose application has no known port: its requests are counted at the sidecar, where TLS
    /// is opaque.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        let by_sidecar = self.reason != ANNOTATION && self.reason != DEFAULT;
        (by_sidecar && self.hop == EDGE && self.ports.is_empty()).then(|| {
            format!(
                "the pod has a sidecar ({}), and no container declares a TCP port (containerPort), so TLS to the \
                 sidecar is opaque: declare the application's port, or name it in ebb.dev/ports; if the edge is right, \
                 set ebb.dev/hop: edge",
                self.reason
            )
        })
    }
}

/// Writes the choice for people: `counted at the application (istio), port 8080`.
impl fmt::Display for CountedAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.hop {
            EDGE => f.write_str("counted at the edge")?,
            APP => f.write_str("counted at the application")?,
            PORTS => f.write_str("counted at the named ports")?,
            other => write!(f, "counted at the hop {other}")?,
        }
        write!(f, " ({})", self.reason)?;
        for (index, port) in self.ports.iter().enumerate() {
            let separator = match (index, self.ports.len()) {
                (0, 1) => ", port ",
                (0, _) => ", ports ",
                _ => ", ",
            };
            write!(f, "{separator}{port}")?;
        }
        if self.only_inside {
            f.write_str(", only connections from inside the pod")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hop: &'static str, reason: &'static str, ports: &[u16]) -> CountedAt<'static> {
        CountedAt {
            hop: hop.into(),
            reason: reason.into(),
            ports: ports.to_vec(),
            only_inside: false,
        }
    }

    #[test]
    fn a_choice_is_a_phrase() {
        let inside = CountedAt {
            only_inside: true,
            ..at(APP, "istio", &[8080, 8443])
        };
        for (choice, phrase) in [
            (at(EDGE, DEFAULT, &[]), "counted at the edge (default)"),
            (
                at(APP, "linkerd", &[8080]),
                "counted at the application (linkerd), port 8080",
            ),
            (
                inside,
                "counted at the application (istio), ports 8080, 8443, only connections from inside the pod",
            ),
            (
                at(PORTS, ANNOTATION, &[80]),
                "counted at the named ports (annotation), port 80",
            ),
            (at("later", "word", &[]), "counted at the hop later (word)"),
        ] {
            assert_eq!(choice.to_string(), phrase);
        }
    }

    #[test]
    fn only_a_sidecar_without_a_port_behind_it_needs_advice() {
        for choice in [
            at(EDGE, DEFAULT, &[]),
            at(EDGE, ANNOTATION, &[]),
            at(EDGE, "knative", &[8012]),
            at(APP, "istio", &[8080]),
        ] {
            assert_eq!(choice.advice(), None, "{choice}");
        }
        let advice = at(EDGE, "istio", &[]).advice().unwrap();
        assert!(
            advice.contains("(istio)") && advice.contains("ebb.dev/ports"),
            "{advice}"
        );
    }
}
