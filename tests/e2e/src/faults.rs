//! Faults between a program and its API server: a relay in front of the server that freezes, delays or refuses connections,
//! or accepts them and never answers.
//!
//! The relay copies bytes, so it works for a real API server and for the double. A program reaches the relay through its
//! kubeconfig. The test itself bypasses the relay and sees the true state.

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

/// Most bytes per read.
const CHUNK: usize = 64 << 10;
/// Most chunks in transit in one direction of a delayed connection.
const UNDER_WAY: usize = 64;

/// The state of the path to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As without the relay.
    Open,
    /// Answers are delayed by this time.
    Late(Duration),
    /// Connections are aborted, new ones refused.
    Refused,
    /// Connections are accepted, and no byte passes through any of them.
    Silent,
}

/// A relay. Connections end when it is dropped.
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
    /// Connections with a lower number are frozen: they stay open, and no byte passes.
    frozen_below: watch::Sender<u64>,
    next: AtomicU64,
}

impl ApiWay {
    /// Starts a relay to an API server.
    ///
    /// # Panics
    /// If the URL has no address.
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

    /// Sets the mode from now on.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Freezes the existing connections for ever; new connections work.
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
            // The end of either side ends both.
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

    /// Copies one direction.
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
                    // Bytes in transit are delivered before the end.
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

    /// Waits while nothing may pass through a connection.
    async fn passes(&self, number: u64) {
        let mut frozen_below = self.frozen_below.subscribe();
        if *frozen_below.borrow_and_update() > number {
            // A frozen connection waits for ever.
            std::future::pending::<()>().await;
        }
        let mut mode = self.mode.subscribe();
        // The relay lives as long as its connections.
        let _ = mode.wait_for(|mode| *mode != Mode::Silent).await;
        if *frozen_below.borrow_and_update() > number {
            std::future::pending::<()>().await;
        }
    }
}
