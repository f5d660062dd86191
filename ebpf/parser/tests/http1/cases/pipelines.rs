//! Test cases with several requests before the first response (pipelining). Up to 64 requests in flight can be marked
//! as HEAD, CONNECT or excluded. With more requests in flight, the connection can be read only if none of them is
//! marked.

use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK};

const HEAD: &str = "HEAD / HTTP/1.1\r\n\r\n";
const NO_BODY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n";
const PROBE: &str = "GET /metrics HTTP/1.1\r\n\r\n";
const EXCLUDED: usize = 6;
const OPAQUE: usize = 7;

pub(super) fn all() -> Vec<Exchange> {
    let mut all = plain();
    all.extend(mixed());
    all.extend(too_deep());
    all
}

fn plain() -> Vec<Exchange> {
    let depth = |name, count: usize| {
        exchange(name)
            .client(GET.repeat(count))
            .flying(count as u64)
            .server(OK)
            .flying(count as u64 - 1)
            .server(OK.repeat(count - 1))
            .flying(0)
            .client(GET)
            .flying(1)
            .server(OK)
            .flying(0)
            .ended(2, count as u64 + 1)
    };
    vec![
        depth("two at once", 2),
        depth("9 at once, more than the number of kept start times", 9),
        depth("64 at once, as many as there are mark bits", 64),
        depth("65 at once", 65),
        depth("70 at once", 70),
        exchange("requests still in flight at the end are aborted")
            .client(GET.repeat(70))
            .server(OK.repeat(3))
            .flying(67)
            .ended(2, 3)
            .ended(0, 67),
        exchange("never empty")
            .client(GET.repeat(5))
            .server(OK)
            .client(GET.repeat(60))
            .flying(64)
            .server(OK.repeat(50))
            .client(GET.repeat(50))
            .flying(64)
            .server(OK.repeat(64))
            .flying(0)
            .ended(2, 115),
    ]
}

fn mixed() -> Vec<Exchange> {
    let every_third: String = (0..60)
        .map(|n| if n % 3 == 0 { HEAD } else { GET })
        .collect();
    let answers: String = (0..60)
        .map(|n| if n % 3 == 0 { NO_BODY } else { OK })
        .collect();
    vec![
        exchange("HEAD among others")
            .client(every_third)
            .flying(60)
            .server(answers)
            .flying(0)
            .ended(2, 60),
        exchange("the HEAD mark of a request is cleared when a later request uses its bit")
            .client(HEAD.repeat(64))
            .server(NO_BODY.repeat(64))
            .flying(0)
            .client(GET.repeat(64))
            .flying(64)
            .server(OK.repeat(64))
            .flying(0)
            .ended(2, 128),
        exchange("the exclusion mark of a request is cleared when a later request uses its bit")
            .client(PROBE.repeat(64))
            .flying(0)
            .server(OK.repeat(64))
            .client(GET.repeat(64))
            .flying(64)
            .server(OK.repeat(64))
            .flying(0)
            .ended(EXCLUDED, 64)
            .ended(2, 64),
        exchange("a request with a body between two others")
            .client(format!(
                "{GET}PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc{GET}"
            ))
            .flying(3)
            .server(OK.repeat(3))
            .flying(0)
            .ended(2, 3),
        exchange("excluded requests among others")
            .client(format!("{GET}{PROBE}{GET}{PROBE}"))
            .flying(2)
            .server(OK)
            .flying(1)
            .server(OK)
            .flying(1)
            .server(OK)
            .flying(0)
            .server(OK)
            .flying(0)
            .ended(2, 2)
            .ended(EXCLUDED, 2),
        exchange("an excluded request after 20 others")
            .client(GET.repeat(20))
            .client(PROBE)
            .flying(20)
            .server(OK.repeat(21))
            .flying(0)
            .ended(2, 20)
            .ended(EXCLUDED, 1),
        exchange("excluded requests do not also count as aborted")
            .client(format!("{PROBE}{GET}{PROBE}{GET}{GET}"))
            .flying(3)
            .ended(0, 3)
            .ended(EXCLUDED, 2),
        exchange("excluded requests before unreadable data do not also count as aborted")
            .client(format!("{PROBE}{GET}{PROBE}{GET}{GET}"))
            .flying(3)
            .server("hello\r\n")
            .opaque()
            .ended(0, 2)
            .ended(EXCLUDED, 2)
            .ended(OPAQUE, 1),
    ]
}

fn too_deep() -> Vec<Exchange> {
    vec![
        exchange("a HEAD after 64 requests in flight makes the connection opaque")
            .client(GET.repeat(64))
            .flying(64)
            .client(HEAD)
            .server("anything")
            .opaque()
            .ended(0, 64)
            .ended(OPAQUE, 1),
        exchange("the 64th request after a HEAD makes the connection opaque")
            .client(HEAD)
            .client(GET.repeat(63))
            .flying(64)
            .client(GET)
            .server("anything")
            .opaque()
            .ended(0, 63)
            .ended(OPAQUE, 1),
        exchange("the 64th request after an excluded one makes the connection opaque")
            .client(PROBE)
            .client(GET.repeat(63))
            .flying(63)
            .client(GET)
            .server("anything")
            .opaque()
            .ended(0, 62)
            .ended(EXCLUDED, 1)
            .ended(OPAQUE, 1),
        exchange("a request to an excluded path after 64 in flight is counted")
            .client(GET.repeat(64))
            .client(PROBE)
            .flying(65)
            .server(OK.repeat(65))
            .flying(0)
            .ended(2, 65),
    ]
}
