//! Tests of the choice of the hop. The pods have the names, ports, variables and annotations that injectors write.

use serde_json::{Value, json};

use super::*;

/// Returns the choice for a pod, given as the fields `annotations`, `containers` and `initContainers`.
fn choice(hop: Option<Hop>, pod: &Value) -> Result<CountedAt<'static>, String> {
    let containers = |field: &str| -> Vec<Container> {
        let containers = pod.get(field).cloned().unwrap_or(json!([]));
        serde_json::from_value(containers).unwrap()
    };
    let annotations = pod.get("annotations").cloned().unwrap_or(json!({}));
    Choice {
        ports: Vec::new(),
        hop,
        annotations: &serde_json::from_value(annotations).unwrap(),
        containers: &containers("containers"),
        init_containers: &containers("initContainers"),
    }
    .make()
}

#[track_caller]
fn phrase(pod: &Value) -> String {
    choice(None, pod).unwrap().to_string()
}

fn app() -> Value {
    json!({"name": "web", "ports": [
        {"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8443, "protocol": "TCP"},
    ]})
}

fn istio(mode: &str) -> Value {
    json!({
        "name": "istio-proxy",
        "args": ["proxy", "sidecar"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "ISTIO_META_INTERCEPTION_MODE", "value": mode},
        ],
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "restartPolicy": "Always",
    })
}

fn queue_proxy(queue_port: u16) -> Value {
    json!({"name": "queue-proxy", "env": [{"name": "USER_PORT", "value": "8080"}], "ports": [
        {"name": "http-queueadm", "containerPort": 8022},
        {"name": "http-autometric", "containerPort": 9090},
        {"name": "http-usermetric", "containerPort": 9091},
        {"name": "queue-port", "containerPort": queue_port},
        {"name": "https-port", "containerPort": 8112},
    ]})
}

#[test]
fn a_pod_of_istio() {
    let status = json!({"sidecar.istio.io/status": "{\"initContainers\":[\"istio-validation\",\"istio-proxy\"]}"});
    let validation = json!({"name": "istio-validation"});
    let expected = "counted at the application (istio), ports 8080, 8443";
    // As a container (by default before Istio 1.27), and as a native sidecar.
    let mut container = istio("REDIRECT");
    container
        .as_object_mut()
        .unwrap()
        .remove("restartPolicy")
        .unwrap();
    let pod = json!({"annotations": status, "containers": [app(), container], "initContainers": [validation]});
    assert_eq!(phrase(&pod), expected);
    let native = |mode: &str, annotations: &Value| json!({"annotations": annotations, "containers": [app()], "initContainers": [validation, istio(mode)]});
    assert_eq!(phrase(&native("REDIRECT", &status)), expected);
    assert_eq!(phrase(&native("REDIRECT", &json!({}))), expected);
    // An injector of an unknown version: only the annotation is known.
    assert_eq!(
        phrase(&json!({"annotations": status, "containers": [app()]})),
        expected
    );
    // With TPROXY, the socket that the sidecar accepts has the application's port, too.
    let inside = format!("{expected}, only connections from inside the pod");
    assert_eq!(phrase(&native("TPROXY", &status)), inside);
    let selected =
        json!({"sidecar.istio.io/status": "{}", "sidecar.istio.io/interceptionMode": "TPROXY"});
    assert_eq!(
        phrase(&json!({"annotations": selected, "containers": [app()]})),
        inside
    );
}

#[test]
fn a_pod_of_linkerd() {
    let proxy = json!({"name": "linkerd-proxy", "restartPolicy": "Always", "ports": [
        {"containerPort": 4143, "name": "linkerd-proxy"}, {"containerPort": 4191, "name": "linkerd-admin"},
    ]});
    let pod = json!({
        "annotations": {"linkerd.io/inject": "enabled", "linkerd.io/proxy-version": "edge-25.4.4"},
        "containers": [app()],
        "initContainers": [{"name": "linkerd-init"}, proxy],
    });
    assert_eq!(
        phrase(&pod),
        "counted at the application (linkerd), ports 8080, 8443"
    );
}

