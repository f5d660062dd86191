//! Tests of upgraded connections: after the response 101 the bytes pass unchanged.

mod support;

use std::time::Duration;

use support::{Server, TestProxy, read_head, read_until, soon, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ASK: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Starts a server that accepts any upgrade and sends back the received bytes in upper case.
async fn shouting_server() -> Server {
    Server::raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        if !head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n") {
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
                .await;
            return;
        }
        let agree = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: x\r\n\r\nhi ";
        let _ = stream.write_all(agree).await;
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            buffer.make_ascii_uppercase();
            let _ = stream.write_all(&buffer[..count]).await;
        }
    })
    .await
}

async fn upgraded(proxy: &TestProxy) -> TcpStream {
    let mut client = proxy.begin(ASK.as_bytes()).await;
    let head = read_until(&mut client, "\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{head}"
    );
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("sec-websocket-accept: x\r\n"), "{head}");
    read_until(&mut client, "hi ").await;
    client
}

#[tokio::test]
async fn bytes_pass_and_it_counts_until_it_ends() {
    let proxy = TestProxy::open().await;
    let server = shouting_server().await;
    proxy.pool.add(1, server.address);
    let mut client = upgraded(&proxy).await;
    for _ in 0..3 {
        client.write_all(b"hello").await.expect("open");
        assert_eq!(read_until(&mut client, "O").await, "HELLO");
    }
    assert_eq!(proxy.pool.in_flight(1), 1);
    proxy.pool.remove(1); // the upgraded connection continues
    client.write_all(b"more").await.expect("open");
    read_until(&mut client, "MORE").await;
    drop(client);
    soon(proxy.pool.drained(1)).await;
}

#[tokio::test]
async fn a_proxy_that_closes_waits_for_it() {
    let proxy = TestProxy::open().await;
    let server = shouting_server().await;
    proxy.pool.add(1, server.address);
    let mut client = upgraded(&proxy).await;
    let pool = proxy.pool.clone();
    let mut closed = proxy.close();
    assert!(
        tokio::time::timeout(Duration::from_millis(20), &mut closed)
            .await
            .is_err()
    );
    client.write_all(b"more").await.expect("open");
    read_until(&mut client, "MORE").await;
    drop(client);
    soon(closed).await.expect("it closes");
    soon(until(|| pool.in_flight(1) == 0)).await;
}

#[tokio::test]
async fn a_backend_that_does_not_switch_answers_as_ever() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|_| async { support::text("plain") }).await;
    proxy.pool.add(1, server.address);
    let mut client = proxy.begin(ASK.as_bytes()).await;
    let answer = read_until(&mut client, "plain").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("upgrade"), "{answer}");
}

#[tokio::test]
async fn h2c_is_not_asked_for() {
    let proxy = TestProxy::open().await;
    let server =
        Server::http(|request| async move { support::text(format!("{:?}", request.headers())) })
            .await;
    proxy.pool.add(1, server.address);
    let answer = proxy
        .say(
            "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings, close\r\n\
             upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        !answer.contains("h2c") && !answer.contains("http2-settings"),
        "{answer}"
    );
}
