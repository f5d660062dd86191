//! T11: the memory that clients may use is bounded, and a client beyond the bound gets an error response.

#![allow(
    clippy::expect_used,
    reason = "a test client reports failures by panicking"
)]

mod support;

use std::time::Duration;

use ebb_proxy::{Budget, Limits, Reason};
use support::{Server, TestProxy, soon, split, text, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

/// A request with 60 KB of headers.
fn long_request() -> String {
    let field = "y".repeat(6_000);
    let fields: String = (0..10).map(|n| format!("x-{n}: {field}\r\n")).collect();
    format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}connection: close\r\n\r\n")
}

async fn proxy(budget: &Budget) -> TestProxy {
    TestProxy::with(Limits {
        memory: budget.whole().of("shop"),
        ..Limits::default()
    })
    .await
}

async fn rest(mut client: TcpStream) -> String {
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.expect("an end");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t11_long_heads_beyond_the_budget_are_refused() {
    let budget = Budget::new(3 * MIB);
    let proxy = proxy(&budget).await;
    let mut clients = Vec::new();
    for _ in 0..60 {
        clients.push(proxy.begin(long_request()).await);
    }
    let refused = || proxy.pool.counts().refused(Reason::BytesFull);
    soon(until(|| proxy.pool.queued().now + refused() == 60)).await;
    let queued = proxy.pool.queued().now;
    assert!((10..20).contains(&queued), "{queued} queued");
    assert!(budget.used() <= budget.most(), "{budget:?}");
    // A request to another namespace is accepted. The other namespace has its own proxy and shares the budget.
    let other = TestProxy::with(Limits {
        memory: budget.whole().of("other"),
        ..Limits::default()
    })
    .await;
    let _another = other.begin(long_request()).await;
    other.holds(1).await;

    let server = Server::http(|_| async { text("here") }).await;
    proxy.pool.add(1, server.address);
    let mut served = 0;
    for client in clients {
        let answer = rest(client).await;
        match split(&answer).0 {
            200 => served += 1,
            503 => {
                assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
                assert!(answer.contains("\r\n\r\nebb: the "), "{answer}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(served, queued);
    drop((proxy, _another, other));
    soon(until(|| budget.used() == 0)).await;
}

#[tokio::test]
async fn t11_heads_that_never_end_are_bounded_too() {
    let budget = Budget::new(3 * MIB);
    let proxy = proxy(&budget).await;
    let request = long_request();
    let half = &request[..50_000];
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = proxy.begin(&half[..1_000]).await;
        client
            .write_all(&half.as_bytes()[1_000..])
            .await
            .expect("open");
        clients.push(client);
    }
    let refused = || proxy.pool.counts().refused(Reason::BytesFull);
    soon(until(|| refused() > 30)).await;
    assert!(budget.used() <= budget.most(), "{budget:?}");
    drop(clients);
    soon(until(|| budget.used() == 0)).await;
}

/// If unread bodies were not charged to the memory budget, every connection could fill its flow-control window of 1 MiB
/// with them.
#[tokio::test]
async fn t11_bodies_that_wait_are_charged_on_http2() {
    let budget = Budget::new(3 * MIB);
    let proxy = proxy(&budget).await;
    let mut senders = Vec::new();
    for _ in 0..8 {
        let stream = TcpStream::connect(proxy.address).await.expect("open");
        let (mut h2, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(async move { drop(connection.await) });
        let request = hyper::Request::post("http://a/").body(()).expect("sound");
        let (response, mut body) = h2.send_request(request, false).expect("sent");
        body.send_data(vec![b'x'; MIB].into(), true).expect("sent");
        senders.push((h2, response, body));
    }
    // The requests use up the memory budget. After that, the proxy reads no more bytes and refuses new requests.
    let refused = || proxy.pool.counts().refused(Reason::BytesFull);
    soon(until(|| proxy.pool.queued().now + refused() == 8)).await;
    soon(until(|| budget.used() > MIB)).await;
    let queued = proxy.pool.queued().now;
    assert!((2..8).contains(&queued), "{queued} queued");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let used = budget.used();
    assert!(used < 2 * MIB + MIB / 2, "{used}");
    let server = Server::http(|request| async {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        text(body.expect("whole").to_bytes().len().to_string())
    })
    .await;
    proxy.pool.add(1, server.address);
    let mut served = 0;
    for (_h2, response, _body) in senders {
        let response = match soon(response).await {
            Ok(response) => response,
            // The budget had no room for the connection of this request, so the whole connection was refused.
            Err(error) => {
                assert_eq!(
                    error.reason(),
                    Some(h2::Reason::ENHANCE_YOUR_CALM),
                    "{error}"
                );
                continue;
            }
        };
        let is_served = response.status() == 200;
        assert!(is_served || response.status() == 503);
        let mut body = response.into_body();
        let data = soon(body.data()).await.expect("data").expect("sound");
        assert_eq!(&data[..] == MIB.to_string().as_bytes(), is_served);
        served += u64::from(is_served);
    }
    assert_eq!(served, queued);
    soon(until(|| budget.used() == 0)).await;
}

/// Regression: an HTTP/2 client read the refusal's HTTP/1 text as a malformed frame.
#[tokio::test]
async fn t11_a_connection_that_is_turned_away_is_told_so_in_its_protocol() {
    let budget = Budget::new(100);
    let proxy = proxy(&budget).await;
    let answer = proxy.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(split(&answer).0, 503);

    let stream = TcpStream::connect(proxy.address).await.expect("open");
    let (mut h2, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get("http://a/").body(()).expect("sound");
    let (response, _) = h2.send_request(request, true).expect("sent");
    let error = soon(response).await.expect_err("nothing serves it");
    assert!(error.is_go_away() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    let error = soon(connection).await.expect("no panic").expect_err("over");
    assert!(
        format!("{error:?}").contains("ebb: the connections of"),
        "{error:?}"
    );

    // If the memory budget has no room for a connection, the client gets a response with status 503 even if it sends
    // nothing.
    let answer = proxy.say("").await;
    assert_eq!(split(&answer).0, 503);
    assert_eq!(proxy.pool.counts().refused(Reason::BytesFull), 3);
    soon(until(|| budget.used() == 0)).await;
}
