//! An API server in a test's own process, for machines without a real one.
//!
//! The double serves the part of the Kubernetes API that Ebb's programs use: list, watch, patch, scale, leases, token
//! requests and reviews, and discovery. It implements resource versions, pages, bookmarks, selectors and the important
//! error responses. Controllers in the same process create the pods of Deployments.
//!
//! Bias: where the double is simpler than a real API server, it is stricter. One exception: the double never checks
//! permissions, so only a real API server can show whether RBAC rules suffice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the double is test code: it panics, so that the backtrace stays"
)]

mod admission;
mod audit;
#[cfg(test)]
mod client;
mod controllers;
mod http;
mod kinds;
mod pages;
mod patch;
mod refusal;
mod selector;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod verbs;
mod watching;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::http::Server;
use self::store::Store;

/// Maximum size of a request head, bytes: `DefaultMaxHeaderBytes` of Go's `net/http`, plus the 4096 bytes that Go adds:
/// <https://pkg.go.dev/net/http#pkg-constants>.
const HEAD: usize = (1 << 20) + 4096;

/// A running double. Dropping it ends the double.
#[derive(Debug)]
pub struct Double {
    runtime: Handle,
    address: SocketAddr,
    admin: String,
    up: watch::Sender<bool>,
    server: Arc<Server>,
}

impl Double {
    /// Starts a double that listens at `address`. Its tasks run on `runtime`.
    ///
    /// # Panics
    /// If another process has the port.
    #[must_use]
    pub fn new(runtime: &Handle, address: SocketAddr) -> Self {
        let this = Self::without_controllers(runtime, address);
        let store = Arc::clone(&this.server.store);
        runtime.spawn(controllers::run(store, this.server.up.clone()));
        this
    }

    /// Like [`Self::new`], but without controllers: for more objects than the simple controllers can handle.
    ///
    /// # Panics
    /// If another process has the port.
    #[must_use]
    pub fn without_controllers(runtime: &Handle, address: SocketAddr) -> Self {
        let (up, is_up) = watch::channel(false);
        let store = Arc::new(Store::new());
        let admin = "double-admin".to_owned();
        let server = Arc::new(Server {
            store,
            tokens: tokens::Tokens::default(),
            pages: pages::Pages::default(),
            audit: audit::Audit::default(),
            refused: http::Refused::default(),
            admin: admin.clone(),
            up: is_up,
        });
        let this = Self {
            runtime: runtime.clone(),
            address,
            admin,
            up,
            server,
        };
        this.come_up();
        this
    }

    /// The double's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the bearer token of an administrator, who has all rights.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin
    }

    /// Creates objects without a check of quotas and namespaces, and creates missing namespaces. Returns the objects as
    /// stored.
    ///
    /// # Panics
    /// If an object's kind is unknown, or the object already exists.
    pub fn seed(&self, objects: impl IntoIterator<Item = Value>) -> Vec<Value> {
        self.server.store.with(|inner| {
            let seeded: Vec<_> = objects
                .into_iter()
                .map(|object| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let namespace = text(&object["metadata"]["namespace"]);
                    let kind = inner
                        .kinds
                        .of(&text(&object["apiVersion"]), &text(&object["kind"]));
                    let kind = kind.cloned().expect("a known kind");
                    inner
                        .insert(&kind, &namespace, object)
                        .expect("a new object")
                })
                .collect();
            for object in &seeded {
                if let Some(namespace) = object["metadata"]["namespace"].as_str() {
                    inner.make_namespace(namespace);
                }
            }
            seeded
        })
    }

    /// Removes objects immediately (without a grace period), but not their dependents.
    pub fn unseed<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) {
        self.server.store.with(|inner| {
            for object in objects {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let of = (text(&object["apiVersion"]), text(&object["kind"]));
                let Some(kind) = inner.kinds.of(&of.0, &of.1).cloned() else {
                    continue;
                };
                // A controller may have deleted the object already, so an error is ignored.
                inner.take(&store::key_of(&kind.resource(), object)).ok();
            }
        });
    }

    /// From now on, refuses each request of a service account whose path contains `fragment`. `status` is the
    /// response's status: 403, or 500 or above; 0 ends the refusal.
    pub fn refuse(&self, fragment: &str, status: u16) {
        self.server.refused.set(fragment, status);
    }

    /// Drops the history: a watch that starts from an older resource version gets the error `410 Gone`.
    pub fn compact(&self) {
        self.server.store.with(store::Inner::compact);
    }

    /// Returns the requests of service accounts so far, in the form of an audit log.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        self.server.audit.entries()
    }

    /// Stops the double: the port is closed and connections are aborted. All objects are kept.
    pub fn go_away(&self) {
        self.up.send_replace(false);
    }

    /// Starts the double again at the same port.
    ///
    /// # Panics
    /// If another process took the port.
    pub fn come_up(&self) {
        self.up.send_replace(true);
        let (server, mut up) = (Arc::clone(&self.server), self.up.subscribe());
        let listener = self
            .runtime
            .block_on(TcpListener::bind(self.address))
            .expect("the double's port");
        self.runtime.spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = up.wait_for(|up| !up) => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                // A real API server sets `TCP_NODELAY` too. Without it, the kernel could delay a watch event, which is
                // one small write, by 40 ms.
                stream.set_nodelay(true).ok();
                let (server, mut up) = (Arc::clone(&server), up.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let server = Arc::clone(&server);
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    let mut connection = hyper::server::conn::http1::Builder::new();
                    // Go's server accepts a request head of this size, so a request may contain a name of almost this
                    // length.
                    connection.max_buf_size(HEAD);
                    let connection = connection.serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        _ = connection => {}
                        _ = up.wait_for(|up| !up) => {}
                    }
                });
            }
        });
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.go_away();
    }
}
