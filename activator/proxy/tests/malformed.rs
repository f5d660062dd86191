//! Tests that the proxy refuses malformed requests, and bytes that could be read as two requests, and never forwards
//! them.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ebb_proxy::{Limits, Reason};
use support::{Server, TestProxy, read_head, split, text};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn refused_and_not_passed_on() {
    let proxy = TestProxy::open().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let server = Server::http(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        async { text("passed on") }
    })
    .await;
    proxy.pool.add(1, server.address);
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
        let answer = proxy.say(&request).await;
        assert_eq!(split(&answer).0, status, "{:.200}: {answer}", request);
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

/// Request smuggling: a reader that uses one of the two lengths finds a second request. A reader that uses the other
/// length finds only a body.
#[tokio::test]
async fn a_request_with_two_lengths_is_refused_and_all_that_follows() {
    let proxy = TestProxy::open().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let server = Server::raw(move |mut stream| {
        let seen = seen.clone();
        async move {
            if !read_head(&mut stream).await.is_empty() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    proxy.pool.add(1, server.address);
    for pair in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let answer = proxy
            .say(format!(
                "POST / HTTP/1.1\r\nhost: a\r\n{pair}\r\n\r\n0\r\n\r\n\
                 GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n"
            ))
            .await;
        let (status, body) = split(&answer);
        assert_eq!(status, 400, "{answer}");
        assert_eq!(
            body,
            "ebb: bad request: content-length and transfer-encoding are given together; \
             only one of them is allowed\n"
        );
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
    assert_eq!(proxy.pool.counts().refused(Reason::Malformed), 2);
}

/// If the malformed chunk arrives together with the head, the backend receives nothing. If it arrives later, the
/// backend sees the request aborted.
#[tokio::test]
async fn a_request_that_turns_bad_later_breaks_off_at_the_backend() {
    let proxy = TestProxy::open().await;
    let (told, mut saw) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::raw(move |mut stream| {
        let told = told.clone();
        async move {
            read_head(&mut stream).await;
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
            let _ = told.send(rest);
        }
    })
    .await;
    proxy.pool.add(1, server.address);
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut client = proxy.begin(format!("{head}3\r\nabc\r\n")).await;
    support::soon(support::until(|| proxy.pool.in_flight(1) == 1)).await;
    client.write_all(b"zz\r\n").await.expect("open");
    let mut answer = String::new();
    let _ = support::soon(tokio::io::AsyncReadExt::read_to_string(
        &mut client,
        &mut answer,
    ))
    .await;
    assert_eq!(split(&answer).0, 400, "{answer}");
    let rest = support::soon(saw.recv()).await.expect("it was begun");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn what_came_before_a_bad_request_is_answered_first() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|_| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        text("good")
    })
    .await;
    proxy.pool.add(1, server.address);
    let answer = proxy
        .say("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\nx: y\r\n\r\n")
        .await;
    let (good, bad) = (answer.find("good"), answer.find("HTTP/1.1 400"));
    assert!(good.is_some() && good < bad, "{answer}");
}

#[tokio::test]
async fn a_bad_chunk_ends_the_request() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|request| async move {
        use http_body_util::BodyExt;
        text(if request.collect().await.is_ok() {
            "whole"
        } else {
            "broken"
        })
    })
    .await;
    proxy.pool.add(1, server.address);
    for chunk in [
        "zz\r\nx\r\n",
        "-1\r\nx\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nx",
    ] {
        let answer = proxy
            .say(format!(
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"
            ))
            .await;
        assert!(!answer.contains("whole"), "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn a_header_that_never_ends_is_not_waited_for() {
    let proxy = TestProxy::with(Limits {
        header_timeout: Duration::from_millis(30),
        ..Limits::default()
    })
    .await;
    let answer = proxy.say("GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
    assert!(
        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{answer}"
    );
    // This byte could be the first byte of the HTTP/2 preface "PRI", so the proxy waits for more bytes until the time
    // limit.
    let answer = proxy.say("P").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // If a client sends nothing within the time limit, the connection is closed without a response.
    assert_eq!(proxy.say("").await, "");
    assert_eq!(proxy.pool.counts().refused(Reason::HeaderTooSlow), 2);
}
