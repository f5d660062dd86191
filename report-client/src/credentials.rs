//! The credentials for reports: the token of the sender, and the certificate authority of the autoscaler.
//!
//! The token and the authority are files that the kubelet or cert-manager may renew while the program runs. Each file
//! is read when it is used, but the token at most every 30 s. An old token stays valid for minutes after its renewal: a
//! token that is valid for an hour is renewed after 48 minutes.

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

/// Time for which a token is used before its file is read again.
const FRESH: Duration = Duration::from_secs(30);

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The token cannot be the value of a header.
    #[error("{path}: not a valid token: {source}")]
    Token {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: InvalidHeaderValue,
    },
    /// The file has no certificates in PEM format.
    #[error("{path}: no valid PEM certificates: {source}")]
    Certificates {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The certificates cannot be used.
    #[error("certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// No file with the authority of the autoscaler's certificate was given.
    #[error("--autoscaler-ca is missing: it is required with https://")]
    NoAuthority,
}

/// The paths of the files, and the token as last read.
#[derive(Debug)]
pub struct Credentials {
    token: Option<PathBuf>,
    authority: Option<PathBuf>,
    read: Mutex<Option<(Instant, HeaderValue)>>,
}

impl Credentials {
    /// Creates credentials from the token file and the file with the authority of the autoscaler's certificate; for
    /// `http`, neither file is needed. The files are read when they are used.
    pub fn new(token: Option<PathBuf>, authority: Option<PathBuf>) -> Self {
        Self {
            token,
            authority,
            read: Mutex::new(None),
        }
    }

    /// Returns the `Authorization` header; `None` without a token file.
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

    /// Discards the cached token after a refusal, so that the file is read again.
    pub(crate) fn doubt(&self) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Returns a TLS connector that accepts a server whose certificate the authority has signed.
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
