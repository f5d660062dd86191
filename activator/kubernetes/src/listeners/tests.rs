//! Tests that listeners open, change and close according to the record of ports and the EndpointSlices. All connections
//! use the loopback interface.

use std::time::Duration;

use ebb_proxy::Protocol;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::slice::InPath;

const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn service(name: &str) -> Service {
    Service {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

/// Returns the record of a Service with one port.
fn allotted(number: u16) -> Allotment {
    Allotment {
        service_uid: "u".to_owned(),
        ports: [("http".to_owned(), number)].into(),
        ..Allotment::default()
    }
}

fn record(listeners: &Listeners, of: &str, allotment: Allotment) {
    listeners.record("shop", [(of.to_owned(), allotment)].into());
}

fn leads_to(of: &str, addresses: &[IpAddr]) -> Slice {
    Slice {
        service: service(of),
        content: SliceContent::InPath(InPath {
            service_uid: "u".to_owned(),
            addresses: addresses.to_vec(),
        }),
    }
}

fn ready(of: &str, addresses: &[&str]) -> Slice {
    let addresses = addresses
        .iter()
        .map(|text| text.parse().expect("an address"));
    let ready = ReadyAddresses {
        protocol: Protocol::Detect,
        addresses: addresses.collect(),
    };
    Slice {
        service: service(of),
        content: SliceContent::Ready([("http".to_owned(), ready)].into()),
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

async fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    found.expect("it happens")
}

/// Waits until `listeners` has `count` Service ports to report, and returns them.
async fn until_seen(listeners: &Listeners, count: usize) -> Vec<PortSnapshot> {
    until(|| Some(listeners.snapshot()).filter(|port| port.len() == count)).await
}

fn pods(listeners: &Listeners) -> Vec<SocketAddr> {
    let state = listeners.lock();
    let all = state.ports.values();
    all.flat_map(|proxied| proxied.pods.keys().copied())
        .collect()
}

/// Starts a server that answers one request on each connection.
async fn pod() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _read = stream.read(&mut buffer).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _sent = stream.write_all(answer).await;
            });
        }
    });
    address
}

