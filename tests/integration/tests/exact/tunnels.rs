//! Connections that change their protocol: WebSocket, CONNECT, TLS. Each is one request in flight until the connection
//! closes, whatever it carries.

use ebb_fixtures::client::{Client, curl};
use ebb_fixtures::server::{Apache, Nginx, Script, Service, Setup};
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Certificate, Need, TestCgroup, Wire};

use super::{INTERVAL, watched};

const APACHE: &[Need] = &[
    Need::Ebb,
    Need::Tool("apache2"),
    Need::Tool("nginx"),
    Need::Tool("curl"),
];
const TLS: &[Need] = &[
    Need::Ebb,
    Need::Tool("nginx"),
    Need::Tool("openssl"),
    Need::Tool("curl"),
];

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::websocket_carrying_http",
        &[Need::Ebb, Need::Python("websockets")],
        websocket,
    ),
    Case::beside("exact::connect_tunnel_carrying_http", APACHE, connect),
    Case::beside(
        "exact::connect_that_is_refused_is_no_tunnel",
        APACHE,
        refused,
    ),
    Case::beside("exact::tls_is_opaque_by_connection", TLS, tls),
];

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// Returns a WebSocket text frame (RFC 6455, 5.2) with an all-zero mask, so the text appears in it unchanged.
fn text_frame(text: &str) -> Vec<u8> {
    const FIN_TEXT: u8 = 0x81;
    const MASKED: u8 = 0x80;
    let mut frame = vec![FIN_TEXT, MASKED | text.len() as u8, 0, 0, 0, 0];
    frame.extend(text.bytes());
    frame
}

fn websocket() {
    let totals = watched(
        |cgroup| Service::start(Script::Echo, cgroup),
        |server, watch| {
            let mut wires = [(); 3].map(|()| {
                let mut wire = Wire::connect(server.address());
                wire.get(
                    "/",
                    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                );
                assert!(wire.header().starts_with("HTTP/1.1 101"));
                wire
            });
            for wire in &mut wires {
                for text in [REQUEST, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
                    wire.send(text_frame(text));
                    let echo = wire.take(2 + text.len());
                    assert!(echo.ends_with(text.as_bytes()), "{echo:?}");
                }
            }
            assert_eq!(server.requests(), 3);
            let line = watch.until("a whole interval upgraded", |_, line| {
                line.in_flight == 3 && line.requests == 0 && line.concurrency > 2.99
            });
            assert_eq!(line.by_protocol(), [0, 0, 3, 0], "upgraded");
        },
    );
    // Each of the three requests ends when its connection closes, with the status of its upgrade (101).
    assert_eq!((totals.requests, totals.completed), (3, 3), "{totals:?}");
    assert_eq!(totals.status.get("1xx"), Some(&3), "{totals:?}");
}

/// Sends requests to an nginx that is not watched, through a CONNECT tunnel of an Apache that is watched.
fn connect() {
    let elsewhere = TestCgroup::new();
    let nginx = Nginx::start(&elsewhere);
    let before = nginx.requests();
    let totals = watched(
        |cgroup| Apache::start(cgroup),
        |apache, watch| {
            let url = format!("http://{}/", nginx.address());
            let proxy = format!("http://{}", apache.address());
            let fetched = curl(&["-p", "-x", &proxy], &[&url; 20]);
            assert!(fetched.iter().all(|f| f.status == 200), "{fetched:?}");
            // The test sends a CONNECT request on a connection that it keeps open, so that the tunnel stays open.
            let mut wire = Wire::connect(apache.address());
            let target = nginx.address();
            wire.send(format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
            ));
            assert!(wire.header().contains(" 200 "));
            wire.send(REQUEST.repeat(5));
            for _ in 0..5 {
                assert_eq!(wire.response(), 200);
            }
            let line = watch.until("the tunnel is in flight for a whole interval", |_, line| {
                line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99
            });
            assert_eq!(line.by_protocol(), [0, 0, 1, 0], "upgraded");
        },
    );
    assert_eq!(nginx.requests() - before, 26, "through two tunnels");
    assert_eq!(totals.ends(), Ends::answered(2));
}

/// Apache refuses CONNECT to this port; the connection then works as before.
fn refused() {
    let totals = watched(
        |cgroup| Apache::start(cgroup),
        |apache, _| {
            let mut wire = Wire::connect(apache.address());
            for _ in 0..3 {
                wire.send("CONNECT 127.0.0.1:25 HTTP/1.1\r\nHost: 127.0.0.1:25\r\n\r\n");
                assert_eq!(wire.response(), 403);
                wire.get("/page.html", "");
                assert_eq!(wire.response(), 200);
            }
        },
    );
    assert_eq!(totals.ends(), Ends::answered(6));
    assert_eq!(totals.status.get("4xx"), Some(&3), "{totals:?}");
}

fn tls() {
    let cgroup = TestCgroup::new();
    let folder = tempfile::tempdir().expect("a folder");
    let files = Certificate::create(folder.path());
    let (key, certificate) = (files.key.display(), files.certificate.display());
    let setup = Setup {
        listen: "ssl",
        http: &format!("ssl_certificate {certificate}; ssl_certificate_key {key};"),
        server: "location = /slow { alias {folder}/large; limit_rate 200k; }",
    };
    let nginx = Nginx::set_up(&cgroup, setup);
    let mut watch = Watch::start(&cgroup, INTERVAL, &[]);

    let url = format!("https://{}/", nginx.address());
    let fetched = curl(&["-k"], &[&url; 10]);
    assert!(fetched.iter().all(|f| f.status == 200), "{fetched:?}");
    assert_eq!(
        watch.settle().requests,
        1,
        "ten requests on one TLS connection must count as one request"
    );

    let slow = format!("https://{}/slow", nginx.address());
    let client = Client::start("curl", &["-k", "-s", "-o", "/dev/null", &slow]);
    let line = watch.until(
        "the TLS connection counts as one request in flight for a whole interval",
        |_, line| line.in_flight == 1 && line.requests == 0 && line.concurrency > 0.99,
    );
    assert_eq!(line.by_protocol(), [0, 0, 0, 1], "opaque");
    client.stop();
    let two = Ends {
        opaque: 2,
        ..Ends::default()
    };
    assert_eq!(watch.settle().ends(), two);
}
