//! Tests that the guard's result does not depend on how the bytes are split into reads.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, BufReader};

use super::*;
use crate::budget::{Account, Budget};

const MAX_HEADER: usize = 8 * 1024;

/// A stream that returns one piece per read.
#[derive(Debug)]
struct Pieces(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.0.pop_front() {
            buffer.put_slice(&piece);
        }
        Poll::Ready(Ok(()))
    }
}

fn memory() -> Charge {
    Account::unbounded().take(0).expect("no bound")
}

/// Reads the pieces of a client's bytes through a new [`Guarded`]. Returns the bytes that pass, and the number of the
/// refused request with the reason.
async fn through(pieces: Vec<Vec<u8>>) -> (Vec<u8>, Option<(u64, Flaw)>) {
    let shared = Arc::new(GuardState::default());
    let guarded = Guarded::new(
        Pieces(pieces.into()),
        MAX_HEADER,
        Arc::clone(&shared),
        memory(),
    );
    let mut out = Vec::new();
    // `read_to_end` is polled only once, because after a refusal the stream remains open and `read_to_end` never
    // resolves. One poll is enough: each piece fits into the reader's buffer.
    let mut reader = BufReader::with_capacity(4 * MAX_HEADER, guarded);
    let mut reading = std::pin::pin!(reader.read_to_end(&mut out));
    std::future::poll_fn(|cx| {
        let _over = reading.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
    let refused = *shared.refused.lock().expect("sound");
    (out, refused)
}

/// Sends `bytes` through a guard as a whole, in every split into two pieces, and as single bytes. All results must
/// agree.
async fn every_way(bytes: &[u8]) -> (Vec<u8>, Option<(u64, Flaw)>) {
    let whole = through(vec![bytes.to_vec()]).await;
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        let cut = through(vec![first.to_vec(), second.to_vec()]).await;
        // The result may depend on the cut in one case: the body is invalid, and the head arrives in an earlier piece.
        // The head has then already passed, so only the rest of the body can be replaced. If all bytes arrive together,
        // the whole request is refused.
        if cut.1.is_some() || whole.1.is_none() {
            assert_eq!(cut.1, whole.1, "cut at {at}");
        }
        if whole.1.is_none() && !whole.0.ends_with(BROKEN) {
            assert_eq!(cut.0, whole.0, "cut at {at}");
        }
    }
    let bytewise = through(bytes.iter().map(|&byte| vec![byte]).collect()).await;
    assert_eq!(
        bytewise.1.is_some() || bytewise.0.ends_with(BROKEN),
        is_refused(&whole)
    );
    whole
}

fn is_refused((out, refused): &(Vec<u8>, Option<(u64, Flaw)>)) -> bool {
    refused.is_some() || out.ends_with(BROKEN)
}

#[tokio::test]
async fn good_requests_pass_unchanged() {
    let one = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for text in [
        one.to_owned(),
        one.repeat(3),
        format!("\r\n\r\n{one}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 5\r\n\r\nhello{one}"),
        format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length:  0 \t\r\n\r\n{one}"),
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
             3\r\nabc\r\nA;x=\"y z\"\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\n{one}"
        ),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nhost: \r\nx:\r\ny: caf\u{e9}\r\n\r\n".to_owned(),
    ] {
        let (out, refused) = every_way(text.as_bytes()).await;
        assert_eq!(refused, None, "{text:?}");
        assert_eq!(String::from_utf8_lossy(&out), text);
    }
}

