//! Tests under load that a backend answers every request while backends are added and removed.

#![allow(
    clippy::expect_used,
    reason = "a test client reports failures by panicking"
)]

mod support;

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use support::{Server, TestProxy, soon, text};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: usize = 50;
const REQUESTS: usize = 200;

/// Sends requests one after another on one connection. Returns the statuses other than 200.
async fn client(address: std::net::SocketAddr) -> Vec<StatusCode> {
    let stream = TcpStream::connect(address).await.expect("open");
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream)).await.expect("open");
    tokio::spawn(driver);
    let mut others = Vec::new();
    for number in 0..REQUESTS {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "a");
        let request = request.body(Empty::<Bytes>::new()).expect("a request");
        sender.ready().await.expect("kept open");
        let response = sender.send_request(request).await.expect("an answer");
        let status = response.status();
        response.into_body().collect().await.expect("whole");
        if status != StatusCode::OK {
            others.push(status);
        }
    }
    others
}

/// Adds two servers, removes both, adds two more, and so on. Each server is stopped when it has no request left.
async fn churn(pool: &ebb_proxy::Pool) {
    for id in (0..).step_by(2) {
        let servers = [quick_server().await, quick_server().await];
        for (offset, server) in (0..).zip(&servers) {
            pool.add(id + offset, server.address);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        for (offset, server) in (0..).zip(servers) {
            pool.remove(id + offset);
            pool.drained(id + offset).await;
            drop(server);
        }
    }
}

async fn quick_server() -> Server {
    Server::http(|_| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        text("ok")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_answered_by_a_backend() {
    let proxy = TestProxy::open().await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(proxy.address));
    }
    let clients = async { clients.join_all().await.concat() };
    let others = tokio::select! {
        others = soon(clients) => others,
        () = churn(&proxy.pool) => unreachable!("it never ends"),
    };
    assert!(others.is_empty(), "{others:?}");
    let queued = proxy.pool.queued();
    assert!(
        queued.total > 0,
        "the test proves nothing: no request was queued, because the pool always had a backend"
    );
    assert_eq!(queued.now, 0);
}
