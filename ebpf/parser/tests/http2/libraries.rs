//! Plays the bytes that clients and servers of the `h2` crate have sent. The counts must equal those of the crate,
//! under every segmentation.

use ebb_parser_testing::{
    EXCLUDED,
    http2::{
        beside::play,
        library::{End, Plan, talk},
    },
    segments::Piece,
};
use proptest::{prelude::*, sample::select};

use crate::shared::{config, pieces};

/// Generates header fields. Some values are the same in many messages, and some occur once.
fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = select(vec!["x-a", "x-b", "cookie", "server", "accept", "x-long"]);
    let value = prop_oneof![
        4 => select(vec!["", "1", "text/html", "a=b; c=d", "Zürich"]).prop_map(str::to_owned),
        1 => "[!-~]{1,80}",
        1 => "[a-z0-9]{200,500}",
    ];
    prop::collection::vec((name.prop_map(str::to_owned), value), 0..4)
}

/// Returns a path, a field that may mark the request as a probe, and whether the request is excluded.
fn target() -> impl Strategy<Value = (String, Option<(String, String)>, bool)> {
    let path = prop_oneof![
        6 => select(vec!["/", "/index.html", "/a/b/c?d=e", "/metric", "/metrics/"]).prop_map(str::to_owned),
        2 => "/[a-z0-9]{1,70}",
        1 => select(EXCLUDED.to_vec()).prop_map(str::to_owned),
    ];
    let agent = select(vec![
        None,
        None,
        None,
        Some(("user-agent", "curl/8.5.0")),
        Some(("user-agent", "kube-prober")),
        Some(("user-agent", "kube-probe/1.30")),
        Some(("user-agent", "kube-probe/1.31+")),
        Some(("k-network-probe", "queue")),
        Some(("k-network-probe", "activator")),
        Some(("k-kubelet-probe", "queue")),
    ]);
    (path, agent).prop_map(|(path, agent)| {
        let probe = agent.is_some_and(|(name, value)| {
            name.starts_with("k-") || value.starts_with("kube-probe/")
        });
        let excluded = probe || EXCLUDED.contains(&path.as_str());
        let agent = agent.map(|(name, value)| (name.to_owned(), value.to_owned()));
        (path, agent, excluded)
    })
}

fn body() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![1..20usize, 1..2000usize, 10_000..40_000usize];
    prop::collection::vec(length, 0..4)
}

fn plan() -> impl Strategy<Value = Plan> {
    let end = prop_oneof![
        8 => Just(End::Answered),
        1 => Just(End::ClientResets),
        1 => Just(End::ClientResetsInBody),
        1 => Just(End::ServerResets),
        1 => Just(End::ServerResetsInBody),
    ];
    let status = prop_oneof![
        4 => Just(200),
        4 => select(vec![201, 204, 206, 301, 302, 304, 400, 403, 404, 418, 429, 500, 502, 503]),
        1 => 200..600u16,
    ];
    (
        target(),
        fields(),
        body(),
        prop::bool::weighted(0.2),
        status,
        fields(),
        body(),
        any::<bool>(),
        end,
    )
        .prop_map(
            |(
                (path, agent, excluded),
                mut fields,
                asks,
                interim,
                status,
                answer_fields,
                answers,
                trailers,
                end,
            )| {
                fields.extend(agent);
                Plan {
                    path,
                    fields,
                    asks,
                    interim,
                    status,
                    answer_fields,
                    answers,
                    trailers,
                    end,
                    excluded,
                }
            },
        )
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn counted_as_they_count(
        plans in prop::collection::vec(plan(), 1..30),
        at_once in 1..20usize,
        pieces in pieces(),
    ) {
        let count = plans.len() as u64;
        let talk = talk(plans, at_once);
        prop_assert_eq!(talk.accepted, count);
        for pieces in [[Piece::WHOLE].as_slice(), &pieces] {
            let played = play(&talk.script, pieces);
            prop_assert_eq!(played.broken, None);
            prop_assert_eq!(played.opaque, None);
            prop_assert_eq!(played.figures.started, count);
            prop_assert_eq!(played.figures.ended, talk.ended);
        }
    }
}
