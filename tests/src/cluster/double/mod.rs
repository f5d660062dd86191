//! An API server in this process, for machines without a real one.
//!
//! It serves the HTTP the autoscaler speaks: list, watch, patch, scale, leases, token requests and reviews, discovery,
//! with resource versions and the refusals that matter. Behind it run the controllers that make pods of Deployments.
//! Bias: where it is simpler than the real one it is stricter, and it never checks who may do what; what RBAC allows
//! only a real one can tell.

mod controllers;
mod http;
mod kinds;
mod patch;
mod refusal;
mod store;
mod tokens;
mod verbs;

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
            objects
                .into_iter()
                .map(|object| {
                    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                    let namespace = text(&object["metadata"]["namespace"]);
                    let kind = inner
                        .kinds
                        .of(&text(&object["apiVersion"]), &text(&object["kind"]));
                    let kind = kind.cloned().expect("a known kind");
                    inner
                        .create(&kind, &namespace, object)
                        .expect("a new object")
                })
                .collect()
        })
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
                    let connection = hyper::server::conn::http1::Builder::new();
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
