//! The report of a source of metrics to the autoscaler: a public interface, described in `docs/report-api.md`.
//!
//! Everything but the gauges is cumulative, and every time is the sender's own `CLOCK_MONOTONIC`. So a report that is
//! lost loses nothing, reports may come in any order, and no two clocks need agree.
//!
//! Bias: fields are only ever added. A reader passes over those it does not know; what a sender leaves out is zero,
//! except the few that a decision rests on, which must be there. Texts are bounded ([`LONGEST`](crate::LONGEST)).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::bounded;

/// Where reports are sent: `POST`, JSON.
pub const PATH: &str = "/v1/report";

/// The audience that a service-account token must have been made out for.
pub const AUDIENCE: &str = "ebb-autoscaler";

/// Longest body that is read, in bytes: 1 024 pods a node at some 500 bytes each, and as much again.
pub const MAX_BODY: usize = 1 << 20;

/// The figures of the pods of one node, or of those that another source sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// Name of the Node the pods run on, as the API server knows it. Empty for a source that is not on a node.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub node: Cow<'a, str>,
    /// Tells one start of the clock from the next: the node's boot id, or any text that is new whenever `at` of the
    /// pods may have gone back.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub boot: Cow<'a, str>,
    /// The pods, each once.
    #[serde(borrow)]
    pub pods: Vec<Pod<'a>>,
}

/// What one pod has served up to one moment. Its uid is a part of what was read: a large cluster tells some hundred
/// thousand a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod<'a> {
    /// The pod's `metadata.uid`.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub uid: Cow<'a, str>,
    /// When counting began, ns. Another value says that all counters began anew at zero.
    pub since: u64,
    /// When the figures were read, ns. Never less than `since`.
    pub at: u64,
    /// ∫ in_flight dt from `since` to `at`, in request-nanoseconds; wraps at 2^64. The mean concurrency between two
    /// reports is the difference of their integrals divided by that of their `at`.
    pub integral: u64,
    /// Requests in flight at `at`.
    pub in_flight: u64,
    /// Requests begun since `since`, without excluded ones.
    pub started: u64,
    /// Requests answered in full since `since`.
    #[serde(default)]
    pub completed: u64,
    /// Requests whose connection ended first.
    #[serde(default)]
    pub aborted: u64,
    /// Probes and requests to excluded paths; in none of the other figures.
    #[serde(default)]
    pub excluded: u64,
    /// Of those in flight: connections whose bytes cannot be read (TLS, other protocols).
    #[serde(default)]
    pub opaque: u64,
    /// Connections open at `at`.
    #[serde(default)]
    pub connections: u64,
    /// Completed requests by status class, 1xx to 5xx.
    #[serde(default)]
    pub status: [u64; 5],
}

/// The answer to a report that was read. Reports are refused as a whole by HTTP status; this says what became of
/// the pods of one that was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Pods whose figures were taken.
    pub taken: u32,
    /// Pods that nobody scales on, or that the autoscaler has not heard of yet. Send them again next time.
    pub unknown: u32,
    /// Pods that do not run on the sender's node: passed over.
    pub foreign: u32,
    /// Pods whose figures contradict themselves or those before: passed over.
    pub senseless: u32,
}

impl Receipt {
    /// What became of pods, a word for each outcome there was, with how many: for both ends to count alike.
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
