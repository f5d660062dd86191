//! Faults between a program and its API server. A relay in front of the server freezes, delays or refuses connections,
//! or accepts connections and never answers.
//!
//! The relay copies bytes, so it works for a real API server and for the API server double. The program's kubeconfig
//! contains the relay's URL. The test itself bypasses the relay, so it sees the true state.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{runtime, server_port};

/// Maximum number of bytes per read.
const CHUNK: usize = 64 << 10;
/// Maximum number of chunks in transit in one direction of a delayed connection.
const UNDER_WAY: usize = 64;

/// The fault that the relay causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No fault: all bytes are forwarded immediately.
    Open,
    /// Responses are delayed by this time.
    Late(Duration),
    /// Existing connections are aborted, and new connections are refused.
    Refused,
    /// Connections are accepted, but no byte passes through any connection.
    Silent,
}

/// A running relay to an API server. Dropping it aborts its connections.
#[derive(Debug)]
pub struct ApiWay {
    address: SocketAddr,
    scheme: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections with a lower number are frozen: they stay open, but no byte passes through them.
    frozen_below: watch::Sender<u64>,
    next: AtomicU64,
}

impl ApiWay {
    /// Starts a relay to an API server.
    ///
    /// # Panics
    /// If the URL does not consist of a scheme, an IP address and a port.
    #[must_use]
    pub fn to(url: &str) -> Self {
        let (scheme, to) = url.split_once("://").expect("a URL");
        let shared = Arc::new(Shared {
            to: to.trim_end_matches('/').parse().expect("an address"),
            mode: watch::Sender::new(Mode::Open),
            frozen_below: watch::Sender::new(0),
            next: AtomicU64::new(0),
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server_port()));
        let task = runtime().spawn(Arc::clone(&shared).listen(address));
        Self {
            address,
            scheme: scheme.to_owned(),
            shared,
            task,
        }
    }

    /// The relay's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Sets the fault that the relay causes from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Freezes the existing connections permanently. New connections are not frozen.
    pub fn freeze(&self) {
        let next = self.shared.next.load(Ordering::SeqCst);
        self.shared.frozen_below.send_replace(next);
    }
}

impl Drop for ApiWay {
    fn drop(&mut self) {
        self.set(Mode::Refused);
        self.task.abort();
    }
}

impl Shared {
    async fn listen(self: Arc<Self>, address: SocketAddr) {
        let mut mode = self.mode.subscribe();
        loop {
            if mode.wait_for(|mode| *mode != Mode::Refused).await.is_err() {
                return;
            }
            let Ok(listener) = TcpListener::bind(address).await else {
                return;
            };
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = mode.wait_for(|mode| *mode == Mode::Refused) => break,
                };
                let Ok((client, _)) = accepted else { continue };
                tokio::spawn(Arc::clone(&self).relay(client));
            }
        }
    }

    async fn relay(self: Arc<Self>, client: TcpStream) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let mut mode = self.mode.subscribe();
        let both = async {
            let server = TcpStream::connect(self.to).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            // When one direction ends, both directions end.
            tokio::select! {
                result = self.carry(number, from_client, to_server, false) => result,
                result = self.carry(number, from_server, to_client, true) => result,
            }
        };
        tokio::select! {
            result = both => drop::<std::io::Result<()>>(result),
            _ = mode.wait_for(|mode| *mode == Mode::Refused) => {}
        }
    }

    /// Copies the bytes of one direction of a connection. `answers`: true for the direction from the server to the
    /// client. [`Mode::Late`] delays only this direction.
    async fn carry(
        &self,
        number: u64,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        answers: bool,
    ) -> std::io::Result<()> {
        let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
        let read = async {
            loop {
                let mut chunk = vec![0; CHUNK];
                let bytes = from.read(&mut chunk).await?;
                chunk.truncate(bytes);
                if bytes == 0 || sender.send((Instant::now(), chunk)).await.is_err() {
                    // The connection must end only after all chunks in transit are written. So this future drops the
                    // sender and never ends. Without a sender, the future `write` ends after it has written the last
                    // chunk.
                    drop(sender);
                    return std::future::pending::<std::io::Result<()>>().await;
                }
            }
        };
        let write = async {
            while let Some((since, chunk)) = chunks.recv().await {
                self.passes(number).await;
                let mode = *self.mode.borrow();
                if let (Mode::Late(by), true) = (mode, answers) {
                    sleep_until(since + by).await;
                    self.passes(number).await;
                }
                to.write_all(&chunk).await?;
            }
            Ok(())
        };
        tokio::select! {
            result = read => result,
            result = write => result,
        }
    }

    /// Waits until the relay may pass bytes through the connection with this number. Never returns if this connection
    /// is frozen.
    async fn passes(&self, number: u64) {
        let mut frozen_below = self.frozen_below.subscribe();
        if *frozen_below.borrow_and_update() > number {
            // A frozen connection waits until it is aborted.
            std::future::pending::<()>().await;
        }
        let mut mode = self.mode.subscribe();
        // The wait for a change of `mode` cannot fail: each connection keeps the sender of this channel alive.
        let _ = mode.wait_for(|mode| *mode != Mode::Silent).await;
        if *frozen_below.borrow_and_update() > number {
            std::future::pending::<()>().await;
        }
    }
}
