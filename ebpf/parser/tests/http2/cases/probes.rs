//! Test cases of probes and excluded paths: they are counted as excluded, and nowhere else.

use ebb_parser_testing::{
    EXCLUDED as PATHS,
    exchange::Exchange,
    http2::{
        frames::{END_STREAM, continued, headers},
        headers::{Field, HUFFMAN, INSERT, NEVER, PLAIN, STATIC, Sender},
    },
};

use super::{GET, OK, connection, ok, request};

/// The value of [`ebb_abi::ended::EXCLUDED`].
const EXCLUDED: usize = 6;

/// Index of `user-agent` in the static table.
const AGENT: u32 = 58;

/// Index of `:path` in the static table.
const PATH: u32 = 4;

pub(super) fn all() -> Vec<Exchange> {
    let mut all = written();
    all.extend(others());
    all.extend(paths());
    all.extend(from_the_table());
    all.extend(times());
    all
}

/// Returns an exchange with a request of this header block. An excluded request is in flight until the last byte of its
/// head has arrived.
fn asked(name: &'static str, block: &[u8], excluded: bool) -> Exchange {
    let frame = headers(1, END_STREAM, block);
    let (last, most) = frame.split_last().expect("a frame has a head");
    let left = u64::from(!excluded);
    connection(name)
        .client(most)
        .streams(1)
        .client([*last])
        .streams(left)
        .server(ok(1))
        .streams(0)
        .ended(if excluded { EXCLUDED } else { 2 }, 1)
}

fn written() -> Vec<Exchange> {
    let mut all = Vec::new();
    for form in [PLAIN, INSERT, NEVER] {
        for code in [PLAIN, HUFFMAN] {
            let how = form | code;
            for field in [
                Field::Named(AGENT, "kube-probe/1.30", how),
                Field::Named(AGENT, "kube-probe/", how),
                Field::Literal("user-agent", "kube-probe/1.30+", how),
                Field::Literal("k-network-probe", "queue", how),
                Field::Literal("k-network-probe", "", how),
                Field::Literal("k-kubelet-probe", "queue", how),
            ] {
                all.push(asked("a probe", &request(&[field]), true));
                let late = [
                    Field::Literal("x", "y", INSERT),
                    field,
                    Field::Named(32, "c=d", PLAIN),
                ];
                all.push(asked(
                    "the field that marks a probe, after other fields",
                    &request(&late),
                    true,
                ));
            }
        }
    }
    let hidden = "x".repeat(2048);
    let late = [
        Field::Named(32, &hidden, PLAIN),
        Field::Named(AGENT, "kube-probe/1.30", HUFFMAN),
    ];
    all.push(asked(
        "the field that marks a probe, after 2 KiB of fields",
        &request(&late),
        true,
    ));
    all
}

fn others() -> Vec<Exchange> {
    let mut all = Vec::new();
    for code in [PLAIN, HUFFMAN] {
        for field in [
            Field::Named(AGENT, "kube-probe", code),
            Field::Named(AGENT, "kube-probes/1", code),
            Field::Named(AGENT, "xkube-probe/1", code),
            Field::Named(AGENT, "kube-pro", code),
            Field::Named(AGENT, "k", code),
            Field::Named(AGENT, "", code),
            Field::Named(19, "kube-probe/1.30", code),
            Field::Literal("x", "kube-probe/1.30", code),
            Field::Literal("x", "k-network-probe", code),
            Field::Literal("k-network", "queue", code),
            Field::Literal("k-network-policy", "queue", code),
            Field::Literal("k-kubelet", "queue", code),
        ] {
            all.push(asked("no probe", &request(&[field]), false));
        }
    }
    all
}

/// Returns the header block of a request for this path.
fn path(field: Field<'_>) -> Vec<u8> {
    let mut fields = GET;
    fields[1] = field;
    Sender::new().block(&fields)
}

fn paths() -> Vec<Exchange> {
    let longer = format!("{}s", PATHS[2]);
    let mut all = Vec::new();
    for how in [PLAIN, INSERT, NEVER, HUFFMAN, INSERT | HUFFMAN] {
        for excluded in PATHS {
            for field in [
                Field::Named(PATH, excluded, how),
                Field::Named(PATH + 1, excluded, how),
                Field::Literal(":path", excluded, how),
            ] {
                all.push(asked("an excluded path", &path(field), true));
            }
        }
        for other in ["/metric", "/metricss", "/metrics/", "/", &longer, "*"] {
            all.push(asked(
                "another path",
                &path(Field::Named(PATH, other, how)),
                false,
            ));
        }
    }
    for query in ["/metrics?", "/metrics?name=a&b=c", "/health/live?/metrics"] {
        let field = Field::Named(PATH, query, PLAIN);
        all.push(asked("an excluded path with a query", &path(field), true));
    }
    all.push(asked(
        "an excluded path as another field's value",
        &request(&[Field::Literal("x", "/metrics", PLAIN)]),
        false,
    ));
    all
}

/// Returns an exchange with the requests of one client. Each request is given by its fields, and whether it is
/// excluded.
fn requests(name: &'static str, heads: &[(&[Field<'_>], bool)]) -> Exchange {
    let mut sender = Sender::new();
    let mut exchange = connection(name);
    for ((fields, excluded), stream) in heads.iter().zip((1..).step_by(2)) {
        let block = sender.block(&[&GET, *fields].concat());
        exchange = exchange
            .client(headers(stream, END_STREAM, block))
            .streams(u64::from(!excluded))
            .server(ok(stream))
            .streams(0)
            .ended(if *excluded { EXCLUDED } else { 2 }, 1);
    }
    exchange
}

