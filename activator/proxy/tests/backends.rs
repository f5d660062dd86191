//! Tests with backends that are added and removed, that refuse connections, and that abort connections.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::{Domain, SockRef, Socket, Type};
use support::{Server, TestProxy, listen, read_head, soon, split, text, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Starts a server that responds to a request when the test notifies it.
async fn slow_server() -> (Server, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = go.clone();
    let server = Server::http(move |_| {
        let told = told.clone();
        async move {
            told.notified().await;
            text("slow")
        }
    })
    .await;
    (server, go)
}

#[tokio::test]
async fn removal_drains() {
    let proxy = TestProxy::open().await;
    let (old, go) = slow_server().await;
    let new = Server::http(|_| async { text("new") }).await;
    proxy.pool.add(1, old.address);
    let client = async {
        let answer = proxy.get("/").await;
        assert_eq!(answer, (200, "slow".to_owned()));
    };
    let owner = async {
        until(|| proxy.pool.in_flight(1) == 1).await;
        proxy.pool.remove(1);
        proxy.pool.add(2, new.address);
        assert_eq!(proxy.get("/").await.1, "new");
        assert_eq!(proxy.pool.in_flight(1), 1);
        let mut drained = std::pin::pin!(proxy.pool.drained(1));
        assert!(now_or_never(drained.as_mut()).await.is_none());
        go.notify_one();
        drained.await;
        assert_eq!(proxy.pool.in_flight(1), 0);
    };
    soon(async { tokio::join!(client, owner) }).await;
    soon(proxy.pool.drained(99)).await;
}

/// Returns the value of a future if it is ready now.
async fn now_or_never<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_backend_that_refuses_is_passed_over() {
    let proxy = TestProxy::open().await;
    let (refusing, dead) = listen().await;
    drop(refusing);
    let server = Server::http(|_| async { text("alive") }).await;
    proxy.pool.add(1, dead);
    proxy.pool.add(2, server.address);
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await, (200, "alive".to_owned()));
    }
}

#[tokio::test]
async fn a_backend_that_is_not_there_yet_is_waited_for() {
    let proxy = TestProxy::open().await;
    let (refusing, address) = listen().await;
    drop(refusing);
    proxy.pool.add(1, address);
    let answer = async {
        // The backend refuses the first connection, so the request is queued again. The request's body must still be
        // forwarded.
        proxy
            .say("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbody")
            .await
    };
    let late = async {
        proxy.holds(1).await;
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .expect("it was free");
        let (mut stream, _) = listener.accept().await.expect("the probe");
        let head = read_head(&mut stream).await;
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.expect("the body");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .expect("open");
        (head, body)
    };
    let (answer, (head, body)) = soon(async { tokio::join!(answer, late) }).await;
    assert_eq!(split(&answer).0, 200);
    assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
    assert_eq!(&body, b"body");
}

