//! An upgraded connection. After a 101 response, the proxy copies bytes in both directions and does not interpret them.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::pool::Permit;

/// Both ends of an upgraded connection. The connection counts as one request in flight until it ends.
pub(crate) struct Tunnel {
    client: OnUpgrade,
    backend: OnUpgrade,
    _permit: Permit,
}

impl Tunnel {
    pub(crate) fn new(client: OnUpgrade, backend: OnUpgrade, permit: Permit) -> Self {
        Tunnel {
            client,
            backend,
            _permit: permit,
        }
    }

    /// Runs until both ends have closed or one of them aborts.
    pub(crate) async fn run(self) {
        let (client, backend) = match tokio::try_join!(self.client, self.backend) {
            Ok(both) => both,
            Err(error) => return tracing::debug!(%error, "upgrade aborted"),
        };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        match copy_bidirectional(&mut client, &mut backend).await {
            Ok((sent, received)) => tracing::debug!(sent, received, "upgraded connection ended"),
            Err(error) => tracing::debug!(%error, "upgraded connection aborted"),
        }
    }
}
