//! Test cases of the class of a response's status, in every encoding that a server may use.

use ebb_parser_testing::{
    exchange::Exchange,
    http2::{
        frames::{END_STREAM, headers},
        headers::{Field, HUFFMAN, INSERT, NEVER, PLAIN, STATIC, Sender, block},
    },
};

use super::{connection, get};

pub(super) fn all() -> Vec<Exchange> {
    let mut all = fixed();
    all.extend(literal());
    all.extend(from_the_table());
    all
}

/// Returns an exchange whose response has only this field.
fn answered(name: &'static str, status: Field<'_>, class: usize) -> Exchange {
    connection(name)
        .client(get(1))
        .streams(1)
        .server(headers(1, END_STREAM, block(&[status])))
        .streams(0)
        .ended(class, 1)
}

fn fixed() -> Vec<Exchange> {
    [2, 2, 2, 3, 4, 4, 5]
        .into_iter()
        .zip(8..)
        .map(|(class, index)| {
            answered("a status of the static table", Field::Indexed(index), class)
        })
        .collect()
}

fn literal() -> Vec<Exchange> {
    let statuses = [
        ("201", 2),
        ("226", 2),
        ("302", 3),
        ("399", 3),
        ("401", 4),
        ("499", 4),
        ("503", 5),
    ];
    let mut all = Vec::new();
    for (status, class) in statuses {
        for form in [PLAIN, INSERT, NEVER] {
            for code in [PLAIN, HUFFMAN] {
                let how = form | code;
                all.extend([
                    answered("a status in full", Field::Named(8, status, how), class),
                    answered(
                        "a status whose name is given by its last index in the static table",
                        Field::Named(14, status, how),
                        class,
                    ),
                    answered(
                        "a status whose name is written in full",
                        Field::Literal(":status", status, how),
                        class,
                    ),
                ]);
            }
        }
    }
    all
}

/// Returns an exchange with the responses of one server. Each response is given by its fields and its status class.
fn responses(name: &'static str, heads: &[(&[Field<'_>], usize)]) -> Exchange {
    let mut sender = Sender::new();
    let mut exchange = connection(name);
    for ((fields, class), stream) in heads.iter().zip((1..).step_by(2)) {
        exchange = exchange
            .client(get(stream))
            .streams(1)
            .server(headers(stream, END_STREAM, sender.block(fields)))
            .streams(0)
            .ended(*class, 1);
    }
    exchange
}

fn from_the_table() -> Vec<Exchange> {
    let newest = Field::Indexed(STATIC + 1);
    let second = Field::Indexed(STATIC + 2);
    let other = Field::Literal("server", "x", INSERT);
    let created = Field::Named(8, "201", INSERT);
    let gone = Field::Named(8, "410", INSERT | HUFFMAN);
    let spelled = Field::Literal(":status", "503", INSERT);
    let many: Vec<String> = (0..30).map(|n| (401 + n).to_string()).collect();
    let distinct: Vec<[Field<'_>; 1]> = many
        .iter()
        .map(|status| [Field::Named(8, status, INSERT)])
        .collect();
    let mut distinct: Vec<(&[Field<'_>], usize)> = distinct
        .iter()
        .map(|fields| (fields.as_slice(), 4))
        .collect();
    let oldest = [Field::Indexed(STATIC + 30)];
    distinct.push((&oldest, 4));
    vec![
        responses(
            "a status that is in the server's HPACK table",
            &[(&[created], 2), (&[newest], 2), (&[newest], 2)],
        ),
        responses(
            "two statuses in the HPACK table, at indexes that change",
            &[
                (&[created, other], 2),
                (&[gone], 4),
                (&[newest], 4),
                (&[Field::Indexed(STATIC + 3)], 2),
                (&[Field::Indexed(8), other], 2),
                (&[second], 4),
            ],
        ),
        responses(
            "a field name that is in the server's HPACK table",
            &[
                (&[created], 2),
                (&[Field::Named(STATIC + 1, "504", PLAIN)], 5),
            ],
        ),
        responses(
            "a field name that is in the server's HPACK table, inserted again",
            &[
                (&[spelled], 5),
                (&[Field::Named(STATIC + 1, "404", INSERT | HUFFMAN)], 4),
                (&[newest], 4),
                (&[second], 5),
            ],
        ),
        responses(
            "an HPACK table that is emptied",
            &[
                (&[created, other], 2),
                (&[Field::Resize(0), Field::Resize(4096), gone], 4),
                (&[newest], 4),
            ],
        ),
        responses(
            "a new size of the HPACK table before a status",
            &[
                (&[Field::Resize(256), created], 2),
                (&[Field::Resize(4000), newest], 2),
            ],
        ),
        responses("thirty statuses in the HPACK table", &distinct),
    ]
}
