//! The exchanges that are written by hand, by topic.

mod beginnings;
mod frames;
mod opaque;
mod probes;
mod statuses;
mod streams;

use ebb_parser_testing::{
    exchange::{Exchange, exchange},
    http2::{
        PREFACE,
        frames::{END_STREAM, data, headers, settings, settings_ack},
        headers::{Field, PLAIN, block},
    },
};

/// Returns all cases.
pub(crate) fn all() -> Vec<Exchange> {
    [
        beginnings::all(),
        frames::all(),
        opaque::all(),
        probes::all(),
        statuses::all(),
        streams::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns a connection on which both sides have sent their settings.
fn connection(name: &'static str) -> Exchange {
    exchange(name)
        .client([PREFACE.as_slice(), &settings()].concat())
        .streams(0)
        .server([settings(), settings_ack()].concat())
        .client(settings_ack())
        .streams(0)
}

/// The first fields of most requests: `GET`, `/`, `http`, and an authority.
const GET: [Field<'static>; 4] = [
    Field::Indexed(2),
    Field::Indexed(4),
    Field::Indexed(6),
    Field::Named(1, "a.example", PLAIN),
];

/// Returns the header block of a request with these additional fields.
fn request(fields: &[Field<'_>]) -> Vec<u8> {
    block(&[&GET, fields].concat())
}

/// Returns a request without a body.
fn get(stream: u32) -> Vec<u8> {
    headers(stream, END_STREAM, request(&[]))
}

/// The field `:status: 200`, from the static table.
const OK: Field<'static> = Field::Indexed(8);

/// Returns a response with a head and a body.
fn ok(stream: u32) -> Vec<u8> {
    [
        headers(stream, 0, block(&[OK])),
        data(stream, END_STREAM, "hello"),
    ]
    .concat()
}