/// Starts a server that answers one request on each connection and then closes it without `connection: close`. TCP_CORK
/// puts the response and the FIN into one segment. If the FIN came later, the proxy could send the next request before
/// the FIN, and no proxy can avoid this race.
async fn forgetful_server(requests: Arc<AtomicUsize>) -> Server {
    Server::raw(move |mut stream| {
        let requests = requests.clone();
        async move {
            let corked = SockRef::from(&stream).set_tcp_cork(true);
            assert!(corked.is_ok());
            if !read_head(&mut stream).await.is_empty() {
                requests.fetch_add(1, Ordering::SeqCst);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                let _ = stream.write_all(answer).await;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_that_close_cost_no_request() {
    let proxy = TestProxy::open().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let server = forgetful_server(requests.clone()).await;
    proxy.pool.add(1, server.address);
    for _ in 0..300 {
        let request =
            "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(split(&proxy.say(request).await).0, 200);
        assert_eq!(proxy.get("/").await.0, 200);
    }
    assert_eq!(requests.load(Ordering::SeqCst), 600);
}

/// Starts a server that answers the first request on a connection, and closes the connection at the second without a
/// response.
async fn closing_server(requests: Arc<AtomicUsize>) -> Server {
    Server::raw(move |mut stream| {
        let requests = requests.clone();
        async move {
            read_head(&mut stream).await;
            requests.fetch_add(1, Ordering::SeqCst);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            if !read_head(&mut stream).await.is_empty() {
                requests.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await
}

#[tokio::test]
async fn only_what_does_no_harm_twice_is_sent_twice() {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = closing_server(requests.clone()).await;
    for (method, status, seen) in [("GET", 200, 3), ("POST", 502, 2)] {
        requests.store(0, Ordering::SeqCst);
        let proxy = TestProxy::open().await;
        proxy.pool.add(1, server.address);
        assert_eq!(proxy.get("/").await.0, 200);
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let (got, body) = split(&proxy.say(request).await);
        assert_eq!(
            (got, requests.load(Ordering::SeqCst)),
            (status, seen),
            "{method}: {body}"
        );
    }
}

#[tokio::test]
async fn a_backend_killed_in_mid_answer_breaks_the_answer_off() {
    let proxy = TestProxy::open().await;
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            .await;
    })
    .await;
    proxy.pool.add(1, server.address);
    let answer = proxy.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.ends_with("half"), "{answer}");
    soon(until(|| proxy.pool.in_flight(1) == 0)).await;
}

#[tokio::test]
async fn a_backend_killed_before_its_answer_is_a_bad_gateway() {
    let proxy = TestProxy::open().await;
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    proxy.pool.add(1, server.address);
    let (status, body) = proxy.get("/").await;
    assert_eq!(status, 502);
    assert!(body.starts_with("ebb: the server aborted"), "{body}");
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_request() {
    let proxy = TestProxy::open().await;
    let (gone, saw) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            let _ = gone.send(stream.read(&mut [0]).await.unwrap_or(0));
        }
    })
    .await;
    proxy.pool.add(1, server.address);
    let client = proxy.begin(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    soon(until(|| proxy.pool.in_flight(1) == 1)).await;
    drop(client);
    let mut saw = saw;
    assert_eq!(soon(saw.recv()).await, Some(0));
    soon(until(|| proxy.pool.in_flight(1) == 0)).await;
}

#[tokio::test]
async fn least_in_flight_is_picked() {
    let proxy = TestProxy::open().await;
    let (busy, go) = slow_server().await;
    let idle = Server::http(|_| async { text("idle") }).await;
    proxy.pool.add(1, busy.address);
    let slow = async { proxy.get("/").await };
    let quick = async {
        until(|| proxy.pool.in_flight(1) == 1).await;
        proxy.pool.add(2, idle.address);
        for _ in 0..5 {
            assert_eq!(proxy.get("/").await.1, "idle");
            until(|| proxy.pool.in_flight(2) == 0).await;
        }
        go.notify_one();
    };
    soon(async { tokio::join!(slow, quick) }).await;
}

#[tokio::test]
async fn one_that_does_not_accept_gets_few_and_the_others_go_elsewhere() {
    const REQUESTS: u64 = 50;
    /// Number of connections to the backend that never accepts: 2 in its accept queue (one more than the backlog of 1),
    /// and 4 that the proxy is opening.
    const STUCK: u64 = 2 + 4;
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .expect("a port");
    full.listen(1).expect("bound");
    let address = full.local_addr().expect("bound").as_socket().expect("IPv4");
    let proxy = Arc::new(TestProxy::open().await);
    let mut clients = JoinSet::new();
    for _ in 0..REQUESTS {
        let proxy = proxy.clone();
        clients.spawn(async move { proxy.get("/").await.0 });
    }
    proxy.holds(REQUESTS).await;
    proxy.pool.add(1, address);
    soon(until(|| proxy.pool.in_flight(1) > 4)).await;
    assert!(proxy.pool.queued().now >= REQUESTS - STUCK);
    let server = Server::http(|_| async { text("ok") }).await;
    proxy.pool.add(2, server.address);
    for _ in 0..REQUESTS - STUCK {
        assert_eq!(
            soon(clients.join_next()).await.expect("more").ok(),
            Some(200)
        );
    }
    assert_eq!(proxy.pool.queued().now, 0);
}
