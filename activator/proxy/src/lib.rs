//! An HTTP reverse proxy that queues requests while no backend is ready to serve them.
//!
//! `ebb run` uses this proxy on one host. The Kubernetes activator (`ebb-activator`) uses it with another source of
//! backends. The owner of the backends adds a backend to the [`Pool`] when it is ready, and removes it before it stops.
//! [`serve()`] accepts connections and sends each request to the backend with the fewest requests in flight.
//!
//! Bias: towards answering. A request that has reached no backend is queued and tried again for up to
//! [`Limits::max_wait`]. A request that may have reached a backend is sent again only where HTTP says that a retry is
//! safe. Failure mode: if the queue is full, the proxy answers with 503. If a request is queued for too long, the proxy
//! answers with 504. Both responses have one line of text with the reason. If a backend aborts, the proxy answers with
//! 502, or aborts the response if it has already begun.
//!
//! Only headers are buffered: bodies stream in both directions at the pace of the slower side. The memory used for
//! clients is limited in bytes, over all listeners of a process: see [`Budget`]. The proxy detects HTTP/1 and HTTP/2
//! without TLS from the first bytes of a connection. The [`Protocol`] of a pool is the protocol of its backends.
//!
//! ```no_run
//! use ebb_proxy::{Limits, Pool, serve};
//!
//! # async fn start_a_replica() -> std::net::SocketAddr { ([127, 0, 0, 1], 9000).into() }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::new(Limits::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let server = tokio::spawn(serve(listener, pool.clone(), async {
//!     let _ = tokio::signal::ctrl_c().await;
//! }));
//!
//! pool.wake_up().await; // a request is queued, and there is no backend
//! let address = start_a_replica().await; // ready: it accepts connections
//! pool.add(1, address); // queued requests go to it at once
//!
//! pool.remove(1); // no new requests
//! pool.drained(1).await; // its requests are answered: it can be stopped
//! server.await??;
//! # Ok(())
//! # }
//! ```

mod acked;
mod backend;
mod body;
mod budget;
mod counts;
mod forward;
mod guard;
mod headers;
mod limits;
mod memory;
mod pool;
mod protocol;
mod refusal;
mod reject;
mod replayable_body;
mod runtime;
mod send;
mod serve;
mod session;
mod socket;
mod tunnel;
mod unread;

pub use budget::{Account, Budget};
pub use counts::{Counts, Reason};
pub use limits::Limits;
pub use pool::{ColdStarts, Pool, QueueState};
pub use protocol::Protocol;
pub use runtime::runtime;
pub use serve::{ServeError, serve, serve_until};
