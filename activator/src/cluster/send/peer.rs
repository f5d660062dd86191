//! One replica of the autoscaler, and the connection to it, kept open from report to report.
//!
//! Token and authority are files that others renew while we run: they are read when they are used, which for the
//! authority is once a connection, and for the token once a report.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    fs,
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, InvalidDnsNameError, ServerName, pem::PemObject as _},
    },
};

use super::Autoscaler;

/// For TCP and TLS together; within a cluster it takes milliseconds.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// From the first byte of a report to the last of its answer. Longer, and the next report is what is needed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// More of an answer is not read: it is one line.
const LONGEST_ANSWER: usize = 4096;

/// Why a report did not arrive.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("cannot read {path}: {source}")]
    File { path: String, source: io::Error },
    #[error("the token file holds no token")]
    Token,
    #[error("the authority's file holds no certificates")]
    NoCertificates,
    #[error("no --autoscaler-ca given: https:// needs one")]
    NoAuthority,
    #[error("certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    #[error("not the name of a host: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no connection within {} s", CONNECTED_WITHIN.as_secs())]
    Unconnected,
    #[error("broken connection: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no answer within {} s", ANSWERED_WITHIN.as_secs())]
    Unanswered,
    #[error("no request can be made of this: {0}")]
    Request(#[from] hyper::http::Error),
    #[error("answered {status}: {line}")]
    Refused { status: StatusCode, line: String },
}

/// A replica, as it is spoken to.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    autoscaler: Arc<Autoscaler>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Peer {
    pub(super) fn new(address: SocketAddr, autoscaler: Arc<Autoscaler>) -> Self {
        Self {
            address,
            autoscaler,
            connection: None,
        }
    }

    /// Sends a report and waits for the answer. A connection that the replica has closed meanwhile is opened again.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<(), SendError> {
        let url = &self.autoscaler.url;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(ebb_report::doors::PATH)
            .header(HOST, authority)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(path) = &self.autoscaler.token {
            let token = read(path).await?;
            let token = format!("Bearer {}", String::from_utf8_lossy(&token).trim());
            let mut token = HeaderValue::from_str(&token).map_err(|_| SendError::Token)?;
            token.set_sensitive(true);
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
        timeout(ANSWERED_WITHIN, exchange(&mut connection, request))
            .await
            .map_err(|_| SendError::Unanswered)??;
        self.connection = Some(connection);
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, SendError> {
        let stream = TcpStream::connect(self.address).await?;
        // A report is one write; waiting to fill a packet could only delay it.
        stream.set_nodelay(true)?;
        if !self.autoscaler.is_secure() {
            return speak(stream).await;
        }
        let name = ServerName::try_from(self.autoscaler.host().to_owned())?;
        let stream = self.connector().await?.connect(name, stream).await?;
        speak(stream).await
    }

    async fn connector(&self) -> Result<TlsConnector, SendError> {
        let path = self.autoscaler.authority.as_ref();
        let pem = read(path.ok_or(SendError::NoAuthority)?).await?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|_| SendError::NoCertificates)?)?;
        }
        if roots.is_empty() {
            return Err(SendError::NoCertificates);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, SendError> {
    fs::read(path).await.map_err(|source| SendError::File {
        path: path.display().to_string(),
        source,
    })
}

async fn speak<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, SendError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Ends with the sender. That it breaks is told to who sends.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(), SendError> {
    let response = connection.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER)
        .collect()
        .await;
    // Read to its end, so that the connection is good for the next one; what it says matters where it is a refusal.
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    if status.is_success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&body);
    Err(SendError::Refused {
        status,
        line: text.lines().next().unwrap_or_default().to_owned(),
    })
}
