//! An API server in this process, for machines without a real one.
//!
//! It serves the HTTP the autoscaler speaks: list, watch, patch, scale, leases, token requests and reviews, discovery,
//! with resource versions, pages, bookmarks, selectors and the refusals that matter. Behind it run the controllers that make pods of Deployments.
//! Bias: where it is simpler than the real one it is stricter, and it never checks who may do what; what RBAC allows
//! only a real one can tell.

mod admission;
mod audit;
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
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::http::Server;
use self::store::Store;
use super::{runtime, server_port};

/// Bytes of a request's head, `net/http`'s `DefaultMaxHeaderBytes` and its slack:
/// <https://pkg.go.dev/net/http#pkg-constants>.
const HEAD: usize = (1 << 20) + 4096;

/// A running double; gone when dropped.
#[derive(Debug)]
pub struct Double {
    address: SocketAddr,
    admin: String,
    up: watch::Sender<bool>,
    server: Arc<Server>,
}

impl Double {
    /// # Panics
    /// There is no port.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it opens a port: not a value to default to"
    )]
    pub fn new() -> Self {
        let this = Self::without_controllers();
        let store = Arc::clone(&this.server.store);
        runtime().spawn(controllers::run(store, this.server.up.clone()));
        this
    }

    /// One in which nothing happens by itself, for more objects than small controllers can look after.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn without_controllers() -> Self {
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
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server_port()));
        let this = Self {
            address,
            admin,
            up,
            server,
        };
        this.come_up();
        this
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A token that may do everything.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin
    }

    /// Creates objects, as they are written out.
    ///
    /// # Panics
    /// One is of a kind nobody knows, or there already.
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

    /// Takes objects away at once, and nothing with them.
    pub fn unseed<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) {
        self.server.store.with(|inner| {
            for object in objects {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let of = (text(&object["apiVersion"]), text(&object["kind"]));
                let Some(kind) = inner.kinds.of(&of.0, &of.1).cloned() else {
                    continue;
                };
                // Somebody else may have been faster.
                inner.take(&store::key_of(&kind.resource(), object)).ok();
            }
        });
    }

    /// Requests of service accounts whose path has `fragment` in it are refused with this status from now on, 403 or one
    /// from 500 on; with 0 as before.
    pub fn refuse(&self, fragment: &str, status: u16) {
        self.server.refused.set(fragment, status);
    }

    /// Forgets what happened so far: a watch that begins before now is too old.
    pub fn compact(&self) {
        self.server.store.with(store::Inner::compact);
    }

    /// What service accounts have asked so far, as an audit log has it.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        self.server.audit.entries()
    }

    /// Goes away: the port is closed, connections break off. Nothing is forgotten.
    pub fn go_away(&self) {
        self.up.send_replace(false);
    }

    /// Comes back where it was.
    ///
    /// # Panics
    /// Somebody took its port.
    pub fn come_up(&self) {
        self.up.send_replace(true);
        let (server, mut up) = (Arc::clone(&self.server), self.up.subscribe());
        let listener = runtime()
            .block_on(TcpListener::bind(self.address))
            .expect("the double's port");
        runtime().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = up.wait_for(|up| !up) => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                // As the real one's: an event is one write, and waiting to fill a packet takes 40 ms.
                stream.set_nodelay(true).ok();
                let (server, mut up) = (Arc::clone(&server), up.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let server = Arc::clone(&server);
                        async move { Ok::<_, Infallible>(server.answer(request).await) }
                    });
                    let mut connection = hyper::server::conn::http1::Builder::new();
                    // What Go's server reads of a request's head: a name may be as long.
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
