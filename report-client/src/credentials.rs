//! What a report is sent with: a token that says who we are, and whom we take for the autoscaler.
//!
//! Both are files that kubelet or cert-manager renew while we run. They are read when they are used, the token at most
//! every half minute: a token of an hour is renewed after 48 minutes, so an old one is good for long after.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::header::{HeaderValue, InvalidHeaderValue};
use tokio::time::Instant;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

/// How long a token is used without a look at its file.
const FRESH: Duration = Duration::from_secs(30);

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token cannot be sent.
    #[error("{path}: holds no token: {source}")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidHeaderValue,
    },
    /// No certificates in PEM.
    #[error("{path}: holds no certificates: {source}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificates that cannot be used.
    #[error("certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// There is nothing to check the autoscaler's certificate with.
    #[error("no --autoscaler-ca given: https:// needs one")]
    NoAuthority,
}

/// The files, and what was last read of them.
#[derive(Debug)]
pub struct Credentials {
    token: Option<PathBuf>,
    authority: Option<PathBuf>,
    read: Mutex<Option<(Instant, HeaderValue)>>,
}

impl Credentials {
    /// The file of the token, and that of the certificates of who signs the autoscaler's; neither is needed for `http`.
    /// They are read when they are used.
    pub fn new(token: Option<PathBuf>, authority: Option<PathBuf>) -> Self {
        Self {
            token,
            authority,
            read: Mutex::new(None),
        }
    }

    /// The `Authorization` header; none where no token file was named.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        let Some(path) = &self.token else {
            return Ok(None);
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, header)) = &*read
            && at.elapsed() < FRESH
        {
            return Ok(Some(header.clone()));
        }
        let token = read_file(path)?;
        let text = format!("Bearer {}", String::from_utf8_lossy(&token).trim());
        let mut header =
            HeaderValue::from_str(&text).map_err(|source| CredentialsError::Token {
                path: path.clone(),
                source,
            })?;
        header.set_sensitive(true);
        *read = Some((Instant::now(), header.clone()));
        Ok(Some(header))
    }

    /// Has the token read again: it was refused.
    pub(crate) fn doubt(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What opens TLS connections to an autoscaler that the authority has signed for.
    pub(crate) fn connector(&self) -> Result<TlsConnector, CredentialsError> {
        let path = self
            .authority
            .as_ref()
            .ok_or(CredentialsError::NoAuthority)?;
        let pem = read_file(path)?;
        let certificates = |source| CredentialsError::Certificates {
            path: path.clone(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(certificates)?)?;
        }
        if roots.is_empty() {
            return Err(certificates(rustls::pki_types::pem::Error::NoItemsFound));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    fs::read(path).map_err(|source| CredentialsError::File {
        path: path.to_owned(),
        source,
    })
}
