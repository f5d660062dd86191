//! A connection to one replica of the autoscaler. It stays open between reports.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

use crate::{
    address::host,
    credentials::{Credentials, CredentialsError},
};

/// Time limit for TCP and TLS together; within a cluster they take milliseconds.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// Time limit from the first byte of a report to the last byte of its response. After this time, the next report is
/// more useful.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// Maximum length of a response that is read, in bytes. The receipt for an accepted report has about 60 bytes; the
/// refusal of a report is one line.
const LONGEST_ANSWER: usize = 4096;

/// Why the sending of a report failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no connection within {} s", CONNECTED_WITHIN.as_secs())]
    Unconnected,
    #[error("invalid host name: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("broken connection: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no response within {} s", ANSWERED_WITHIN.as_secs())]
    Unanswered,
    #[error("cannot build the request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("cannot read the response: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
}

/// The response of a replica.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Time that the replica requests to wait before the next report (`Retry-After`).
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// A replica and the connection to it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    /// The host of the URL. The certificate must be valid for this name.
    host: String,
    authority: String,
    path: &'static str,
    secure: bool,
    pub(crate) credentials: Arc<Credentials>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Peer {
    pub(crate) fn new(
        address: SocketAddr,
        url: &Uri,
        path: &'static str,
        credentials: Arc<Credentials>,
    ) -> Self {
        Self {
            address,
            host: host(url).to_owned(),
            authority: url
                .authority()
                .map_or_else(String::new, ToString::to_string),
            path,
            secure: url.scheme_str() == Some("https"),
            credentials,
            connection: None,
        }
    }

    /// Sends a report and waits for the response. If the replica has closed the connection between two reports, a new
    /// connection is opened.
    pub(crate) async fn post(&mut self, body: Bytes) -> Result<Answer, SendError> {
        let mut request = Request::post(self.path)
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = self.credentials.authorization()? {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body))?;
        let mut open = self.connection.take();
        if let Some(connection) = &mut open
            && connection.ready().await.is_err()
        {
            open = None;
        }
        let mut connection = match open {
            Some(connection) => connection,
            None => timeout(CONNECTED_WITHIN, self.connect())
                .await
                .map_err(|_| SendError::Unconnected)??,
        };
        let answer = timeout(ANSWERED_WITHIN, exchange(&mut connection, request))
            .await
            .map_err(|_| SendError::Unanswered)??;
        self.connection = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, SendError> {
        let stream = TcpStream::connect(self.address).await?;
        // A report is one write, so Nagle's algorithm would only delay it.
        stream.set_nodelay(true)?;
        if !self.secure {
            return speak(stream).await;
        }
        let name = ServerName::try_from(self.host.clone())?;
        let stream = self.credentials.connector()?.connect(name, stream).await?;
        speak(stream).await
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // The task ends when the sender is dropped. The sender also reports an error of the connection.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, SendError> {
    let response = connection.send_request(request).await?;
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER)
        .collect()
        .await
        .map_err(SendError::Answer)?
        .to_bytes();
    Ok(Answer {
        status,
        retry_after,
        body,
    })
}
