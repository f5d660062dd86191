//! The front door: an HTTP reverse proxy that holds requests while there is nothing to serve them.
//!
//! `ebb run` listens with it on one host; the Kubernetes activator is the same library behind a
//! different source of backends. Whoever owns the backends tells the [`Pool`] when one is ready
//! and when one leaves; [`serve()`] takes connections and sends each request to the backend with
//! the least in flight.
//!
//! Bias: towards answering. A request that nothing has reached is held and tried again until
//! [`Limits::max_wait`] is over; one that may have reached a backend is sent again only where
//! HTTP says that this is safe. Failure mode: a full queue or a wait too long is answered by the
//! door itself, with 503 or 504 and one line of text that says which; a backend that breaks off
//! is answered with 502, or, once the response has begun, by breaking off too.
//!
//! Nothing is buffered but headers: bodies stream both ways at the pace of the slower side. What is kept for clients is
//! bounded in bytes, over all doors of a process: see [`Budget`]. HTTP/1 and
//! HTTP/2 without TLS are told apart by their first bytes; what a backend speaks is its [`Protocol`].
//!
//! ```no_run
//! use ebb_activator::{Limits, Pool, serve};
//!
//! # async fn start_a_copy() -> std::net::SocketAddr { ([127, 0, 0, 1], 9000).into() }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::new(Limits::default());
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! let door = tokio::spawn(serve(listener, pool.clone(), async {
//!     let _ = tokio::signal::ctrl_c().await;
//! }));
//!
//! pool.wanted().await; // a request waits, and there is nothing to serve it
//! let address = start_a_copy().await; // ready: it accepts connections
//! pool.add(1, address); // whatever waits goes to it at once
//!
//! pool.remove(1); // no new requests
//! pool.drained(1).await; // those it had are answered: it can be stopped
//! door.await??;
//! # Ok(())
//! # }
//! ```

mod acked;
mod backend;
mod body;
mod budget;
#[cfg(feature = "kubernetes")]
pub mod cluster;
mod counts;
mod forward;
mod guard;
mod headers;
mod limits;
mod memory;
mod outgoing;
mod pool;
mod protocol;
mod refusal;
mod runtime;
mod send;
mod serve;
mod session;
mod socket;
mod tunnel;
mod turned_away;
mod unread;

pub use budget::{Account, Budget};
pub use counts::{Counts, Reason};
pub use limits::Limits;
pub use pool::{ColdStarts, Held, Pool};
pub use protocol::Protocol;
pub use runtime::runtime;
pub use serve::{ServeError, serve, serve_until};
