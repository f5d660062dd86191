//! Every way in which a response can end, followed by each of these ways.

use ebb_fixtures::Case;

use super::{GET, Item, all_exact};
use crate::exact::EBB;

pub(super) const CASES: &[Case] = &[Case::beside("exact::kinds::ends_of_responses", EBB, || {
    let ways = ways();
    let mut conversations = Vec::new();
    for first in &ways {
        if first.closes {
            conversations.push(vec![first.clone()]);
            continue;
        }
        for second in &ways {
            let rest = (!second.closes).then(Item::ordinary);
            let pair = [first.clone(), second.clone()];
            conversations.push(pair.into_iter().chain(rest).collect());
        }
    }
    all_exact(&conversations);
})];

fn ways() -> Vec<Item> {
    let head = "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n";
    let kept: [(&str, &str, &str); 16] = [
        (
            "length",
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "length 0",
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "equal lengths",
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "a list of equal lengths",
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        ),
        (
            "HTTP/1.0, length",
            GET,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        ),
        (
            "chunks",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "no chunk",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunks and a length",
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 900\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a chunk extension",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b;c\" ; d\r\nhello\r\n0;e\r\n\r\n",
        ),
        (
            "trailers",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\n",
        ),
        (
            "HEAD and a length",
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "HEAD and chunks",
            head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("HEAD and nothing", head, "HTTP/1.1 200 OK\r\n\r\n"),
        ("204", GET, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "304",
            GET,
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "interim responses",
            GET,
            "HTTP/1.1 100 Continue\r\n\r\n\
             HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        ),
    ];
    let closed: [(&str, &str, &str); 6] = [
        ("close", GET, "HTTP/1.1 200 OK\r\n\r\nhello"),
        ("close without a body", GET, "HTTP/1.1 200 OK\r\n\r\n"),
        ("HTTP/1.0, close", GET, "HTTP/1.0 200 OK\r\n\r\nhello"),
        (
            "a coding other than chunked",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        ),
        (
            "a coding and a length",
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 2\r\n\r\nhello",
        ),
        (
            "length and close",
            GET,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        ),
    ];
    let item =
        |(name, request, response): (&str, &str, &str)| Item::exchange(name, request, response);
    let kept = kept.into_iter().map(item);
    kept.chain(closed.into_iter().map(|way| item(way).closing()))
        .collect()
}
