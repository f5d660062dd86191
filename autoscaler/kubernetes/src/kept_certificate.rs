//! The certificate of the report port, kept up to date while the program runs.
//!
//! Failure mode: a certificate that cannot be read or used does not replace the one in use.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ebb_metrics::tasks::Tasks;
use kube::Client;
use tokio::time;
use tracing::{info, warn};

use crate::{
    certificate::CertificateKeeper,
    failure::Failure,
    ingest::tls::{Certificate, Pem},
    options::Options,
};

/// Interval at which the certificate is read again. The interval can be long, because cert-manager replaces a
/// certificate weeks before it expires.
const CERTIFICATE_AGAIN: Duration = Duration::from_secs(60);

/// Returns the certificate of the report port, and starts a task that keeps it up to date.
pub(super) async fn keep(
    options: &Options,
    client: Client,
    tasks: &Tasks,
) -> Result<Arc<Certificate>, Failure> {
    let source = match (&options.tls_certificate, &options.tls_key) {
        (Some(chain), Some(key)) => CertificateSource::Files(chain.clone(), key.clone()),
        _ => CertificateSource::Made(CertificateKeeper {
            client,
            namespace: options.namespace.clone(),
            names: options.tls_names.clone(),
        }),
    };
    let mut used = source.read().await?;
    let certificate = Certificate::new(&used)?;
    let kept = Arc::clone(&certificate);
    tasks.spawn("looking after the certificate", async move {
        loop {
            time::sleep(CERTIFICATE_AGAIN).await;
            match source.read().await {
                Ok(pem) if pem == used => {}
                Ok(pem) => match kept.replace(&pem) {
                    Ok(()) => {
                        info!("a new certificate is in use");
                        used = pem;
                    }
                    Err(error) => {
                        warn!(%error, "the new certificate cannot be used; the old one stays in use")
                    }
                },
                Err(error) => warn!(%error, "cannot read or renew the certificate; trying again"),
            }
        }
    });
    Ok(certificate)
}

/// The source of the certificate.
enum CertificateSource {
    Files(PathBuf, PathBuf),
    Made(CertificateKeeper),
}

impl CertificateSource {
    async fn read(&self) -> Result<Pem, Failure> {
        match self {
            Self::Files(chain, key) => Ok(Pem::read(chain, key)?),
            Self::Made(keeper) => Ok(keeper.certificate().await?),
        }
    }
}
