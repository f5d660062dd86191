//! Tests of queueing and of handing requests to backends. The tests control the clock.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::*;

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

/// Starts a task that waits for a backend, as a request does. The task returns the request's permit to use a backend.
fn request(pool: &Pool) -> JoinHandle<Result<Permit, Refusal>> {
    let pool = pool.clone();
    tokio::spawn(async move { pool.wait(&mut None).await })
}

/// Lets every task run until it waits.
async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

#[tokio::test(start_paused = true)]
async fn held_is_exact() {
    let pool = Pool::new(Limits::default());
    let before = pool.queued();
    let first = request(&pool);
    settle().await;
    let start = pool.queued();
    advance(Duration::from_secs(2)).await;
    let second = request(&pool);
    settle().await;
    let mid = pool.queued();
    assert_eq!((before.total, mid.now, mid.total), (0, 2, 2));
    advance(Duration::from_secs(3)).await;
    pool.add(1, ANYWHERE);
    let end = pool.queued();
    assert_eq!((end.now, end.oldest), (0, None));
    assert_eq!(end.integral - mid.integral, Duration::from_secs(6));
    assert!(mid.integral - start.integral >= Duration::from_secs(2));
    assert_eq!(pool.in_flight(1), 2);
    drop((first.await, second.await));
    assert_eq!(pool.in_flight(1), 0);
}

#[tokio::test(start_paused = true)]
async fn too_long_is_counted_from_the_first_wait() {
    let pool = Pool::new(Limits {
        max_wait: Duration::from_secs(10),
        ..Limits::default()
    });
    let mut position = None;
    let (first, ()) = tokio::join!(pool.wait(&mut position), async {
        sleep(Duration::from_secs(6)).await;
        pool.add(1, ANYWHERE);
        pool.remove(1);
    });
    drop(first.expect("there was one"));
    let start = Instant::now();
    let second = pool.wait(&mut position).await;
    assert!(matches!(second, Err(Refusal::WaitedTooLong { .. })));
    let waited = start.elapsed();
    assert!(waited < Duration::from_millis(4010), "{waited:?}");
    assert_eq!(pool.queued().total, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_but_not_those_who_were_in_it() {
    let pool = Pool::new(Limits {
        max_queued: 1,
        ..Limits::default()
    });
    let held = request(&pool);
    settle().await;
    assert!(matches!(
        pool.wait(&mut None).await,
        Err(Refusal::QueueFull { max_queued: 1 })
    ));
    held.abort();
    let _ = held.await;
    let next = request(&pool);
    settle().await;
    assert_eq!(pool.queued().now, 1);
    next.abort();
}

#[tokio::test(start_paused = true)]
async fn wanted_is_said_once_for_each_arrival() {
    let pool = Pool::new(Limits::default());
    let none = || tokio::time::timeout(Duration::from_secs(1), pool.wake_up());
    assert!(none().await.is_err());
    let first = request(&pool);
    assert!(none().await.is_ok());
    assert!(
        none().await.is_err(),
        "one queued request causes only one wake-up"
    );
    let second = request(&pool);
    assert!(none().await.is_ok());
    pool.add(1, ANYWHERE);
    drop((first.await, second.await));
    assert!(none().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_permit_for_one_that_left_is_given_back() {
    let pool = Pool::new(Limits::default());
    let waiting = request(&pool);
    settle().await;
    pool.add(1, ANYWHERE); // the permit is handed over, but not received yet
    waiting.abort();
    let _ = waiting.await;
    assert_eq!(pool.in_flight(1), 0);
    pool.remove(1);
    pool.drained(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_takes_few_connections_at_a_time() {
    let pool = Pool::new(Limits::default());
    let waiting: Vec<_> = (0..6).map(|_| request(&pool)).collect();
    settle().await;
    pool.add(1, ANYWHERE);
    assert_eq!((pool.in_flight(1), pool.queued().now), (4, 2));
    assert!(
        pool.take().is_none(),
        "two requests are queued, so a new request gets no permit"
    );
    let mut permits = Vec::new();
    for waits in waiting {
        let mut permit = waits.await.expect("a task").expect("in time");
        permit.opened();
        permit.opened();
        permits.push(permit);
    }
    assert_eq!((pool.in_flight(1), pool.queued().now), (6, 0));
    // A connection attempt that failed no longer counts towards the limit of concurrent attempts.
    let more: Vec<_> = (0..4).filter_map(|_| pool.take()).collect();
    assert_eq!(more.len(), 4);
    assert!(pool.take().is_none());
    drop(more);
    assert!(pool.take().is_some());
}
