//! Reports to a server whose answers the test sets, in plain text and over TLS.

use std::{collections::VecDeque, convert::Infallible, path::Path, sync::Mutex, time::Duration};

use ebb_contract::Receipt;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use prometheus_client::{encoding::text::encode, registry::Registry};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    net::TcpListener,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

/// Time limit for any report or metric that a test waits for. It is enough even on a loaded machine.
const SOON: Duration = Duration::from_secs(20);

/// The server's receipt for every report that it accepts.
const RECEIPT: Receipt = Receipt {
    taken: 2,
    unknown: 0,
    foreign: 1,
    senseless: 0,
};

/// A received request.
#[derive(Debug)]
struct ReceivedRequest {
    path: String,
    authorization: Option<String>,
    body: Bytes,
    /// Number of the connection on which the request arrived.
    connection: usize,
}

/// An autoscaler that answers with the statuses of a list, and afterwards with 200.
struct Server {
    port: u16,
    arrived: UnboundedReceiver<ReceivedRequest>,
    script: Arc<Script>,
}

/// The answers of a server.
#[derive(Default)]
struct Script {
    /// The statuses of the next answers; 200 if the list is empty. While the first status is [`HOLD`], the server waits
    /// until [`Script::push`] removes it.
    answers: Mutex<VecDeque<u16>>,
    more: Notify,
}

const HOLD: u16 = 0;

impl Script {
    fn push(&self, statuses: &[u16]) {
        let mut answers = self.answers.lock().unwrap();
        answers.retain(|status| *status != HOLD);
        answers.extend(statuses);
        self.more.notify_one();
    }

    async fn next(&self) -> u16 {
        loop {
            let front = self.answers.lock().unwrap().front().copied();
            match front {
                Some(HOLD) => self.more.notified().await,
                _ => return self.answers.lock().unwrap().pop_front().unwrap_or(200),
            }
        }
    }
}

impl Server {
    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, arrived) = unbounded_channel();
        let script = Arc::default();
        tokio::spawn(accept(listener, tls, sender, Arc::clone(&script)));
        Self {
            port,
            arrived,
            script,
        }
    }

    async fn next(&mut self) -> ReceivedRequest {
        let arrived = timeout(SOON, self.arrived.recv()).await;
        arrived.expect("a report in time").expect("a server")
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    sender: UnboundedSender<ReceivedRequest>,
    script: Arc<Script>,
) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.unwrap();
        let (sender, script) = (sender.clone(), Arc::clone(&script));
        let service = service_fn(move |request: Request<Incoming>| {
            let (sender, script) = (sender.clone(), Arc::clone(&script));
            async move {
                let (head, body) = request.into_parts();
                let arrived = ReceivedRequest {
                    path: head.uri.path().to_owned(),
                    authorization: head
                        .headers
                        .get("authorization")
                        .map(|value| value.to_str().unwrap().to_owned()),
                    body: body.collect().await.unwrap().to_bytes(),
                    connection,
                };
                sender.send(arrived).ok();
                let status = script.next().await;
                let receipt = serde_json::to_vec(&RECEIPT).unwrap();
                let response = Response::builder()
                    .status(status)
                    .body(Full::new(Bytes::from(receipt)))
                    .unwrap();
                Ok::<_, Infallible>(response)
            }
        });
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None => {
                    let io = TokioIo::new(stream);
                    http1::Builder::new()
                        .serve_connection(io, service)
                        .await
                        .ok();
                }
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let io = TokioIo::new(stream);
                        http1::Builder::new()
                            .serve_connection(io, service)
                            .await
                            .ok();
                    }
                }
            }
        });
    }
}

/// A task that sends reports to a server.
struct Sent {
    reports: watch::Sender<Bytes>,
    registry: Registry,
    _tasks: JoinSet<()>,
}

impl Sent {
    fn to(url: &str, credentials: Credentials) -> Self {
        let (reports, newest) = watch::channel(Bytes::new());
        let mut registry = Registry::default();
        let sending = Sending::registered(&mut registry, "reported_pods", "Pods in reports");
        let mut tasks = JoinSet::new();
        let url = url.parse().unwrap();
        let credentials = Arc::new(credentials);
        tasks.spawn(send(url, ebb_contract::PATH, credentials, newest, sending));
        Self {
            reports,
            registry,
            _tasks: tasks,
        }
    }

    fn report(&self, body: &'static str) {
        self.reports.send_replace(Bytes::from(body));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        text
    }