#[test]
fn a_pod_of_consul() {
    let annotations = |port: &str| {
        json!({
            "consul.hashicorp.com/connect-inject": "true",
            "consul.hashicorp.com/connect-inject-status": "injected",
            "consul.hashicorp.com/transparent-proxy-status": "enabled",
            "consul.hashicorp.com/connect-service-port": port,
        })
    };
    let health = json!([{"name": "proxy-health-0", "containerPort": 21000}]);
    let pod = json!({
        "annotations": annotations("http"),
        "containers": [app(), {"name": "consul-dataplane", "ports": health}],
        "initContainers": [{"name": "consul-connect-inject-init"}],
    });
    assert_eq!(
        phrase(&pod),
        "counted at the application (consul), ports 8080, 8443"
    );
    // Several services in a pod, and an application that declares no port.
    let pod = json!({
        "annotations": annotations("8080, 9090"),
        "containers": [
            {"name": "web"}, {"name": "web-admin"},
            {"name": "consul-dataplane-web", "ports": health}, {"name": "consul-dataplane-web-admin"},
        ],
    });
    assert_eq!(
        phrase(&pod),
        "counted at the application (consul), ports 8080, 9090"
    );
}

#[test]
fn a_pod_of_kuma() {
    let annotations = json!({
        "kuma.io/sidecar-injected": "true",
        "kuma.io/transparent-proxying": "enabled",
        "kuma.io/transparent-proxying-inbound-port": "15006",
    });
    let expected = "counted at the application (kuma), ports 8080, 8443";
    let sidecar = json!({"name": "kuma-sidecar", "env": [{"name": "KUMA_DATAPLANE_MESH", "value": "default"}]});
    assert_eq!(
        phrase(&json!({"annotations": annotations, "containers": [sidecar, app()]})),
        expected
    );
    assert_eq!(
        phrase(&json!({"annotations": annotations, "containers": [app()]})),
        expected
    );
    let not_injected =
        json!({"annotations": {"kuma.io/sidecar-injected": "false"}, "containers": [app()]});
    assert_eq!(phrase(&not_injected), "counted at the edge (default)");
}

#[test]
fn a_pod_of_dapr() {
    let daprd = json!({"name": "daprd", "args": ["/daprd", "--app-port", "5000"], "ports": [
        {"name": "dapr-http", "containerPort": 3500}, {"name": "dapr-grpc", "containerPort": 50001},
        {"name": "dapr-internal", "containerPort": 50002}, {"name": "dapr-metrics", "containerPort": 9090},
    ]});
    let annotations =
        json!({"dapr.io/enabled": "true", "dapr.io/app-id": "web", "dapr.io/app-port": "5000"});
    let pod = json!({"annotations": annotations, "containers": [{"name": "web"}, daprd]});
    assert_eq!(phrase(&pod), "counted at the application (dapr), port 5000");
    let pod = json!({"annotations": annotations, "containers": [app(), daprd]});
    assert_eq!(
        phrase(&pod),
        "counted at the application (dapr), ports 5000, 8080, 8443"
    );
    // The annotation is the user's: without the sidecar, the pod is like any other.
    let pod = json!({"annotations": annotations, "containers": [app()]});
    assert_eq!(phrase(&pod), "counted at the edge (default)");
}

