//! Test cases of 101 and CONNECT: a tunnel counts as one request in flight until the connection closes.

use ebb_parser_testing::exchange::{Exchange, exchange};

use super::{GET, OK, pair};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
const CONNECT: &str = "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n";

pub(super) fn all() -> Vec<Exchange> {
    let switched = |name| {
        exchange(name)
            .client(UPGRADE)
            .flying(1)
            .server(SWITCHED)
            .tunnel()
    };
    vec![
        switched("upgraded, reset")
            .client("\x01frame\r\n\r\n")
            .server(OK)
            .client(GET)
            .tunnel()
            .ended(1, 1),
        switched("upgraded, closed")
            .client("\x01frame")
            .tunnel()
            .fin()
            .flying(0)
            .ended(1, 1),
        exchange("an upgrade with the first frame in the segment of the response")
            .client(UPGRADE)
            .server(format!("{SWITCHED}\x01frame\r\n"))
            .tunnel()
            .ended(1, 1),
        exchange("an upgrade of an excluded path is not counted")
            .client("GET /metrics HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
            .flying(0)
            .server(SWITCHED)
            .flying(0)
            .client("\x01frame")
            .flying(0)
            .fin()
            .flying(0)
            .ended(6, 1),
        exchange("upgraded after 100")
            .client(UPGRADE)
            .server("HTTP/1.1 100 Continue\r\n\r\n")
            .flying(1)
            .server(SWITCHED)
            .tunnel()
            .ended(1, 1),
        pair("upgrade refused", UPGRADE, OK, 2),
        exchange("CONNECT granted")
            .client(CONNECT)
            .flying(1)
            .server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .tunnel()
            .client(GET)
            .server(OK)
            .tunnel()
            .fin()
            .flying(0)
            .ended(2, 1),
        pair(
            "CONNECT refused",
            CONNECT,
            "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
            4,
        ),
    ]
}
