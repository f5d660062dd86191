//! Tests over real connections, in real time: they check which connection a request uses.

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{boot::BootClock, leadership::NotLeading};

/// Starts an API server that answers a limited number of requests on each connection. Returns its URL and the number of
/// connections that it has accepted.
async fn server(answers: impl Fn(usize) -> usize + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut left = answers(count.fetch_add(1, Ordering::Relaxed));
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                // Each request is small, so it arrives in one piece.
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    let _ = read;
                    if left == 0 {
                        continue;
                    }
                    left -= 1;
                    let body =
                        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}"#;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    let answer = format!("{head}{body}");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (url, accepted)
}

fn connections(url: &str) -> Connections {
    Connections::new(Config::new(url.parse().unwrap())).unwrap()
}

/// Renews the leadership for about one second. So a write may take at most about one second.
fn renew(leadership: &Leadership) {
    leadership.renewed(
        leadership.now(),
        Duration::from_millis(1_100),
        Duration::from_millis(1_250),
    );
}

#[tokio::test]
async fn p5_a_connection_that_froze_is_not_used_again() {
    // The server answers two requests on its first connection, and every request on later connections.
    let (url, accepted) = server(|number| if number == 0 { 2 } else { usize::MAX }).await;
    let leadership = Leadership::new(BootClock::new());
    let client = connections(&url)
        .client_of_leader(Arc::clone(&leadership))
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "n");
    let parameters = DeleteParams::default();
    for _ in 0..2 {
        renew(&leadership);
        maps.delete("a", &parameters).await.unwrap();
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1, "a connection is kept");
    renew(&leadership);
    let error = maps.delete("a", &parameters).await.unwrap_err();
    assert!(error.to_string().contains("no answer"), "{error}");
    renew(&leadership);
    maps.delete("a", &parameters).await.unwrap();
    assert_eq!(accepted.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn p6_nothing_is_sent_by_a_replica_that_does_not_lead() {
    let (url, accepted) = server(|_| usize::MAX).await;
    let leadership = Leadership::new(BootClock::new());
    let connections = connections(&url);
    let client = connections
        .client_of_leader(Arc::clone(&leadership))
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client, "n");
    let (parameters, map) = (PostParams::default(), ConfigMap::default());
    let error = maps.create(&parameters, &map).await.unwrap_err();
    assert!(NotLeading::is_why(&error), "{error}");
    assert_eq!(accepted.load(Ordering::Relaxed), 0, "not even a connection");
    assert_eq!(leadership.dropped().get(), 1);
    // A client that does not depend on the leadership needs no permit for a write.
    let maps: Api<ConfigMap> = Api::namespaced(connections.client().unwrap(), "n");
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    leadership.drained().await;
}
