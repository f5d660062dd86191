//! A client of a Service. Each request uses a new connection to one of the Service's current endpoints.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time;

/// Time limit of a request, longer than any request of these tests takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The endpoint that sent the response.
    pub(crate) from: SocketAddr,
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
}

/// A function that chooses the endpoint of the next connection; `None`: the Service has no endpoints.
pub(crate) trait Pick: Fn() -> Option<SocketAddr> + Send + Sync + 'static {}

impl<F: Fn() -> Option<SocketAddr> + Send + Sync + 'static> Pick for F {}

/// Sends a request.
///
/// # Errors
/// If the connection is refused or aborted.
pub(crate) async fn get(pick: impl Pick, path: String) -> Result<Answer, String> {
    let sent = Instant::now();
    let asked = async {
        let to = pick().ok_or("refused: the Service has no endpoints")?;
        let stream = TcpStream::connect(to)
            .await
            .map_err(|error| format!("{to}: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{to}: {error}"))?;
        let connection = tokio::spawn(connection);
        let request = hyper::Request::get(path)
            .header("host", "app")
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| format!("{to}: {error}"))?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| format!("{to}: body: {error}"))?;
        drop(sender);
        connection.await.ok();
        Ok(Answer {
            status,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            from: to,
            sent,
            received: Instant::now(),
        })
    };
    time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| "no answer".to_owned())?
}

/// Sends `count` requests concurrently.
pub(crate) fn many(
    count: usize,
    pick: &(impl Pick + Clone),
    path: &str,
) -> Vec<JoinHandle<Result<Answer, String>>> {
    ebb_e2e::block_on(async {
        (0..count)
            .map(|_| tokio::spawn(get(pick.clone(), path.to_owned())))
            .collect()
    })
}

/// Sends one request without waiting for its response.
pub(crate) fn one(pick: &(impl Pick + Clone), path: &str) -> JoinHandle<Result<Answer, String>> {
    many(1, pick, path).remove(0)
}

/// Waits for the results of requests.
pub(crate) fn all(
    requests: Vec<JoinHandle<Result<Answer, String>>>,
) -> Vec<Result<Answer, String>> {
    ebb_e2e::block_on(async {
        let mut answers = Vec::new();
        for request in requests {
            answers.push(request.await.expect("no panic"));
        }
        answers
    })
}

/// Asserts that all requests succeeded.
///
/// # Panics
/// If a request was not answered with 200.
#[track_caller]
pub(crate) fn assert_all_ok(answers: &[Result<Answer, String>]) {
    let bad: Vec<_> = answers
        .iter()
        .filter(|answer| !answer.as_ref().is_ok_and(|answer| answer.status == 200))
        .collect();
    let some = &bad[..bad.len().min(5)];
    assert!(
        bad.is_empty(),
        "{} of {}: {some:?}",
        bad.len(),
        answers.len()
    );
}
