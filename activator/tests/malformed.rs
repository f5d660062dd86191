//! What is no request, or two in one: refused, and never passed on.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ebb_activator::Limits;
use support::{Door, Server, read_head, split, text};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn refused_and_not_passed_on() {
    let door = Door::open().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let server = Server::http(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        async { text("passed on") }
    })
    .await;
    door.pool.add(1, server.address);
    let long = "x".repeat(70 * 1024);
    for (status, request) in [
        (400, "nonsense\r\n\r\n".to_owned()),
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()), // no Host
        (
            400,
            "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(),
        ),
        (
            400,
            "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n folded\r\n\r\n".to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 1\r\n\r\nx".to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx".to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx".to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx"
                .to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n".to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, x\r\n\r\n".to_owned(),
        ),
        (
            400,
            "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        ),
        (
            431,
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
        ),
        (
            431,
            format!(
                "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
                "x: 1\r\n".repeat(200)
            ),
        ),
        (
            501,
            "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n".to_owned(),
        ),
    ] {
        let request = request.replacen("host: a\r\n", "host: a\r\nconnection: close\r\n", 1);
        let answer = door.say(&request).await;
        assert_eq!(split(&answer).0, status, "{:.200}: {answer}", request);
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

/// RFC 9112 section 6.3: of the pair the transfer coding counts, the other field must not be
/// passed on, and the connection must be closed after it, so that nothing can hide behind it.
#[tokio::test]
async fn of_two_lengths_only_one_passes_and_nothing_after_it() {
    let server = Server::raw(|mut stream| async move {
        let head = read_head(&mut stream).await;
        support::read_until(&mut stream, "0\r\n\r\n").await;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
            head.len()
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    for pair in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let door = Door::open().await;
        door.pool.add(1, server.address);
        let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
        let answer = door
            .say(format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{pair}\r\n\r\n0\r\n\r\n{hidden}"
            ))
            .await;
        let (status, body) = split(&answer);
        assert_eq!(status, 200, "{answer}");
        assert!(
            !body.to_ascii_lowercase().contains("content-length"),
            "{body}"
        );
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
        assert!(!answer.contains("hidden"), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_chunk_ends_the_request() {
    let door = Door::open().await;
    let server = Server::http(|request| async move {
        use http_body_util::BodyExt;
        text(if request.collect().await.is_ok() {
            "whole"
        } else {
            "broken"
        })
    })
    .await;
    door.pool.add(1, server.address);
    for chunk in [
        "zz\r\nx\r\n",
        "-1\r\nx\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nx",
    ] {
        let answer = door
            .say(format!(
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"
            ))
            .await;
        assert!(!answer.contains("whole"), "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn a_header_that_never_ends_is_not_waited_for() {
    let door = Door::with(Limits {
        header_timeout: Duration::from_millis(30),
        ..Limits::default()
    })
    .await;
    let answer = door.say("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    // One that says nothing is told nothing.
    assert_eq!(door.say("").await, "");
}