fn from_the_table() -> Vec<Exchange> {
    let newest = Field::Indexed(STATIC + 1);
    let second = Field::Indexed(STATIC + 2);
    let probe = Field::Named(AGENT, "kube-probe/1.30", INSERT);
    let coded = Field::Named(AGENT, "kube-probe/1.30", INSERT | HUFFMAN);
    let curl = Field::Named(AGENT, "curl/8", INSERT);
    let knative = Field::Literal("k-network-probe", "queue", INSERT | HUFFMAN);
    let (first, again) = ([probe], [newest]);
    let mut behind: Vec<(&[Field<'_>], bool)> = vec![(&first, true)];
    behind.extend([(&[] as &[Field<'_>], false); 100]);
    behind.push((&again, true));
    let (metrics, oldest) = (
        [Field::Named(PATH, "/metrics", INSERT)],
        [Field::Indexed(STATIC + 20)],
    );
    let mut twenty: Vec<(&[Field<'_>], bool)> = vec![(&metrics, true); 20];
    twenty.push((&oldest, true));
    vec![
        requests(
            "a probe whose field is in the HPACK table",
            &[
                (&[probe], true),
                (&[newest], true),
                (&[], false),
                (&[newest], true),
            ],
        ),
        requests(
            "a probe whose field is in the HPACK table, Huffman-coded",
            &[(&[coded], true), (&[newest], true)],
        ),
        requests("a probe after a hundred requests", &behind),
        requests(
            "two clients' requests on one connection",
            &[
                (&[curl], false),
                (&[probe], true),
                (&[second], false),
                (&[newest], true),
            ],
        ),
        requests(
            "Knative's probe, by a field and by a field name in the HPACK table",
            &[
                (&[knative], true),
                (&[newest], true),
                (&[Field::Named(STATIC + 1, "activator", PLAIN)], true),
                (&[Field::Named(STATIC + 1, "activator", INSERT)], true),
                (&[newest], true),
            ],
        ),
        requests(
            "a user agent whose field name is in the HPACK table",
            &[
                (&[probe], true),
                (&[Field::Named(STATIC + 1, "curl/8", INSERT)], false),
                (&[second], true),
                (&[newest], false),
                (&[Field::Named(STATIC + 2, "kube-probe/1.31", PLAIN)], true),
            ],
        ),
        requests(
            "an excluded path that is in the HPACK table",
            &[
                (&[Field::Named(PATH, "/metrics", INSERT)], true),
                (&[newest], true),
                (&[Field::Named(PATH, "/metric", INSERT | HUFFMAN)], false),
                (&[second], true),
                (&[newest], false),
            ],
        ),
        requests(
            "a probe whose field was evicted from the HPACK table and inserted again",
            &[
                (&[probe], true),
                (&[Field::Resize(0), Field::Resize(4096), curl], false),
                (&[newest], false),
                (&[probe], true),
                (&[newest], true),
                (&[second], false),
            ],
        ),
        requests(
            "an excluded path that was inserted twenty times into the HPACK table",
            &twenty,
        ),
    ]
}

/// Returns test cases in which another event happens before or after a request is recognised as a probe.
fn times() -> Vec<Exchange> {
    let probe = request(&[Field::Named(AGENT, "kube-probe/1.30", PLAIN)]);
    let reset = |stream| ebb_parser_testing::http2::frames::reset(stream);
    // The parser does not examine a string that continues in another frame. So a probe that is cut within the value of
    // its `user-agent` counts as a request.
    let agent = probe.len() - "kube-probe/1.30".len();
    let mut all: Vec<Exchange> = (0..probe.len())
        .map(|at| {
            let excluded = at < agent;
            let frames = continued(1, END_STREAM, &probe, &[at]);
            connection("a probe in two frames")
                .client(&frames[0])
                .streams(1)
                .client(&frames[1])
                .streams(u64::from(!excluded))
                .server(ok(1))
                .streams(0)
                .ended(if excluded { EXCLUDED } else { 2 }, 1)
        })
        .collect();
    all.extend([
        connection("a probe and a request in flight at the same time")
            .client(
                [
                    headers(1, END_STREAM, request(&[])),
                    headers(3, END_STREAM, &probe),
                ]
                .concat(),
            )
            .streams(1)
            .server(ok(3))
            .streams(1)
            .server(ok(1))
            .streams(0)
            .ended(2, 1)
            .ended(EXCLUDED, 1),
        connection("a probe that is reset")
            .client([headers(1, END_STREAM, &probe), reset(1)].concat())
            .streams(0)
            .ended(EXCLUDED, 1),
        connection("a probe without a response")
            .client(headers(1, END_STREAM, &probe))
            .streams(0)
            .ended(EXCLUDED, 1),
        connection("a probe with a response before its head is complete")
            .client(&continued(1, END_STREAM, &probe, &[5])[0])
            .streams(1)
            .server(headers(1, END_STREAM, Sender::new().block(&[OK])))
            .streams(0)
            .client(&continued(1, END_STREAM, &probe, &[5])[1])
            .streams(0)
            .ended(2, 1),
    ]);
    all
}
