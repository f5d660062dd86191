//! Tests that the proxy forwards messages unchanged and without delay.

mod support;

use http_body_util::BodyExt;
use hyper::{Response, StatusCode};
use support::{Server, TestProxy, read_head, read_until, soon, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn echo(request: hyper::Request<hyper::body::Incoming>) -> support::Reply {
    Response::new(request.into_body().boxed())
}

#[tokio::test]
async fn bodies_stream_both_ways_without_waiting_for_their_ends() {
    let proxy = TestProxy::open().await;
    let server = Server::http(echo).await;
    proxy.pool.add(1, server.address);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = proxy.begin(head.as_bytes()).await;
    client.write_all(b"3\r\none\r\n").await.expect("open");
    // The echo of the body's first piece arrives before the client sends the second piece.
    let answer = read_until(&mut client, "3\r\none\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    client.write_all(b"3\r\ntwo\r\n").await.expect("open");
    read_until(&mut client, "3\r\ntwo\r\n").await;
    client.write_all(b"0\r\n\r\n").await.expect("open");
    read_until(&mut client, "0\r\n\r\n").await;
    // After a chunked request, the connection can be used for another request.
    client
        .write_all(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nlast")
        .await
        .expect("open");
    read_until(&mut client, "\r\n\r\nlast").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_comes_back_whole() {
    const SIZE: usize = 8 << 20;
    let proxy = TestProxy::open().await;
    let server = Server::http(echo).await;
    proxy.pool.add(1, server.address);
    let body: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
    let (mut from, mut to) = proxy.begin("").await.into_split();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {SIZE}\r\n\r\n"
    );
    let sent = body.clone();
    let sender = tokio::spawn(async move {
        to.write_all(head.as_bytes()).await.expect("open");
        to.write_all(&sent).await.expect("open");
        to
    });
    let mut answer = Vec::new();
    soon(from.read_to_end(&mut answer))
        .await
        .expect("an answer");
    sender.await.expect("sent");
    // The server echoes the body of the request, so the response ends with this body.
    assert!(answer.ends_with(&body), "{} bytes came", answer.len());
}

#[tokio::test]
async fn responses_without_a_body() {
    let proxy = TestProxy::open().await;
    let server = Server::raw(|mut stream| async move {
        loop {
            let head = read_head(&mut stream).await;
            let answer = match head.split(' ').next() {
                Some("HEAD") => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n",
                Some("GET") => "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n",
                Some("DELETE") => "HTTP/1.1 204 No Content\r\n\r\n",
                _ => return,
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    proxy.pool.add(1, server.address);
    let mut client = proxy.begin("").await;
    for (method, status, length) in [
        ("HEAD", 200, true),
        ("DELETE", 204, false),
        ("GET", 304, false),
    ] {
        for _ in 0..2 {
            let request = format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("open");
            let head = read_until(&mut client, "\r\n\r\n").await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
            assert_eq!(head.contains("content-length: 1000\r\n"), length, "{head}");
        }
    }
}

#[tokio::test]
async fn a_client_is_told_to_continue_when_there_is_a_backend() {
    let proxy = TestProxy::open().await;
    let server = Server::http(echo).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    let mut client = proxy.begin(head.as_bytes()).await;
    proxy.holds(1).await;
    assert!(
        client.try_read(&mut [0; 1]).is_err(),
        "no 100 Continue may arrive while the request is queued"
    );
    proxy.pool.add(1, server.address);
    assert_eq!(
        read_until(&mut client, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.write_all(b"body").await.expect("open");
    let answer = read_until(&mut client, "body").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|request| async move { text(request.uri().path()) }).await;
    proxy.pool.add(1, server.address);
    let answer = proxy
        .say(
            "GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n\
             GET /three HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        )
        .await;
    let found: Vec<_> = ["/one", "/two", "/three"]
        .iter()
        .map(|body| answer.find(body).expect("answered"))
        .collect();
    assert!(found.is_sorted(), "{answer}");
}

#[tokio::test]
async fn trailers_pass() {
    let proxy = TestProxy::open().await;
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream
            .write_all(b"4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n")
            .await;
    })
    .await;
    proxy.pool.add(1, server.address);
    let request = "GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
    let answer = proxy.say(request).await;
    assert!(
        answer.ends_with("4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn old_clients_and_old_servers() {
    let proxy = TestProxy::open().await;
    let server = Server::raw(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
            .await;
    })
    .await;
    proxy.pool.add(1, server.address);
    let answer = proxy.say("GET / HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nuntil the end"), "{answer}");
    let answer = proxy
        .say("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(
        answer.contains("transfer-encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("D\r\nuntil the end\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_backend_sees_who_asked() {
    let proxy = TestProxy::open().await;
    let server =
        Server::http(|request| async move { text(format!("{:?}", request.headers())) }).await;
    proxy.pool.add(1, server.address);
    let answer = proxy
        .say(
            "GET / HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-for: 192.0.2.1\r\n\
             connection: close, x-secret\r\nx-secret: 1\r\nkeep-alive: 5\r\n\r\n",
        )
        .await;
    assert!(answer.contains(r#""host": "shop.example""#), "{answer}");
    assert!(
        answer.contains(r#""x-forwarded-for": "192.0.2.1, 127.0.0.1""#),
        "{answer}"
    );
    assert!(
        answer.contains(r#""x-forwarded-proto": "http""#),
        "{answer}"
    );
    assert!(
        answer.contains(r#""x-forwarded-host": "shop.example""#),
        "{answer}"
    );
    for gone in ["x-secret", "keep-alive", "connection"] {
        assert!(!answer.contains(&format!("\"{gone}\"")), "{gone}: {answer}");
    }
}

#[tokio::test]
async fn a_refused_upload_gets_its_answer() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|_| async {
        let mut response = text("too much");
        *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        response
    })
    .await;
    proxy.pool.add(1, server.address);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nbegin";
    let mut client = proxy.begin(head.as_bytes()).await;
    let answer = read_until(&mut client, "too much").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}
