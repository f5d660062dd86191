//! Detects when a replica is ready: it accepts a connection, or answers 2xx at a path.
//!
//! Bias: readiness is detected early, because queued requests wait for it; at first, a probe is sent every millisecond.
//! Failure mode: a server that listens before it can serve counts as ready too early, unless `--ready-path` is given.

use std::{io, net::SocketAddr, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{self, Instant},
};

/// Interval between probes at first: the longest delay in the detection of a replica that starts fast.
const QUICK_EVERY: Duration = Duration::from_millis(1);
/// How long [`QUICK_EVERY`] is used: for 200 ms / 1 ms = 200 probes. 200 refused connections cost about 10 ms of CPU
/// time.
const QUICK_FOR: Duration = Duration::from_millis(200);
/// Interval between probes after [`QUICK_FOR`]: the longest delay in the detection of a replica that starts slowly.
const SLOW_EVERY: Duration = Duration::from_millis(10);
/// Interval after a response other than 2xx: each such probe causes work and a log line in the replica.
const ANSWERED_EVERY: Duration = Duration::from_millis(50);
/// Time limit of one probe: the kubelet's default (`timeoutSeconds: 1`).
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// User agent of the probes. The counter excludes requests of `kube-probe/…` from the concurrency.
const USER_AGENT: &str = "kube-probe/ebb";

/// The reason why a probe did not find the replica ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The connection was not accepted.
    #[error(
        "connection failed ({0}); the command must listen on the given port ({{port}} in its arguments, PORT in its \
         environment)"
    )]
    Connect(#[source] io::Error),
    /// The connection failed, or the response was not HTTP.
    #[error("the probe of --ready-path got no HTTP response ({0})")]
    Http(#[from] hyper::Error),
    /// The replica answered with this status, which is not 2xx.
    #[error("the probe of --ready-path got status {0}, expected 2xx")]
    Status(u16),
    /// The replica did not answer within [`PROBE_LIMIT`].
    #[error("the probe got no response within {PROBE_LIMIT:?}")]
    Slow,
    /// The path is not valid in an HTTP request.
    #[error("the path of --ready-path is not valid ({0})")]
    Path(#[from] hyper::http::Error),
}

/// The condition for a replica to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The replica accepts a TCP connection.
    Accepts,
    /// The replica answers 2xx to a GET request for this path.
    Answers(String),
}

impl Readiness {
    /// Probes until the replica is ready. If `limit` is over first, returns the error of the last probe.
    pub(crate) async fn wait(
        &self,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<(), ProbeError> {
        let start = Instant::now();
        loop {
            let seen = match time::timeout(PROBE_LIMIT, self.probe(address)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => ProbeError::Slow,
            };
            if start.elapsed() >= limit {
                return Err(seen);
            }
            let pause = match seen {
                ProbeError::Connect(_) if start.elapsed() < QUICK_FOR => QUICK_EVERY,
                ProbeError::Connect(_) => SLOW_EVERY,
                _ => ANSWERED_EVERY,
            };
            time::sleep(pause).await;
        }
    }

    async fn probe(&self, address: SocketAddr) -> Result<(), ProbeError> {
        let stream = TcpStream::connect(address)
            .await
            .map_err(ProbeError::Connect)?;
        match self {
            Readiness::Accepts => Ok(()),
            Readiness::Answers(path) => get(stream, address, path).await,
        }
    }
}

/// Sends one GET request on the new connection `stream`. Returns an error if the status is not 2xx.
async fn get(stream: TcpStream, address: SocketAddr, path: &str) -> Result<(), ProbeError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let status = sender.send_request(request).await?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(ProbeError::Status(status.as_u16()))
        }
    };
    tokio::pin!(answer);
    tokio::select! {
        result = &mut answer => result,
        ended = connection => { ended?; answer.await }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Answers each connection with the next of `statuses`; returns the head of the last request.
    async fn serve(listener: TcpListener, statuses: &[u16]) -> String {
        let mut head = String::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).await.unwrap();
            head = String::from_utf8_lossy(&buffer[..read]).into_owned();
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        head
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_listener_is_ready() {
        let (_listener, address) = listener().await;
        Readiness::Accepts.wait(address, LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_there_ends_at_the_limit() {
        let (listener, address) = listener().await;
        drop(listener);
        let seen = Readiness::Accepts
            .wait(address, Duration::from_millis(20))
            .await;
        assert!(matches!(seen, Err(ProbeError::Connect(_))), "{seen:?}");
    }

    #[tokio::test]
    async fn a_path_is_ready_at_2xx_and_the_probe_is_known_as_one() {
        let (listener, address) = listener().await;
        let readiness = Readiness::Answers("/healthz".to_owned());
        let (result, head) = tokio::join!(
            readiness.wait(address, LIMIT),
            serve(listener, &[503, 404, 204])
        );
        result.unwrap();
        assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("user-agent: kube-probe/ebb"), "{head}");
    }
}