    /// Waits until the metrics contain a line.
    async fn shows(&self, line: &str) {
        let shown = async {
            while !self.text().contains(line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, shown).await.expect(line);
    }
}

fn files(token: &Path, authority: Option<&Path>) -> Credentials {
    Credentials::new(Some(token.into()), authority.map(Into::into))
}

#[tokio::test]
async fn reports_arrive_on_one_connection() {
    let mut server = Server::start(None).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let sent = Sent::to(&url, Credentials::new(None, None));
    for body in ["one", "two"] {
        sent.report(body);
        let arrived = server.next().await;
        assert_eq!(
            (&*arrived.path, &*arrived.body),
            (ebb_contract::PATH, body.as_bytes())
        );
        assert_eq!((arrived.connection, arrived.authorization), (0, None));
    }
    sent.shows("autoscaler_addresses{host=\"127.0.0.1\"} 1")
        .await;
    sent.shows("reports_total{outcome=\"accepted\"} 2").await;
    sent.shows("reported_pods_total{outcome=\"accepted\"} 4")
        .await;
    sent.shows("reported_pods_total{outcome=\"foreign\"} 2")
        .await;
}

#[tokio::test]
async fn every_address_of_a_name_gets_each_report() {
    // `localhost` has two loopback addresses (IPv4 and IPv6); the server listens on one of them.
    let mut server = Server::start(None).await;
    let url = format!("http://localhost:{}", server.port);
    let sent = Sent::to(&url, Credentials::new(None, None));
    sent.report("one");
    assert_eq!(server.next().await.body, "one");
    sent.report("two");
    assert_eq!(server.next().await.body, "two");
}

#[tokio::test]
async fn only_the_newest_report_waits() {
    let mut server = Server::start(None).await;
    server.script.push(&[HOLD]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let sent = Sent::to(&url, Credentials::new(None, None));
    sent.report("first");
    assert_eq!(server.next().await.body, "first");
    // The replica has not answered the first report yet, so the second report waits.
    for body in ["second", "third", "fourth"] {
        sent.report(body);
    }
    server.script.push(&[200]);
    assert_eq!(server.next().await.body, "fourth");
    sent.shows("reports_total{outcome=\"accepted\"} 2").await;
}

#[tokio::test]
async fn a_refused_token_is_read_again() {
    for status in [401, 403] {
        refused_with(status).await;
    }
}

async fn refused_with(status: u16) {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "old\n").unwrap();
    let mut server = Server::start(None).await;
    server.script.push(&[200, status]);
    let url = format!("http://127.0.0.1:{}", server.port);
    let sent = Sent::to(&url, files(&token, None));
    sent.report("one");
    let arrived = server.next().await;
    assert_eq!(arrived.authorization.as_deref(), Some("Bearer old"));
    std::fs::write(&token, "new\n").unwrap();
    sent.report("two");
    let arrived = server.next().await;
    // The token file is not read again while the server accepts the token.
    assert_eq!(arrived.authorization.as_deref(), Some("Bearer old"));
    sent.shows("reports_total{outcome=\"rejected\"} 1").await;
    sent.report("three");
    let arrived = server.next().await;
    assert_eq!(arrived.authorization.as_deref(), Some("Bearer new"));
    assert_eq!(
        arrived.body, "three",
        "the newest report is sent, and not the rejected one"
    );
}

#[tokio::test]
async fn a_replica_is_tried_until_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let sent = Sent::to(
        &format!("http://127.0.0.1:{port}"),
        Credentials::new(None, None),
    );
    sent.report("one");
    sent.shows("reports_total{outcome=\"lost\"} 1").await;
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let (sender, mut arrived) = unbounded_channel();
    tokio::spawn(accept(listener, None, sender, Arc::default()));
    sent.report("two");
    let arrived = timeout(SOON, arrived.recv()).await.unwrap().unwrap();
    assert_eq!(arrived.body, "two");
}

fn certificate(folder: &Path, name: &str) -> (TlsAcceptor, std::path::PathBuf) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = folder.join("ca.crt");
    std::fs::write(&path, cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), path)
}

#[tokio::test]
async fn the_autoscaler_has_to_prove_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret").unwrap();
    let (acceptor, authority) = certificate(folder.path(), "localhost");
    let mut server = Server::start(Some(acceptor)).await;
    let url = format!("https://localhost:{}", server.port);
    let sent = Sent::to(&url, files(&token, Some(&authority)));
    sent.report("one");
    assert_eq!(
        server.next().await.authorization.as_deref(),
        Some("Bearer secret")
    );

    // The known authority has signed this certificate, but for another host name. So the client rejects it.
    let (acceptor, authority) = certificate(folder.path(), "elsewhere");
    let mut server = Server::start(Some(acceptor)).await;
    let url = format!("https://localhost:{}", server.port);
    let sent = Sent::to(&url, files(&token, Some(&authority)));
    sent.report("one");
    sent.shows("reports_total{outcome=\"lost\"} ").await;
    assert!(
        server.arrived.try_recv().is_err(),
        "no token was sent to a server with another name"
    );

    // The certificate files have been renewed. The client reads them again for the next connection.
    let (acceptor, _) = certificate(folder.path(), "localhost");
    let mut server = Server::start(Some(acceptor)).await;
    let url = format!("https://localhost:{}", server.port);
    let sent = Sent::to(&url, files(&token, Some(&authority)));
    sent.report("two");
    assert_eq!(server.next().await.body, "two");
}
