//! Test cases of the ways in which a connection starts HTTP/2.

use ebb_parser_testing::{
    exchange::{Exchange, exchange},
    http2::{
        PREFACE,
        frames::{END_STREAM, data, frame, headers, kind, settings, settings_ack},
        headers::block,
    },
};

use super::{OK, get, ok};

/// The value of [`ebb_abi::ended::EXCLUDED`].
const EXCLUDED: usize = 6;

pub(super) fn all() -> Vec<Exchange> {
    let mut all = prior_knowledge();
    all.extend(upgrades());
    all
}

fn prior_knowledge() -> Vec<Exchange> {
    let hello = || [PREFACE.as_slice(), &settings()].concat();
    let mut all: Vec<Exchange> = (0..=42)
        .map(|count| {
            exchange("a server that sends before the client")
                .server(frame(
                    kind::SETTINGS,
                    0,
                    0,
                    [0, 3, 0, 0, 0, 100].repeat(count),
                ))
                .flying(0)
                .client(hello())
                .client(get(1))
                .streams(1)
                .server([settings_ack(), ok(1)].concat())
                .streams(0)
                .ended(2, 1)
        })
        .collect();
    all.extend([
        exchange("everything at once")
            .client([hello(), get(1), get(3)].concat())
            .streams(2)
            .server([settings(), settings_ack(), ok(3), ok(1)].concat())
            .streams(0)
            .ended(2, 2),
        exchange("a client that sends only the preface")
            .client(PREFACE)
            .flying(0)
            .fin()
            .flying(0),
        exchange("half a preface").client(&PREFACE[..10]).flying(0),
        exchange("HTTP/2 behind HTTP/1")
            .client("GET / HTTP/1.1\r\n\r\n")
            .flying(1)
            .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .flying(0)
            .client([hello(), get(1)].concat())
            .streams(1)
            .server([settings(), ok(1)].concat())
            .streams(0)
            .ended(2, 2),
        exchange("an empty line before the preface")
            .client("\r\n")
            .flying(0)
            .client([hello(), get(1)].concat())
            .streams(1)
            .server([settings(), ok(1)].concat())
            .streams(0)
            .ended(2, 1),
        exchange("a client that sends nothing before the server's FIN")
            .server(settings())
            .flying(0)
            .fin()
            .flying(0),
    ]);
    all
}

fn upgrades() -> Vec<Exchange> {
    let ask = |more: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{more}Connection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        )
    };
    let grant = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let hello = || [PREFACE.as_slice(), &settings()].concat();
    let upgraded = |name, grant: &str| {
        exchange(name)
            .client(ask(""))
            .flying(1)
            .server(grant)
            .streams(1)
            .server(settings())
            .streams(1)
            .client(hello())
            .streams(1)
            .server([settings_ack(), headers(1, 0, block(&[OK]))].concat())
            .streams(1)
            .server(data(1, END_STREAM, "hello"))
            .streams(0)
            .client([get(3), get(5)].concat())
            .streams(2)
            .server([ok(5), ok(3)].concat())
            .streams(0)
            .ended(2, 3)
    };
    vec![
        upgraded("an upgrade", grant),
        upgraded(
            "an upgrade whose response fields are in lower case",
            &grant.to_lowercase().replace("http/", "HTTP/"),
        ),
        upgraded(
            "an upgrade without blanks",
            "HTTP/1.1 101 Switching Protocols\r\nConnection:Upgrade\r\nUpgrade:h2c\r\n\r\n",
        ),
        upgraded(
            "an upgrade with a tab",
            "HTTP/1.1 101 Switching Protocols\r\nConnection:\tUpgrade\r\nUpgrade:\th2c \r\n\r\n",
        ),
        exchange("an upgrade that is answered at once")
            .client(ask(""))
            .server([grant.as_bytes(), &settings(), &ok(1)].concat())
            .flying(0)
            .client([hello(), get(3)].concat())
            .streams(1)
            .server(ok(3))
            .streams(0)
            .ended(2, 2),
        exchange("an upgrade of a request with a body")
            .client(ask("Content-Length: 4\r\n").replace("GET", "POST"))
            .client("body")
            .flying(1)
            .server([grant.as_bytes(), &settings()].concat())
            .streams(1)
            .client(hello())
            .server(ok(1))
            .streams(0)
            .ended(2, 1),
        exchange("an upgrade that a probe asks for")
            .client(ask("User-Agent: kube-probe/1.30\r\n"))
            .flying(0)
            .server([grant.as_bytes(), &settings()].concat())
            .streams(0)
            .client([hello(), get(3)].concat())
            .streams(1)
            .server([ok(1), ok(3)].concat())
            .streams(0)
            .ended(EXCLUDED, 1)
            .ended(2, 1),
        exchange("an upgrade after other requests")
            .client("GET / HTTP/1.1\r\n\r\n")
            .server("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
            .client(ask(""))
            .server([grant.as_bytes(), &settings()].concat())
            .streams(1)
            .client(hello())
            .server(ok(1))
            .streams(0)
            .ended(4, 1)
            .ended(2, 1),
        exchange("an upgraded request that is aborted")
            .client(ask(""))
            .server([grant.as_bytes(), &settings()].concat())
            .streams(1)
            .fin()
            .flying(0)
            .ended(0, 1),
        exchange("an upgrade that the server ignores")
            .client(ask(""))
            .flying(1)
            .server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
            .flying(0)
            .client("GET / HTTP/1.1\r\n\r\n")
            .flying(1)
            .server("HTTP/1.1 204 No Content\r\n\r\n")
            .flying(0)
            .ended(2, 2),
        exchange("an upgrade to another protocol")
            .client(ask(""))
            .server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c-14\r\n\r\n")
            .tunnel()
            .client(hello())
            .tunnel()
            .ended(1, 1),
    ]
}
