//! Tests of requests that arrive while there is no backend.

mod support;

use std::time::Duration;

use ebb_proxy::Limits;
use support::{Server, TestProxy, soon, text, until};
use tokio::task::JoinSet;

#[tokio::test]
async fn held_then_served() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|_| async { text("here") }).await;
    let (answer, ()) = soon(async {
        tokio::join!(proxy.get("/"), async {
            proxy.pool.wake_up().await;
            assert_eq!(proxy.pool.queued().now, 1);
            assert!(proxy.pool.queued().oldest.is_some());
            proxy.pool.add(1, server.address);
        })
    })
    .await;
    assert_eq!(answer, (200, "here".to_owned()));
    let queued = proxy.pool.queued();
    assert_eq!((queued.now, queued.total, queued.oldest), (0, 1, None));
    assert!(queued.integral > Duration::ZERO);
    assert_eq!(proxy.get("/").await.0, 200);
    assert_eq!(proxy.pool.queued().integral, queued.integral);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_at_zero() {
    let proxy = std::sync::Arc::new(TestProxy::open().await);
    let server = Server::http(|_| async { text("ok") }).await;
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        let proxy = proxy.clone();
        clients.spawn(async move { proxy.get("/").await.0 });
    }
    proxy.holds(1000).await;
    proxy.pool.add(1, server.address);
    let statuses = soon(clients.join_all()).await;
    assert!(statuses.iter().all(|&status| status == 200));
    assert_eq!(
        (proxy.pool.queued().now, proxy.pool.queued().total),
        (0, 1000)
    );
    soon(until(|| proxy.pool.in_flight(1) == 0)).await;
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let proxy = TestProxy::with(Limits {
        max_queued: 1,
        ..Limits::default()
    })
    .await;
    let _first = proxy.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    proxy.holds(1).await;
    let answer = proxy
        .say("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.ends_with(
        "\r\n\r\nebb: 1 requests are queued already, no more are allowed; try again in 1 s\n"
    ));
}

#[tokio::test]
async fn a_wait_too_long_is_said_to_be() {
    let proxy = TestProxy::with(Limits {
        max_wait: Duration::from_millis(20),
        ..Limits::default()
    })
    .await;
    let (status, body) = proxy.get("/").await;
    assert_eq!(status, 504);
    assert_eq!(
        body,
        "ebb: nothing was ready to serve the request within 20ms\n"
    );
    assert_eq!(proxy.pool.queued().now, 0);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let proxy = TestProxy::open().await;
    let client = proxy.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    proxy.holds(1).await;
    drop(client);
    proxy.holds(0).await;
}

#[tokio::test]
async fn so_does_one_whose_body_nobody_has_read() {
    let proxy = TestProxy::open().await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin";
    let client = proxy.begin(request).await;
    proxy.holds(1).await;
    drop(client);
    proxy.holds(0).await;
}

#[tokio::test]
async fn a_wake_up_nobody_waits_for_any_more_is_none() {
    let proxy = TestProxy::open().await;
    let client = proxy.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    proxy.holds(1).await;
    drop(client);
    proxy.holds(0).await;
    let waking = tokio::time::timeout(Duration::from_millis(20), proxy.pool.wake_up());
    assert!(waking.await.is_err());
}

#[tokio::test]
async fn a_proxy_that_closes_lets_nobody_wait() {
    let proxy = TestProxy::open().await;
    let mut client = proxy.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    proxy.holds(1).await;
    let pool = proxy.pool.clone();
    soon(proxy.close()).await.expect("it closes");
    let mut answer = String::new();
    soon(tokio::io::AsyncReadExt::read_to_string(
        &mut client,
        &mut answer,
    ))
    .await
    .expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(pool.queued().now, 0);
}
