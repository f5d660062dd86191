//! An HTTP/1.1 connection to a backend, and whether it is fit for one more request.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::body::Outgoing;
use crate::socket::Socket;

/// One lost SYN is sent again after 1 s; a second loss means that nobody is there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {CONNECT_TIMEOUT:?}")]
    Timeout(#[from] Elapsed),
    #[error("cannot connect: {0}")]
    Io(#[from] io::Error),
    #[error("cannot begin http/1.1: {0}")]
    Handshake(#[from] hyper::Error),
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    socket: Socket,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, ConnectError> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let socket = Socket::new(stream);
        let (sender, driver) = http1::handshake(TokioIo::new(socket.clone())).await?;
        tokio::spawn(async move {
            if let Err(error) = driver.with_upgrades().await {
                tracing::debug!(%address, %error, "connection to a backend ended");
            }
        });
        Ok(Connection { sender, socket })
    }

    /// hyper has seen the end of the response before and waits for a request.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Closed by either side, whether or not hyper has come to read it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.socket.is_closed_by_peer()
    }
}
