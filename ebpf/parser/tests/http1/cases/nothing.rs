//! Test cases of connections with few requests or none.

use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK};

pub(super) fn all() -> Vec<Exchange> {
    let timeout = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\nno";
    vec![
        exchange("nothing at all").flying(0),
        exchange("nothing but FIN").flying(0).fin().flying(0),
        exchange("only an empty line")
            .client("\r\n")
            .flying(0)
            .fin()
            .flying(0),
        exchange("408 on an idle connection")
            .client(GET)
            .server(OK)
            .flying(0)
            .server(timeout)
            .flying(0)
            .fin()
            .ended(2, 1),
        exchange("408 on a fresh connection")
            .server(timeout)
            .flying(0)
            .fin()
            .flying(0),
        exchange("a request that is sent while the server's FIN is on its way")
            .fin()
            .client(GET)
            .flying(0),
    ]
}
