//! Tests of requests that arrive while there is no backend.

mod support;

use std::time::Duration;

use ebb_proxy::Limits;
use support::{Door, Server, soon, text, until};
use tokio::task::JoinSet;

#[tokio::test]
async fn held_then_served() {
    let door = Door::open().await;
    let server = Server::http(|_| async { text("here") }).await;
    let (answer, ()) = soon(async {
        tokio::join!(door.get("/"), async {
            door.pool.wanted().await;
            assert_eq!(door.pool.held().now, 1);
            assert!(door.pool.held().oldest.is_some());
            door.pool.add(1, server.address);
        })
    })
    .await;
    assert_eq!(answer, (200, "here".to_owned()));
    let held = door.pool.held();
    assert_eq!((held.now, held.total, held.oldest), (0, 1, None));
    assert!(held.integral > Duration::ZERO);
    assert_eq!(door.get("/").await.0, 200);
    assert_eq!(door.pool.held().integral, held.integral);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_at_zero() {
    let door = std::sync::Arc::new(Door::open().await);
    let server = Server::http(|_| async { text("ok") }).await;
    let mut clients = JoinSet::new();
    for _ in 0..1000 {
        let door = door.clone();
        clients.spawn(async move { door.get("/").await.0 });
    }
    door.holds(1000).await;
    door.pool.add(1, server.address);
    let statuses = soon(clients.join_all()).await;
    assert!(statuses.iter().all(|&status| status == 200));
    assert_eq!((door.pool.held().now, door.pool.held().total), (0, 1000));
    soon(until(|| door.pool.in_flight(1) == 0)).await;
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let door = Door::with(Limits {
        max_queued: 1,
        ..Limits::default()
    })
    .await;
    let _first = door.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.holds(1).await;
    let answer = door
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
    let door = Door::with(Limits {
        max_wait: Duration::from_millis(20),
        ..Limits::default()
    })
    .await;
    let (status, body) = door.get("/").await;
    assert_eq!(status, 504);
    assert_eq!(
        body,
        "ebb: nothing was ready to serve the request within 20ms\n"
    );
    assert_eq!(door.pool.held().now, 0);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let door = Door::open().await;
    let client = door.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.holds(1).await;
    drop(client);
    door.holds(0).await;
}

#[tokio::test]
async fn so_does_one_whose_body_nobody_has_read() {
    let door = Door::open().await;
    let request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin";
    let client = door.begin(request).await;
    door.holds(1).await;
    drop(client);
    door.holds(0).await;
}

#[tokio::test]
async fn a_wake_up_nobody_waits_for_any_more_is_none() {
    let door = Door::open().await;
    let client = door.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.holds(1).await;
    drop(client);
    door.holds(0).await;
    let wanted = tokio::time::timeout(Duration::from_millis(20), door.pool.wanted());
    assert!(wanted.await.is_err());
}

#[tokio::test]
async fn a_door_that_closes_lets_nobody_wait() {
    let door = Door::open().await;
    let mut client = door.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    door.holds(1).await;
    let pool = door.pool.clone();
    soon(door.close()).await.expect("it closes");
    let mut answer = String::new();
    soon(tokio::io::AsyncReadExt::read_to_string(
        &mut client,
        &mut answer,
    ))
    .await
    .expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(pool.held().now, 0);
}
