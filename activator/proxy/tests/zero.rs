//! Tests a request that races with scale-down to zero: in any order of events, a backend answers the request.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ebb_proxy::Pool;
use support::{Server, TestProxy, soon, text};

const ROUNDS: u64 = 500;

/// Does the work of an autoscaler, forever: adds a backend when requests are queued, and removes the backend after a
/// pause.
async fn scale(pool: Pool, starts: Arc<AtomicU64>) {
    for id in 1.. {
        pool.wake_up().await;
        starts.fetch_add(1, Ordering::SeqCst);
        let server = Server::http(|_| async { text("ok") }).await;
        pool.add(id, server.address);
        // The backend is removed after a pause that varies between 0 and 1.5 ms. The client's next request arrives in
        // about this time, sometimes before and sometimes after the removal.
        tokio::time::sleep(Duration::from_micros(id * 7 % 1500)).await;
        pool.remove(id);
        pool.drained(id).await;
        drop(server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_is_refused() {
    let proxy = TestProxy::open().await;
    let starts = Arc::new(AtomicU64::new(0));
    let scaling = tokio::spawn(scale(proxy.pool.clone(), starts.clone()));
    let mut asked = 0;
    while starts.load(Ordering::SeqCst) < ROUNDS {
        for method in ["GET", "POST"] {
            let request = format!(
                "{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
            let answer = soon(proxy.say(&request)).await;
            assert!(
                answer.starts_with("HTTP/1.1 200 "),
                "{method} {asked}: {answer}"
            );
            asked += 1;
        }
    }
    scaling.abort();
    assert!(asked >= ROUNDS);
    let counts = proxy.pool.counts();
    assert_eq!(counts.answered, asked);
}
