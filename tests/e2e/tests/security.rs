//! Authorization of reports, and protection of the report port against unauthenticated clients.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ebb_contract::{Pod, Report};
use ebb_e2e::agent::agent_token;
use ebb_e2e::api::path;
use ebb_e2e::report::{Line, tls, trust};
use ebb_e2e::{SOON, SYSTEM, block_on};
use ebb_fixtures::{Case, eventually, note};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{FAST, NODES, TEN, World, shared};

pub(crate) const CASES: &[Case] = &[
    Case::beside("security::only_agents_are_believed", NODES, only_agents),
    Case::beside("security::a_node_speaks_for_its_own_pods", NODES, own_pods),
    Case::beside(
        "security::too_much_and_too_slow",
        NODES,
        too_much_and_too_slow,
    ),
    Case::beside(
        "security::ten_thousand_connections",
        NODES,
        ten_thousand_connections,
    ),
];

/// A second loopback address, for clients other than the agents.
const ABROAD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Source address of the test with 10 000 connections. The test uses up the report port's limit of unauthenticated
/// connections per address, so no other test may use this address.
const CROWDED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

pub(crate) fn report(node: &str, uid: &str) -> Report<'static> {
    Report {
        node: node.to_owned().into(),
        boot: "b".into(),
        pods: vec![Pod {
            uid: uid.to_owned().into(),
            since: 1,
            at: 2,
            ..Pod::default()
        }],
        ..Report::default()
    }
}

/// Returns the status of the response to a report with this token.
pub(crate) fn status(world: &World, token: Option<&str>, report: &Report) -> u16 {
    answer(world, token, report).0
}

/// Returns the status and text of the response to a report with this token.
fn answer(world: &World, token: Option<&str>, report: &Report) -> (u16, String) {
    let (trust, port) = (trust(world.api()), world.replica().report_port());
    let body = serde_json::to_vec(report).unwrap();
    block_on(async {
        let mut line = Line::connect(trust, ABROAD, port).await.unwrap();
        let (status, text) = line.post(token, body).await.unwrap();
        (status.as_u16(), String::from_utf8_lossy(&text).into_owned())
    })
}

fn only_agents() {
    let world = shared();
    let api = world.api();
    let good = agent_token(api, "node-a");
    let empty = report("node-a", "nobody");
    let audience = Some(ebb_contract::AUDIENCE);
    assert_eq!(status(&world, Some(&good), &empty), 200);
    assert_eq!(status(&world, None, &empty), 401, "no token");
    assert_eq!(
        status(&world, Some("nonsense"), &empty),
        401,
        "the text is not a token of this cluster"
    );
    let other_audience = api.token(SYSTEM, "ebb-agent", None, None);
    assert_eq!(
        status(&world, Some(&other_audience), &empty),
        401,
        "the token is for another audience"
    );
    let somebody = api.token(SYSTEM, "somebody", audience, None);
    assert_eq!(
        status(&world, Some(&somebody), &empty),
        403,
        "the token is of another service account"
    );
    let unbound = api.token(SYSTEM, "ebb-agent", audience, None);
    assert_eq!(
        status(&world, Some(&unbound), &empty),
        403,
        "the token is not bound to a pod"
    );
    let pod = api
        .get(&path("v1", "Pod", SYSTEM, "ebb-agent-node-a"))
        .unwrap();
    let expired = world.cluster.expired("ebb-agent", &pod, &good);
    let (refused, why) = answer(&world, Some(&expired), &empty);
    assert!(
        refused == 401 && why.contains("expired"),
        "{refused}: {why}"
    );
    // The log of rejected reports is rate-limited: for 20 rejections, it must have at most one line.
    for _ in 0..20 {
        status(&world, None, &empty);
    }
    let complaints = world
        .replica()
        .log()
        .lines()
        .filter(|line| line.contains("no bearer token"))
        .count();
    assert!(complaints <= 1, "{complaints} lines");
}

