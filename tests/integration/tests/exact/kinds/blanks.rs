//! Every number of blanks, from 0 to 64, before and after the values of `Content-Length` and `Transfer-Encoding`.

use ebb_fixtures::Case;

use super::{GET, Item, OK, all_exact};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::kinds::blanks_in_requests", EBB, || {
        all_exact(&conversations(request));
    }),
    Case::beside("exact::kinds::blanks_in_responses", EBB, || {
        all_exact(&conversations(response));
    }),
];

/// Maximum number of blanks on one side of a value. A value with at most seven blanks before it is read at once. All
/// others are read byte by byte, in pieces of at most eight bytes.
const MOST: usize = 64;

/// A field with a body of that length or coding.
type Framed<'a> = (String, &'a str);

fn request((field, body): &Framed<'_>) -> Item {
    let request = format!("POST / HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n{body}");
    Item::exchange(field, request, OK)
}

fn response((field, body): &Framed<'_>) -> Item {
    let response = format!("HTTP/1.1 200 OK\r\n{field}\r\nServer: test\r\n\r\n{body}");
    Item::exchange(field, GET, response)
}

/// Returns one conversation for each kind of blanks and each field.
fn conversations(item: fn(&Framed<'_>) -> Item) -> Vec<Vec<Item>> {
    let fields = [
        ("Content-Length", "5", "hello"),
        ("Transfer-Encoding", "chunked", "5\r\nhello\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding",
            "gzip, chunked",
            "5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    let mut all = Vec::new();
    for (name, value, body) in fields {
        for pattern in [" ", "\t", " \t"] {
            let blanks = |count: usize| -> String { pattern.chars().cycle().take(count).collect() };
            let counts = (0..=MOST).flat_map(|count| [(count, 0), (0, count), (count, count)]);
            let items = counts.map(|(before, after)| {
                let (before, after) = (blanks(before), blanks(after));
                item(&(format!("{name}:{before}{value}{after}"), body))
            });
            all.push(items.chain([Item::ordinary()]).collect());
        }
    }
    all
}