/// Sends a request to the port `number` and returns the status of the response.
async fn ask(number: u16) -> Result<u16, String> {
    let stream = TcpStream::connect(("127.0.0.1", number))
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = hyper::Request::get("/")
        .header("host", "web")
        .body(Empty::<Bytes>::new())
        .expect("a request");
    let answer = sender.send_request(request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let _body = answer.into_body().collect().await;
    Ok(status)
}

#[tokio::test]
async fn a_listener_opens_follows_and_closes_as_the_record_says() {
    let (end, closing) = watch::channel(false);
    let listeners = Listeners::new(Limits::default(), OWN, OWN, closing);
    let number = free_port();
    listeners.slice(
        "shop",
        "web-x",
        Some(ready("web", &["127.0.0.1:1", "127.0.0.1:2"])),
    );
    listeners.slice("shop", "web-ebb", Some(leads_to("web", &[OWN])));
    assert!(
        listeners.snapshot().is_empty(),
        "no listener is opened for a Service without recorded ports"
    );
    assert!(listeners.lacks_record());
    record(&listeners, "web", allotted(number));
    assert!(!listeners.lacks_record());
    let seen = until_seen(&listeners, 1).await;
    assert_eq!((seen[0].number, seen[0].in_path), (number, true));
    assert_eq!(pods(&listeners).len(), 2);
    listeners.slice("shop", "web-ebb", Some(leads_to("web", &[])));
    assert!(!listeners.snapshot()[0].in_path);
    listeners.slice("shop", "web-x", Some(ready("web", &["127.0.0.1:2"])));
    assert_eq!(
        pods(&listeners),
        ["127.0.0.1:2".parse().expect("an address")]
    );
    listeners.slice("shop", "web-x", None);
    assert!(pods(&listeners).is_empty());
    listeners.record("shop", BTreeMap::new());
    until_seen(&listeners, 0).await;
    end.send_replace(true);
    listeners.closed().await;
    std::net::TcpListener::bind(("127.0.0.1", number))
        .expect("the listener is closed, so the port is free again");
}

#[tokio::test]
async fn t2_the_slice_of_a_service_of_another_uid_leads_nobody() {
    let (_end, closing) = watch::channel(false);
    let listeners = Listeners::new(Limits::default(), OWN, OWN, closing);
    let mut other = allotted(free_port());
    other.service_uid = "another".to_owned();
    record(&listeners, "web", other);
    listeners.slice("shop", "web-ebb", Some(leads_to("web", &[OWN])));
    assert!(!until_seen(&listeners, 1).await[0].in_path);
}

#[tokio::test]
async fn pods_may_be_those_of_another_service() {
    let (_end, closing) = watch::channel(false);
    let listeners = Listeners::new(Limits::default(), OWN, OWN, closing);
    let mut limited = allotted(free_port());
    limited.pods_of = Some("web-pods".to_owned());
    limited.hard_limit = 1;
    record(&listeners, "web", limited);
    listeners.slice("shop", "p", Some(ready("web-pods", &["127.0.0.1:1"])));
    assert_eq!(pods(&listeners).len(), 1);
}

#[tokio::test]
async fn p12_who_is_queued_when_the_number_changes_is_served() {
    let (_end, closing) = watch::channel(false);
    let listeners = Listeners::new(Limits::default(), OWN, OWN, closing);
    let (before, after) = (free_port(), free_port());
    record(&listeners, "web", allotted(before));
    until_seen(&listeners, 1).await;
    let queued: Vec<_> = (0..5).map(|_| tokio::spawn(ask(before))).collect();
    let queue_length = |listeners: &Listeners| {
        listeners
            .snapshot()
            .iter()
            .map(|port| port.pool.queued().now)
            .sum::<u64>()
    };
    until(|| (queue_length(&listeners) == 5).then_some(())).await;
    record(&listeners, "web", allotted(after));
    until(|| {
        listeners
            .snapshot()
            .iter()
            .any(|port| port.number == after)
            .then_some(())
    })
    .await;
    assert_eq!(
        queue_length(&listeners),
        5,
        "the queued requests are reported under the new port number"
    );
    // A node that has not received the new port number yet sends a request to the old number. The activator must queue
    // this request, too.
    let late = tokio::spawn(ask(before));
    let new = tokio::spawn(ask(after));
    until(|| (queue_length(&listeners) == 7).then_some(())).await;
    let pod = pod().await.to_string();
    listeners.slice("shop", "web-x", Some(ready("web", &[&pod])));
    for request in queued.into_iter().chain([late, new]) {
        assert_eq!(request.await.expect("no panic"), Ok(200));
    }
}

#[tokio::test]
async fn p12_who_is_queued_when_the_port_closes_is_served_and_then_it_is_gone() {
    let (_end, closing) = watch::channel(false);
    let mut listeners = Listeners::new(Limits::default(), OWN, OWN, closing);
    listeners.lingers = Duration::ZERO;
    let number = free_port();
    record(&listeners, "web", allotted(number));
    until_seen(&listeners, 1).await;
    let queued: Vec<_> = (0..5).map(|_| tokio::spawn(ask(number))).collect();
    let queue_length = |listeners: &Listeners| {
        listeners
            .snapshot()
            .iter()
            .map(|port| port.pool.queued().now)
            .sum::<u64>()
    };
    until(|| (queue_length(&listeners) == 5).then_some(())).await;
    listeners.record("shop", BTreeMap::new());
    assert_eq!(
        queue_length(&listeners),
        5,
        "queued requests are still reported, so that the autoscaler starts a pod"
    );
    let pod = pod().await.to_string();
    listeners.slice("shop", "web-x", Some(ready("web", &[&pod])));
    for request in queued {
        assert_eq!(request.await.expect("no panic"), Ok(200));
    }
    until_seen(&listeners, 0).await;
    until(|| {
        let gone = std::net::TcpListener::bind(("127.0.0.1", number)).is_ok();
        gone.then_some(())
    })
    .await;
    until(|| {
        listeners.snapshot();
        listeners.lock().ports.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn p12_who_is_queued_when_the_port_is_renamed_is_served() {
    let (_end, closing) = watch::channel(false);
    let listeners = Listeners::new(Limits::default(), OWN, OWN, closing);
    let number = free_port();
    record(&listeners, "web", allotted(number));
    until_seen(&listeners, 1).await;
    let queued = tokio::spawn(ask(number));
    let queue_length = |listeners: &Listeners| {
        listeners
            .snapshot()
            .iter()
            .map(|port| port.pool.queued().now)
            .sum::<u64>()
    };
    until(|| (queue_length(&listeners) == 1).then_some(())).await;
    let mut renamed = allotted(free_port());
    let new = renamed.ports.remove("http").expect("its port");
    renamed.ports.insert("web".to_owned(), new);
    record(&listeners, "web", renamed);
    let pod = ReadyAddresses {
        protocol: Protocol::Detect,
        addresses: vec![pod().await],
    };
    let content = SliceContent::Ready([("web".to_owned(), pod)].into());
    let slice = Slice {
        service: service("web"),
        content,
    };
    listeners.slice("shop", "web-x", Some(slice));
    assert_eq!(queued.await.expect("no panic"), Ok(200));
}