fn own_pods() {
    let world = shared();
    let app = world.app(
        "foreign",
        "web",
        2,
        &[FAST, TEN, ("autoscaling.knative.dev/min-scale", "2")],
    );
    let pods = world.kubelet.pods();
    let pod = pods
        .iter()
        .find(|pod| pod.namespace == "foreign")
        .expect("a running pod of this test");
    // `other` is the second of the two nodes: the pod does not run on it.
    let other = world
        .kubelet
        .nodes()
        .iter()
        .find(|node| **node != pod.node)
        .expect("two nodes");
    let token = agent_token(world.api(), other);
    assert_eq!(
        status(&world, Some(&token), &report(&pod.node, &pod.uid)),
        403,
        "another node's name"
    );
    let (trust, port) = (trust(world.api()), world.replica().report_port());
    let mut lie = report(other, &pod.uid);
    lie.boot = "lie".into();
    lie.pods[0].in_flight = 1_000;
    let receipt = block_on(async {
        let mut line = Line::connect(trust, ABROAD, port).await.unwrap();
        line.report(&token, &lie).await.unwrap()
    });
    assert_eq!(
        (receipt.taken, receipt.foreign),
        (0, 1),
        "another node's pod"
    );
    app.assert_stays(2, Duration::from_secs(3));
}

fn too_much_and_too_slow() {
    let world = shared();
    let app = world.app("flood", "web", 1, &[FAST, TEN]);
    let (trust, port) = (trust(world.api()), world.replica().report_port());
    let token = agent_token(world.api(), "node-a");
    block_on(async {
        // Sends a report with a body of 100 MiB. The autoscaler must refuse the report by its Content-Length.
        let mut line = Line::connect(Arc::clone(&trust), ABROAD, port)
            .await
            .unwrap();
        match line.post(Some(&token), vec![b' '; 100 << 20]).await {
            Ok((status, _)) => assert_eq!(status, 413),
            // The autoscaler closed the connection before the whole body was sent, which is correct too.
            Err(error) => assert!(!error.is_timeout(), "{error}"),
        }
        // Sends a request head one byte at a time. The autoscaler must close the connection within 40 s.
        let begun = Instant::now();
        let mut stream = tls(Arc::clone(&trust), ABROAD, port).await.unwrap();
        let mut ended = false;
        for byte in b"POST /v1/report HTTP/1.1\r\nX-Slow: "
            .iter()
            .chain([b'a'; 10_000].iter())
        {
            if stream.write_all(&[*byte]).await.is_err()
                || begun.elapsed() > Duration::from_secs(40)
            {
                ended = true;
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(
            ended && begun.elapsed() < Duration::from_secs(40),
            "{:?}",
            begun.elapsed()
        );
        // Sends only the first byte of a request's body. The autoscaler must answer with 408 within 40 s.
        let begun = Instant::now();
        let mut stream = tls(trust, ABROAD, port).await.unwrap();
        let head = format!(
            "POST /v1/report HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read =
            tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok() && begun.elapsed() < Duration::from_secs(40));
        assert!(
            answer.starts_with(b"HTTP/1.1 408"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    });
    nothing_is_lost(&world, &app);
}

fn ten_thousand_connections() {
    let world = shared();
    let app = world.app("crowd", "web", 1, &[FAST, TEN]);
    let port = world.replica().report_port();
    let crowd = block_on(async {
        let mut crowd = Vec::new();
        for _ in 0..10_000 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((CROWDED, 0).into()).unwrap();
            // The kernel accepts each connection. The autoscaler closes the connections above its limit.
            if let Ok(Ok(stream)) = tokio::time::timeout(
                Duration::from_secs(1),
                socket.connect(([127, 0, 0, 1], port).into()),
            )
            .await
            {
                crowd.push(stream);
            }
        }
        crowd
    });
    nothing_is_lost(&world, &app);
    let (_, metrics) = world.replica().get("/metrics").unwrap();
    let turned_away = metrics
        .lines()
        .find_map(|line| line.strip_prefix("ebb_autoscaler_report_connections_rejected_total "))
        .and_then(|value| value.parse::<f64>().ok())
        .unwrap();
    assert!(turned_away > 9_000.0, "{turned_away}");
    note(format!(
        "{} unauthenticated connections from one address: {turned_away} rejected, the agents' reports still arrive",
        crowd.len()
    ));
}

/// Asserts that the agents' reports still arrive.
#[track_caller]
fn nothing_is_lost(world: &World, app: &crate::world::App<'_>) {
    let traffic = app.traffic(14);
    traffic.set(14);
    app.await_replicas(SOON, |replicas| replicas >= 2);
    eventually("all pods have current metrics", SOON, || {
        (app.view()["pods_without_metrics"] == 0).then_some(())
    });
    assert_eq!(
        world.replica().get("/healthz").map(|(status, _)| status),
        Some(200)
    );
}
