//! Connections to the report port, as an agent and as an unauthorized client.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ebb_contract::{Receipt, Report};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::api::{Api, path};
use super::{SOON, SYSTEM};

/// Returns a TLS configuration that trusts the autoscaler's published certificate authority.
///
/// # Panics
/// If the certificate authority is not published.
#[must_use]
pub fn trust(api: &Api) -> Arc<ClientConfig> {
    let authority = authority(api);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("TLS");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// Returns the autoscaler's published certificate authority, in PEM.
///
/// # Panics
/// If the certificate authority is not published.
#[must_use]
pub fn authority(api: &Api) -> String {
    let path = path("v1", "ConfigMap", SYSTEM, "ebb-autoscaler-ca");
    api.await_object("the published authority", SOON, &path, |map| {
        map["data"]["ca.crt"].as_str().map(str::to_owned)
    })
}

/// A connection to the report port.
pub struct Line {
    sender: SendRequest<Full<Bytes>>,
}

/// Connects with TLS to a port of 127.0.0.1, from the local address `from`.
///
/// # Errors
/// If the connection is aborted.
pub async fn tls(
    trust: Arc<ClientConfig>,
    from: IpAddr,
    port: u16,
) -> std::io::Result<TlsStream<TcpStream>> {
    tls_to(trust, from, ([127, 0, 0, 1], port).into()).await
}

/// Like [`tls`], but connects to the address `to` and not to 127.0.0.1.
///
/// # Errors
/// If the connection is aborted.
pub async fn tls_to(
    trust: Arc<ClientConfig>,
    from: IpAddr,
    to: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(trust).connect(name, stream).await
}

impl Line {
    /// # Errors
    /// If the connection is aborted.
    pub async fn connect(
        trust: Arc<ClientConfig>,
        from: IpAddr,
        port: u16,
    ) -> std::io::Result<Self> {
        Self::connect_to(trust, from, ([127, 0, 0, 1], port).into()).await
    }

    /// Like [`Line::connect`], but connects to the address `to` and not to 127.0.0.1.
    ///
    /// # Errors
    /// If the connection is aborted.
    pub async fn connect_to(
        trust: Arc<ClientConfig>,
        from: IpAddr,
        to: SocketAddr,
    ) -> std::io::Result<Self> {
        let stream = tls_to(trust, from, to).await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Posts a body to the report path. Returns the status and the body of the response.
    ///
    /// # Errors
    /// If the connection is aborted.
    pub async fn post(
        &mut self,
        token: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Bytes), hyper::Error> {
        self.post_to(ebb_contract::PATH, token, body).await
    }

    /// Like [`Line::post`], but sends the request to this path.
    ///
    /// # Errors
    /// If the connection is aborted.
    pub async fn post_to(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, Bytes), hyper::Error> {
        let mut request = Request::post(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }

    /// Sends a report.
    ///
    /// # Errors
    /// If the report is refused (the error text is the response's status and body), or the connection is aborted.
    pub async fn report(&mut self, token: &str, report: &Report<'_>) -> Result<Receipt, String> {
        let body = serde_json::to_vec(report).expect("JSON");
        let (status, answer) = self
            .post(Some(token), body)
            .await
            .map_err(|error| error.to_string())?;
        if status != StatusCode::OK {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)));
        }
        serde_json::from_slice(&answer).map_err(|error| error.to_string())
    }
}
