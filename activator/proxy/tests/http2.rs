//! Tests of HTTP/2: between client and proxy, between proxy and backend, and on both sides.

#![allow(
    clippy::expect_used,
    reason = "a test client reports failures by panicking"
)]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ebb_proxy::{Limits, Protocol};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{Server, TestProxy, soon, text, until};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

type Asked = BoxBody<Bytes, Infallible>;

async fn client(proxy: &TestProxy) -> SendRequest<Asked> {
    let stream = TcpStream::connect(proxy.address).await.expect("open");
    let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("http/2");
    tokio::spawn(driver);
    sender
}

fn get(path: &str) -> Request<Asked> {
    let request = Request::get(format!("http://test{path}"));
    request.body(Empty::new().boxed()).expect("a request")
}

fn post(body: &'static str) -> Request<Asked> {
    let request = Request::post("http://test/");
    request
        .body(Full::new(Bytes::from(body)).boxed())
        .expect("a request")
}

/// Starts a server that speaks HTTP/2 only.
async fn http2_server<H, F>(handler: H) -> Server
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = support::Reply> + Send + 'static,
{
    Server::raw(move |stream| {
        let handler = handler.clone();
        async move {
            let service = service_fn(move |request| {
                let reply = handler(request);
                async move { Ok::<_, Infallible>(reply.await) }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

async fn echo(request: Request<Incoming>) -> support::Reply {
    Response::new(request.into_body().boxed())
}

async fn whole(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("whole");
    String::from_utf8_lossy(&body.to_bytes()).into_owned()
}

#[tokio::test]
async fn in_front_of_an_http1_backend() {
    let proxy = TestProxy::open().await;
    let server = Server::http(|request| async move {
        let version = request.version();
        let host = request.headers().get("host").cloned();
        let body = request
            .into_body()
            .collect()
            .await
            .map(|body| body.to_bytes());
        text(format!("{version:?} {host:?} {body:?}"))
    })
    .await;
    proxy.pool.add(1, server.address);
    let mut client = client(&proxy).await;
    let answer = soon(client.send_request(post("hello"))).await.expect("one");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        whole(answer).await,
        "HTTP/1.1 Some(\"test\") Ok(b\"hello\")"
    );
}

#[tokio::test]
async fn trailers_both_ways_to_a_backend_that_was_found_to_speak_it() {
    let proxy = TestProxy::open().await;
    let server = http2_server(echo).await;
    proxy.pool.add(1, server.address);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [
        Ok(Frame::data(Bytes::from("body"))),
        Ok(Frame::trailers(trailers.clone())),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post("http://test/")
        .header("te", "trailers")
        .body(BoxBody::new(body))
        .expect("a request");
    let mut client = client(&proxy).await;
    let answer = soon(client.send_request(request)).await.expect("one");
    let body = soon(answer.into_body().collect()).await.expect("whole");
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "body");
}

#[tokio::test]
async fn an_http1_client_of_an_http2_backend() {
    let proxy = TestProxy::open().await;
    proxy.pool.set_protocol(Protocol::Http2);
    let server = http2_server(|request| async move {
        text(format!("{:?} {}", request.version(), request.uri()))
    })
    .await;
    proxy.pool.add(1, server.address);
    let (status, body) = proxy.get("/a?b").await;
    assert_eq!((status, body.as_str()), (200, "HTTP/2.0 http://test/a?b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once_from_zero() {
    let proxy = TestProxy::open().await;
    let most = Arc::new(AtomicUsize::new(0));
    let server = http2_server(move |_| {
        let number = most.fetch_add(1, Ordering::SeqCst);
        async move { text(number.to_string()) }
    })
    .await;
    let mut requests = JoinSet::new();
    for _ in 0..3 {
        let client = client(&proxy).await;
        for _ in 0..200 {
            let mut client = client.clone();
            requests
                .spawn(async move { client.send_request(get("/")).await.expect("one").status() });
        }
    }
    proxy.holds(600).await;
    proxy.pool.add(1, server.address);
    let statuses = soon(requests.join_all()).await;
    assert!(statuses.iter().all(|status| *status == 200));
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_cancelled() {
    for http2_behind in [true, false] {
        let proxy = TestProxy::open().await;
        let (gone, mut saw) = tokio::sync::mpsc::unbounded_channel::<()>();
        // When the request is cancelled, the handler's future is dropped. The future owns a clone of `gone`, so `saw`
        // ends when all clones are dropped.
        let handler = move |_| {
            let gone = gone.clone();
            async move {
                let _held = gone;
                std::future::pending::<support::Reply>().await
            }
        };
        let server = if http2_behind {
            http2_server(handler).await
        } else {
            Server::http(handler).await
        };
        proxy.pool.add(1, server.address);
        let mut client = client(&proxy).await;
        let request = tokio::spawn(client.send_request(get("/")));
        soon(until(|| proxy.pool.in_flight(1) == 1)).await;
        request.abort();
        soon(until(|| proxy.pool.in_flight(1) == 0)).await;
        drop(server);
        assert_eq!(soon(saw.recv()).await, None);
    }
}

#[tokio::test]
async fn a_refused_stream_goes_again_with_its_body() {
    let proxy = TestProxy::open().await;
    proxy.pool.set_protocol(Protocol::Http2);
    let streams = Arc::new(AtomicUsize::new(0));
    let counted = streams.clone();
    let server = Server::raw(move |stream| {
        let streams = counted.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.expect("http/2");
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if streams.fetch_add(1, Ordering::SeqCst) == 0 {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    let data = body.data().await.expect("a body").expect("whole");
                    let mut sent = respond
                        .send_response(Response::new(()), false)
                        .expect("open");
                    sent.send_data(data, true).expect("open");
                });
            }
        }
    })
    .await;
    proxy.pool.add(1, server.address);
    let mut client = client(&proxy).await;
    let answer = soon(client.send_request(post("again"))).await.expect("one");
    assert_eq!(answer.status(), 200);
    assert_eq!(whole(answer).await, "again");
    assert_eq!(proxy.pool.counts().resent, 1);
}

#[tokio::test]
async fn one_stream_at_a_time_where_the_limit_says_so() {
    let proxy = TestProxy::with(Limits {
        hard_limit: 1,
        ..Limits::default()
    })
    .await;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen) = (now.clone(), most.clone());
    let server = http2_server(move |_| {
        let (now, most) = (counted.clone(), seen.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            text("ok")
        }
    })
    .await;
    proxy.pool.add(1, server.address);
    let client = client(&proxy).await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let mut client = client.clone();
        requests.spawn(async move { client.send_request(get("/")).await.expect("one").status() });
    }
    let statuses = soon(requests.join_all()).await;
    assert!(statuses.iter().all(|status| *status == 200));
    assert_eq!(most.load(Ordering::SeqCst), 1);
}