#[tokio::test]
async fn what_leaves_a_doubt_is_refused() {
    let long = "x".repeat(MAX_HEADER);
    let many = "x: 1\r\n".repeat(100);
    for (flaw, rest) in [
        (
            Flaw::TwoFramings,
            "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            Flaw::TwoFramings,
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n",
        ),
        (
            Flaw::TwoLengths,
            "content-length: 1\r\ncontent-length: 2\r\n\r\n",
        ),
        (
            Flaw::TwoLengths,
            "content-length: 1\r\nContent-Length: 1\r\n\r\nx",
        ),
        (Flaw::Length, "content-length: 1, 1\r\n\r\nx"),
        (Flaw::Length, "content-length: +1\r\n\r\nx"),
        (Flaw::Length, "content-length: -1\r\n\r\n"),
        (Flaw::Length, "content-length: 0x1\r\n\r\n"),
        (Flaw::Length, "content-length:\r\n\r\n"),
        (Flaw::Length, "content-length: 18446744073709551616\r\n\r\n"),
        (Flaw::Field, "content-length : 1\r\n\r\nx"),
        (Flaw::Field, "transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
        (
            Flaw::Field,
            "\u{b}transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (Flaw::Field, "no colon\r\n\r\n"),
        (Flaw::Field, ": no name\r\n\r\n"),
        (Flaw::Field, "x: a\0b\r\n\r\n"),
        (Flaw::Field, "x: a\u{7f}b\r\n\r\n"),
        (Flaw::Coding, "transfer-encoding: gzip\r\n\r\n"),
        (Flaw::Coding, "transfer-encoding: chunked, x\r\n\r\n"),
        (Flaw::Coding, "transfer-encoding: xchunked\r\n\r\n"),
        (
            Flaw::Coding,
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            Flaw::UnknownCoding,
            "transfer-encoding: gzip, chunked\r\n\r\n",
        ),
        (
            Flaw::UnknownCoding,
            "transfer-encoding: chunked, chunked\r\n\r\n",
        ),
        (Flaw::Folded, "x: 1\r\n folded\r\n\r\n"),
        (Flaw::Folded, "x: 1\r\n\ttransfer-encoding: chunked\r\n\r\n"),
        (Flaw::BareLf, "x: 1\ny: 2\r\n\r\n"),
        (Flaw::BareLf, "x: 1\r\n\n"),
        (Flaw::BareCr, "x: 1\ry: 2\r\n\r\n"),
        (Flaw::BareCr, "x: 1\r\r\n\r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\nzz\r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\n-1\r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\n0x1\r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\n\r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\n 1\r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\n1 \r\n"),
        (Flaw::ChunkSize, "transfer-encoding: chunked\r\n\r\n1\n"),
        (
            Flaw::ChunkSize,
            "transfer-encoding: chunked\r\n\r\n1;a\nb\r\n",
        ),
        (
            Flaw::ChunkSize,
            "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ),
        (
            Flaw::ChunkEnd,
            "transfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        ),
        (
            Flaw::ChunkEnd,
            "transfer-encoding: chunked\r\n\r\n1\r\nx\n0\r\n\r\n",
        ),
        (
            Flaw::Trailer,
            "transfer-encoding: chunked\r\n\r\n0\r\nx\r\n\r\n",
        ),
        (
            Flaw::Trailer,
            "transfer-encoding: chunked\r\n\r\n0\r\nx: 1\n\r\n",
        ),
        (Flaw::Trailer, "transfer-encoding: chunked\r\n\r\n0\r\n\n"),
        (Flaw::TooLong(MAX_HEADER), &format!("x: {long}")),
        (
            Flaw::TooLong(MAX_HEADER),
            &format!("transfer-encoding: chunked\r\n\r\n0\r\nx: {long}"),
        ),
        (Flaw::TooManyFields, &format!("{many}\r\n")),
    ] {
        let text = format!("POST / HTTP/1.1\r\nhost: a\r\n{rest}");
        // Each request is checked alone, and as the second of two requests.
        for before in ["", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"] {
            let bytes = [before, &text].concat();
            let (out, refused) = if text.len() > 1000 {
                through(vec![bytes.clone().into()]).await
            } else {
                every_way(bytes.as_bytes()).await
            };
            let number = if before.is_empty() { 1 } else { 2 };
            assert_eq!(refused, Some((number, flaw)), "{bytes:.200?}");
            assert_eq!(out, [before.as_bytes(), STAND_IN].concat());
        }
    }
}

#[tokio::test]
async fn a_request_line_is_three_words() {
    for line in [
        "nonsense",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /\ta HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "G(T / HTTP/1.1",
    ] {
        let text = format!("{line}\r\nhost: a\r\n\r\n");
        let (_, refused) = every_way(text.as_bytes()).await;
        assert_eq!(refused, Some((1, Flaw::RequestLine)), "{line}");
    }
}

#[tokio::test]
async fn nothing_is_read_after_a_refusal() {
    let hidden = b"GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let bad = b"GET / HTTP/1.1\r\nhost: a\nb: c\r\n\r\n";
    let (out, _) = through(vec![bad.to_vec(), hidden.to_vec()]).await;
    assert_eq!(out, STAND_IN);
}

#[tokio::test]
async fn after_an_upgrade_nothing_is_looked_at_and_after_a_refused_one_all() {
    let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    let frames = b"\x81\x05hello\n\n".to_vec();
    for (upgraded, expected) in [(true, frames.clone()), (false, STAND_IN.to_vec())] {
        let shared = Arc::new(GuardState::default());
        let pieces = Pieces([ask.to_vec(), frames.clone()].into());
        let mut guarded = Guarded::new(pieces, MAX_HEADER, Arc::clone(&shared), memory());
        let mut head = vec![0; ask.len()];
        guarded.read_exact(&mut head).await.expect("the request");
        shared.decide(upgraded);
        let mut out = vec![0; expected.len()];
        guarded.read_exact(&mut out).await.expect("the rest");
        assert_eq!(out, expected);
    }
}

#[tokio::test]
async fn t11_a_head_for_which_there_is_no_memory_is_refused() {
    let shared = Arc::new(GuardState::default());
    // The budget is enough for a head of 10 000 bytes, but not for a head of 20 000 bytes.
    let budget = Budget::new(budget::connection(15_000));
    let memory = budget.whole().take(budget::CONNECTION).expect("as many");
    let line = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "y".repeat(10_000));
    let pieces = Pieces([line.into_bytes(), vec![b'y'; 10_000]].into());
    let guarded = Guarded::new(pieces, 64 * 1024, Arc::clone(&shared), memory);
    let mut out = vec![0; STAND_IN.len()];
    let mut reader = BufReader::with_capacity(64 * 1024, guarded);
    reader.read_exact(&mut out).await.expect("a stand-in");
    assert_eq!(out, STAND_IN);
    assert_eq!(shared.refusal(1), Some(Flaw::NoMemory));
    drop(reader);
    assert_eq!(budget.used(), 0);
}
