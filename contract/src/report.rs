//! The report of a source of metrics to the autoscaler: a public interface, described in `docs/report-api.md`.
//!
//! Everything but the gauges is cumulative, and every time is the sender's own `CLOCK_MONOTONIC`. So a lost report
//! loses no data, reports may arrive in any order, and clocks need not agree.
//!
//! Bias: fields are only ever added. A reader ignores unknown fields. A missing field is zero, except the few that a
//! decision depends on, which are required. Texts are bounded ([`LONGEST`](crate::LONGEST)).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::bounded;

/// The path for reports: `POST`, JSON.
pub const PATH: &str = "/v1/report";

/// The audience that a service-account token must be issued for.
pub const AUDIENCE: &str = "ebb-autoscaler";

/// Longest accepted body, in bytes: 1 024 pods a node at about 500 bytes each, and as much again.
pub const MAX_BODY: usize = 1 << 20;

/// The figures of the pods of one node, or of the pods that another source sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// Name of the Node that the pods run on, as in the API server. Empty for a source that is not on a node.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub node: Cow<'a, str>,
    /// Identifies one run of the clock: the node's boot id, or any text that is new whenever the pods' `at` may have
    /// gone back.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub boot: Cow<'a, str>,
    /// The pods, each once.
    #[serde(borrow)]
    pub pods: Vec<Pod<'a>>,
}

/// The figures of one pod at one moment. Its uid is borrowed from the input: a large cluster reports a hundred thousand
/// or more a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod<'a> {
    /// The pod's `metadata.uid`.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub uid: Cow<'a, str>,
    /// When counting began, ns. A new value means that all counters began again at zero.
    pub since: u64,
    /// When the figures were read, ns. Never less than `since`.
    pub at: u64,
    /// ∫ in_flight dt from `since` to `at`, in request-nanoseconds; wraps at 2^64. The mean concurrency between two
    /// reports is the difference of their integrals divided by that of their `at`.
    pub integral: u64,
    /// Requests in flight at `at`.
    pub in_flight: u64,
    /// Requests started since `since`, without excluded ones.
    pub started: u64,
    /// Requests with a complete response since `since`.
    #[serde(default)]
    pub completed: u64,
    /// Requests whose connection ended before the response was complete.
    #[serde(default)]
    pub aborted: u64,
    /// Probes and requests to excluded paths; not included in any other figure.
    #[serde(default)]
    pub excluded: u64,
    /// Part of `in_flight`: connections whose bytes cannot be parsed (TLS, other protocols).
    #[serde(default)]
    pub opaque: u64,
    /// Connections open at `at`.
    #[serde(default)]
    pub connections: u64,
    /// Completed requests by status class, 1xx to 5xx.
    #[serde(default)]
    pub status: [u64; 5],
}

/// The response to an accepted report, with the outcome for its pods. A report that is refused as a whole gets an HTTP
/// error status instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Pods whose figures were accepted.
    pub taken: u32,
    /// Pods of no scaled workload, or pods that the autoscaler does not know yet. Send them again in the next report.
    pub unknown: u32,
    /// Pods that do not run on the sender's node: ignored.
    pub foreign: u32,
    /// Pods whose figures are inconsistent in themselves or with earlier ones: ignored.
    pub senseless: u32,
}

impl Receipt {
    /// Returns each outcome that occurred, as one word with the number of pods, so that both ends count the same.
    pub fn outcomes(self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self {
            taken,
            unknown,
            foreign,
            senseless,
        } = self;
        [
            ("accepted", taken),
            ("unknown", unknown),
            ("foreign", foreign),
            ("invalid", senseless),
        ]
        .into_iter()
        .filter(|(_, pods)| *pods > 0)
        .map(|(outcome, pods)| (outcome, u64::from(pods)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doors;

    #[test]
    fn the_least_a_source_has_to_say() {
        let text = r#"{"node":"a","boot":"b","later":1,"pods":[
            {"uid":"u","since":5,"at":9,"integral":18446744073709551615,"in_flight":2,"started":3}]}"#;
        let report: Report<'_> = serde_json::from_str(text).unwrap();
        let pod = Pod {
            uid: "u".into(),
            since: 5,
            at: 9,
            integral: u64::MAX,
            in_flight: 2,
            started: 3,
            ..Pod::default()
        };
        assert_eq!(report.pods, [pod]);
    }

    #[test]
    fn t4_a_text_longer_than_a_name_is_refused() {
        let longest = "n".repeat(crate::LONGEST);
        for (text, allowed) in [(longest.clone(), true), (longest + "n", false)] {
            let pod = r#"{"uid":"u","since":5,"at":9,"integral":1,"in_flight":2,"started":3}"#;
            for (node, boot, pod) in [
                (&*text, "b", pod.to_owned()),
                ("a", &*text, pod.to_owned()),
                ("a", "b", pod.replace("\"u\"", &format!("{text:?}"))),
            ] {
                let report = format!(r#"{{"node":"{node}","boot":"{boot}","pods":[{pod}]}}"#);
                let read = serde_json::from_str::<Report<'_>>(&report);
                assert_eq!(read.is_ok(), allowed, "{read:?}");
            }
            let doors = format!(
                r#"{{"activator":"a","address":"b","boot":"c","doors":[{{"namespace":"{text}","service":"s","port":"p",
                "number":1,"in_path":true,"since":1,"at":1,"held_integral":1,"held":1,"held_ever":1}}]}}"#
            );
            let read = serde_json::from_str::<doors::Doors>(&doors);
            assert_eq!(read.is_ok(), allowed, "{read:?}");
        }
    }

    #[test]
    fn what_decisions_rest_on_must_be_there() {
        let text = r#"{"node":"a","boot":"b","pods":[{"uid":"u","since":5,"at":9,"in_flight":2,"started":3}]}"#;
        let error = serde_json::from_str::<Report<'_>>(text).unwrap_err();
        assert!(error.to_string().contains("integral"), "{error}");
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let report = Report {
            node: "node-a".into(),
            boot: "0".into(),
            pods: vec![Pod {
                uid: "u".into(),
                status: [0, 7, 0, 1, 0],
                ..Pod::default()
            }],
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report<'_>>(&text).unwrap(), report);
    }
}
