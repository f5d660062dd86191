//! Tests of the status port over real connections.

use std::{net::SocketAddr, time::Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Fine;

impl Status for Fine {
    fn ready(&self) -> Result<String, String> {
        Ok("ready".to_owned())
    }

    fn metrics(&self, _: Format) -> Result<String, fmt::Error> {
        Ok("up 1\n".to_owned())
    }

    fn page(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        (path == "/page").then(|| text(StatusCode::OK, query.unwrap_or("no query")))
    }
}

async fn begin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::new(Fine), Hosts::default()));
    address
}

async fn get(address: SocketAddr, path: &str, host: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn t6_idle_connections_keep_nobody_out() {
    let address = begin().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    let asked = Instant::now();
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = get(address, path, "localhost").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
    // The oldest idle connection was closed in favour of newer connections. The newest idle connection is still open.
    assert_eq!(idle[0].read(&mut [0]).await.unwrap(), 0);
    let mut last = idle.pop().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert!(last.read(&mut [0; 64]).await.unwrap() > 0);
}

#[tokio::test]
async fn t12_a_strange_host_is_refused_and_told_what_to_do() {
    let address = begin().await;
    let refused = get(address, "/metrics", "evil.example:9466").await;
    assert!(refused.starts_with("HTTP/1.1 421"), "{refused}");
    assert!(refused.contains("--allowed-host"), "{refused}");
    assert!(!refused.contains("up 1"), "{refused}");
    for host in ["localhost:9466", "10.0.0.1", "[::1]:1"] {
        let answer = get(address, "/page?a=b", host).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.ends_with("a=b\n"), "{answer}");
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "content-security-policy: default-src 'none'",
        ] {
            assert!(answer.contains(header), "{header}: {answer}");
        }
    }
}
