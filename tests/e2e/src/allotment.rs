//! The record of a Service's allocated port, written as the autoscaler's leader writes it. It is for tests of a single
//! activator: the activator listens on the recorded port.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use ebb_contract::allotments::{Allotment, LABEL, PORTS, name};
use serde_json::json;

use super::api::path;
use super::{Api, SYSTEM};

/// Returns a free port of the range from which the autoscaler allocates ports. Each call returns another port, because
/// an activator binds its port only later.
///
/// # Panics
/// If no port is free.
pub(super) fn allotted_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Concurrent test runs begin the search at different ports, so that they rarely choose the same port.
    let begin = PORTS.start() + (std::process::id() % 9_000) as u16;
    std::iter::repeat_with(|| begin + NEXT.fetch_add(1, Ordering::Relaxed))
        .take_while(|port| PORTS.contains(port))
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("a free port")
}

/// Records that the activators serve a Service's port `http` on port `port`. Creates the namespaces.
///
/// # Panics
/// If the API server refuses the request.
pub(super) fn record_port(api: &Api, namespace: &str, service: &str, port: u16) {
    for namespace in [SYSTEM, namespace] {
        api.apply(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
        );
    }
    let allotment = Allotment {
        service_uid: "u".to_owned(),
        workload: format!("apps/Deployment/{service}"),
        ports: [("http".to_owned(), port)].into(),
        since: 1,
        ..Allotment::default()
    };
    let text = serde_json::to_string(&allotment).expect("JSON");
    let record = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": SYSTEM, "name": name(namespace), "labels": {LABEL: "true"}},
        "data": {service: text},
    });
    api.create(&path("v1", "ConfigMap", SYSTEM, ""), &record)
        .expect("written");
}