#[test]
fn a_pod_of_knative_is_counted_where_requests_queue() {
    let user =
        json!({"name": "user-container", "ports": [{"name": "user-port", "containerPort": 8080}]});
    let http1 = json!({"containers": [user, queue_proxy(8012)]});
    assert_eq!(
        phrase(&http1),
        "counted at the edge (knative), ports 8012, 8112"
    );
    let http2 = json!({"containers": [user, queue_proxy(8013)]});
    assert_eq!(
        phrase(&http2),
        "counted at the edge (knative), ports 8013, 8112"
    );
    // The sidecar of a mesh is in front of the queue-proxy. Each request passes both, and counts once.
    let mesh = |mode: &str| {
        json!({
            "annotations": {"sidecar.istio.io/status": "{}"},
            "containers": [user, queue_proxy(8012)],
            "initContainers": [istio(mode)],
        })
    };
    assert_eq!(
        phrase(&mesh("REDIRECT")),
        "counted at the application (istio), ports 8012, 8112"
    );
    assert_eq!(
        phrase(&mesh("TPROXY")),
        "counted at the application (istio), ports 8012, 8112, only connections from inside the pod"
    );
    let asked = choice(Some(Hop::App), &http1).unwrap();
    assert_eq!(
        asked.to_string(),
        "counted at the application (annotation), port 8080"
    );
}

#[test]
fn other_pods_are_counted_at_the_edge() {
    for pod in [
        json!({"containers": [app()]}),
        // An init container that ends is no sidecar.
        json!({"containers": [app()], "initContainers": [{"name": "istio-proxy"}]}),
        // Common names are no sign of a mesh.
        json!({"containers": [app(), {"name": "envoy"}, {"name": "nginx"}, {"name": "oauth2-proxy"}]}),
        // Ambient mode has no sidecar.
        json!({"containers": [app()], "annotations": {"ambient.istio.io/redirection": "enabled"}}),
        // The proxy of a gateway is the application.
        json!({"containers": [istio("REDIRECT")], "annotations": {"sidecar.istio.io/status": "{}"}}),
    ] {
        let choice = choice(None, &pod).unwrap();
        assert_eq!(choice.to_string(), "counted at the edge (default)", "{pod}");
        assert_eq!(choice.advice(), None);
    }
}

#[test]
fn the_annotations_take_precedence() {
    let mesh = json!({"containers": [app()], "initContainers": [istio("TPROXY")]});
    let edge = choice(Some(Hop::Edge), &mesh).unwrap();
    assert_eq!(edge.to_string(), "counted at the edge (annotation)");
    let alone = json!({"containers": [app()], "annotations": {"sidecar.istio.io/interceptionMode": "TPROXY"}});
    let app_hop = choice(Some(Hop::App), &alone).unwrap();
    assert_eq!(
        app_hop.to_string(),
        "counted at the application (annotation), ports 8080, 8443"
    );
    let named = Choice {
        ports: vec![81],
        hop: Some(Hop::Edge),
        annotations: &BTreeMap::new(),
        containers: &[],
        init_containers: &[],
    };
    assert_eq!(
        named.make().unwrap().to_string(),
        "counted at the named ports (annotation), port 81"
    );
}

#[test]
fn an_application_without_a_port_is_named() {
    let mesh = json!({"containers": [{"name": "web"}, istio("TPROXY")]});
    let found = choice(None, &mesh).unwrap();
    assert_eq!(found.to_string(), "counted at the edge (istio)");
    assert!(found.advice().unwrap().contains("containerPort"));
    let why = choice(Some(Hop::App), &mesh).unwrap_err();
    assert!(
        why.contains("containerPort") && why.contains("ebb.dev/ports"),
        "{why}"
    );
}

#[test]
fn an_application_with_too_many_ports_is_told_what_to_do() {
    let ports = |count: usize| -> Vec<_> {
        (8000..)
            .take(count)
            .map(|port| json!({"containerPort": port}))
            .collect()
    };
    let mesh = |count| json!({"containers": [{"name": "web", "ports": ports(count)}], "initContainers": [istio("REDIRECT")]});
    assert_eq!(choice(None, &mesh(16)).unwrap().ports.len(), 16);
    for hop in [None, Some(Hop::App)] {
        let why = choice(hop, &mesh(17)).unwrap_err();
        for part in [
            "17 TCP ports",
            "16 at most",
            "ebb.dev/ports",
            "8000, 8001",
            "8016",
        ] {
            assert!(why.contains(part), "{why}");
        }
    }
    // At the edge, the number of ports does not matter.
    assert!(choice(Some(Hop::Edge), &mesh(17)).is_ok());
}
