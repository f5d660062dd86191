//! The report of a source of metrics to the autoscaler: a public interface, described in `docs/report-api.md`.
//!
//! All counters are cumulative, and all times are on the sender's `CLOCK_MONOTONIC`. So no data is lost with a lost
//! report, reports may arrive in any order, and the clocks of senders need not agree.
//!
//! Bias: fields are only ever added. A reader ignores unknown fields. A missing field is zero, but the few fields that
//! a decision depends on are required. The length of texts is limited ([`LONGEST`](crate::LONGEST)).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{bounded, hop::CountedAt};

/// Path of reports about pods. A report is sent with `POST`, as JSON.
pub const PATH: &str = "/v1/report";

/// The audience that a service-account token must be issued for.
pub const AUDIENCE: &str = "ebb-autoscaler";

/// Maximum length of an accepted body, in bytes: twice the length of a report of 1 024 pods at about 500 bytes each.
pub const MAX_BODY: usize = 1 << 20;

/// Maximum number of rejected pods in a report of an agent: a reason takes up to 1.5 KiB as JSON, and the reasons must
/// leave room for the counters.
pub const MAX_REJECTED: usize = 64;

/// The counters and gauges of the pods of one node, or of the pods that another source measures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// Name of the Node that the pods run on, as in the API server. Empty for a source that is not on a node.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub node: Cow<'a, str>,
    /// Identifies one run of the clock: the node's boot id, or any text that changes whenever the clock of `since` and
    /// `at` may have gone back.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub boot: Cow<'a, str>,
    /// The pods, each once.
    #[serde(borrow)]
    pub pods: Vec<Pod<'a>>,
    /// The pods that opted in and cannot be counted, at most [`MAX_REJECTED`] of them.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedPod<'a>>,
}

/// A pod that opted in and cannot be counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedPod<'a> {
    /// The pod's `metadata.uid`.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub uid: Cow<'a, str>,
    /// The reason, for people.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub why: Cow<'a, str>,
}

/// The counters and gauges of one pod at one moment. The uid is borrowed from the input, because a large cluster
/// reports a hundred thousand or more pods per second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod<'a> {
    /// The pod's `metadata.uid`.
    #[serde(borrow, deserialize_with = "bounded::borrowed")]
    pub uid: Cow<'a, str>,
    /// Time at which counting began, in ns. A new value means that all counters began again at zero.
    pub since: u64,
    /// Time at which the counters were read, in ns. It is never less than `since`.
    pub at: u64,
    /// ∫ in_flight dt from `since` to `at`, in request-nanoseconds; wraps at 2^64. The mean concurrency between two
    /// reports is the difference of `integral` divided by the difference of `at`.
    pub integral: u64,
    /// Requests in flight at `at`.
    pub in_flight: u64,
    /// Requests started since `since`, without excluded requests.
    pub started: u64,
    /// Requests with a complete response since `since`.
    #[serde(default)]
    pub completed: u64,
    /// Requests since `since` whose connection ended before the response was complete.
    #[serde(default)]
    pub aborted: u64,
    /// Probes, and requests to excluded paths, since `since`. They are not included in any other field.
    #[serde(default)]
    pub excluded: u64,
    /// Part of `in_flight`: connections whose bytes cannot be parsed (TLS, other protocols).
    #[serde(default)]
    pub opaque: u64,
    /// Connections open at `at`.
    #[serde(default)]
    pub connections: u64,
    /// Completed requests since `since`, by status class, from 1xx to 5xx in this order.
    #[serde(default)]
    pub status: [u64; 5],
    /// The hop at which the pod is counted. `None` for a source that does not choose a hop.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub counted_at: Option<CountedAt<'a>>,
}

/// The response to an accepted report, with the outcome for its pods. A report that is rejected as a whole gets an HTTP
/// error status instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Number of pods whose counters were accepted.
    pub taken: u32,
    /// Number of pods that belong to no scaled workload, or that the autoscaler does not know yet. The next report must
    /// contain these pods again.
    pub unknown: u32,
    /// Number of pods that were ignored, because they do not run on the sender's node.
    pub foreign: u32,
    /// Number of pods that were ignored, because their counters contradict each other or earlier counters.
    pub senseless: u32,
}

impl Receipt {
    /// Returns each outcome that occurred, as (word, number of pods). The metrics of senders and of the autoscaler use
    /// the same words.
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
    use crate::ActivatorReport;

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
            let report = format!(
                r#"{{"activator":"a","address":"b","boot":"c","ports":[{{"namespace":"{text}","service":"s","port":"p",
                "number":1,"in_path":true,"since":1,"at":1,"queued_integral":1,"queued":1,"queued_ever":1}}]}}"#
            );
            let read = serde_json::from_str::<ActivatorReport>(&report);
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
                counted_at: Some(CountedAt {
                    hop: "app".into(),
                    reason: "istio".into(),
                    ports: vec![8080],
                    only_inside: true,
                }),
                ..Pod::default()
            }],
            rejected: vec![RejectedPod {
                uid: "v".into(),
                why: "ebb.dev/ports: invalid value \"http\"".into(),
            }],
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report<'_>>(&text).unwrap(), report);
    }

    /// Programs one release apart understand each other: a report without the choice of the hop has the fields that it
    /// had before, and unknown fields in the choice are ignored.
    #[test]
    fn a_choice_of_the_hop_is_optional() {
        let report = Report {
            pods: vec![Pod::default()],
            ..Report::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            !text.contains("counted_at") && !text.contains("rejected"),
            "{text}"
        );
        let later = text.replace(
            r#""status""#,
            r#""counted_at":{"hop":"edge","reason":"default","later":[1]},"status""#,
        );
        let read: Report<'_> = serde_json::from_str(&later).unwrap();
        let counted_at = read.pods[0].counted_at.clone().unwrap();
        assert_eq!(counted_at.to_string(), "counted at the edge (default)");
    }

    #[test]
    fn the_largest_report_of_rejected_pods_leaves_room() {
        let worst = RejectedPod {
            uid: "u".repeat(crate::LONGEST).into(),
            // A control character takes six bytes as JSON.
            why: "\u{1}".repeat(crate::LONGEST).into(),
        };
        let report = Report {
            rejected: vec![worst; MAX_REJECTED],
            ..Report::default()
        };
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.len() < MAX_BODY / 8, "{}", text.len());
    }
}
