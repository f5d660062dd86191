//! Tests that a backend never has more requests than the hard limit, and that requests are served in order of arrival.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ebb_proxy::Limits;
use support::{Server, TestProxy, soon, text, until};
use tokio::task::JoinSet;

/// Counts the concurrent requests of a server, and keeps their maximum.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn gauged() -> (Server, Arc<Gauge>) {
    let gauge = Arc::new(Gauge::default());
    let counted = gauge.clone();
    let server = Server::http(move |_| {
        let gauge = counted.clone();
        async move {
            let now = gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
            gauge.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(1)).await;
            gauge.now.fetch_sub(1, Ordering::SeqCst);
            text("ok")
        }
    })
    .await;
    (server, gauge)
}

async fn at_most(limit: u32, clients: usize) {
    let proxy = Arc::new(
        TestProxy::with(Limits {
            hard_limit: limit,
            ..Limits::default()
        })
        .await,
    );
    let servers = [gauged().await, gauged().await];
    for (id, (server, _)) in (1..).zip(&servers) {
        proxy.pool.add(id, server.address);
    }
    let mut requests = JoinSet::new();
    for _ in 0..clients {
        let proxy = proxy.clone();
        requests.spawn(async move { proxy.get("/").await.0 });
    }
    let statuses = soon(requests.join_all()).await;
    assert!(statuses.iter().all(|&status| status == 200));
    for (_, gauge) in &servers {
        assert_eq!(gauge.most.load(Ordering::SeqCst), limit as usize);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_at_a_time() {
    at_most(1, 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_at_a_time() {
    at_most(3, 200).await;
}

#[tokio::test]
async fn in_the_order_of_arrival() {
    let proxy = TestProxy::with(Limits {
        hard_limit: 1,
        ..Limits::default()
    })
    .await;
    let (told, mut came) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::http(move |request| {
        let _ = told.send(request.uri().path().to_owned());
        async { text("ok") }
    })
    .await;
    let mut clients = Vec::new();
    for number in 0..50 {
        let request = format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n");
        clients.push(proxy.begin(request).await);
        proxy.holds(number + 1).await;
    }
    proxy.pool.add(1, server.address);
    for number in 0..50 {
        assert_eq!(soon(came.recv()).await, Some(format!("/{number}")));
    }
}

#[tokio::test]
async fn a_limit_that_is_raised_lets_those_who_wait_go() {
    let proxy = TestProxy::with(Limits {
        hard_limit: 1,
        ..Limits::default()
    })
    .await;
    let server = Server::http(|_| std::future::pending()).await;
    proxy.pool.add(1, server.address);
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(proxy.begin("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await);
    }
    proxy.holds(4).await;
    assert_eq!(proxy.pool.in_flight(1), 1);
    proxy.pool.set_hard_limit(3);
    assert_eq!((proxy.pool.in_flight(1), proxy.pool.queued().now), (3, 2));
    // If a client disconnects, its request no longer counts towards the hard limit, and the next queued request is
    // sent.
    clients.remove(0);
    soon(until(|| proxy.pool.queued().now == 1)).await;
    assert_eq!(proxy.pool.in_flight(1), 3);
    proxy.pool.set_hard_limit(0);
    assert_eq!((proxy.pool.in_flight(1), proxy.pool.queued().now), (4, 0));
}
