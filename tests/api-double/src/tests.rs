//! Tests of the double against the real API server's behaviour, over HTTP.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::Double;
use super::client::Api;

fn double() -> (Double, Api) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    // The kernel assigns ephemeral ports in turn, so no other process gets this port in the moment before the double
    // binds it.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let double = Double::without_controllers(RUNTIME.handle(), address);
    let api = Api::new(address, double.admin_token());
    api.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}));
    (double, api)
}

/// Returns the first `events` events of a watch.
fn watch(api: &Api, path: &str, events: usize) -> Vec<Value> {
    // An HTTP/1.0 response has no chunked encoding, so its body can be read line by line.
    let stream = api.send(&format!("GET {path} HTTP/1.0"), "", "");
    let lines = BufReader::new(stream).lines();
    let events = lines
        .map(|line| line.unwrap())
        .filter(|line| line.starts_with('{'))
        .take(events);
    events
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

fn deployment(namespace: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "app", "image": "app"}]},
            },
        },
    })
}

fn config_map(name: &str, label: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a", "labels": {"is": label}}})
}

#[test]
fn nobody_serves_an_unknown_group() {
    let (_double, api) = double();
    for path in [
        "/apis/nobody.example/v1",
        "/apis/nobody.example/v1/namespaces/a/things/x",
        "/apis/apps/v7/namespaces/a/deployments/x",
        "/nothing",
    ] {
        let answer = api.raw(path);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(answer.contains("text/plain"), "{path}: {answer}");
        assert!(answer.ends_with("404 page not found\n"), "{path}: {answer}");
    }
    let answer = api.raw("/apis/apps/v1/namespaces/a/things/x");
    assert!(answer.contains("\"reason\":\"NotFound\""), "{answer}");
    let refused = api.get("/apis/apps/v1/namespaces/a/deployments/x");
    let message = refused.unwrap_err().message;
    assert_eq!(message, "deployments.apps \"x\" not found");
}

#[test]
fn preconditions_hold_for_objects_and_scales() {
    let (_double, api) = double();
    let at = "/apis/apps/v1/namespaces/a/deployments/web";
    let made = api.apply(&deployment("a", 3));
    api.merge(at, &json!({"metadata": {"labels": {"x": "1"}}}))
        .unwrap();
    for path in [at.to_owned(), format!("{at}/scale")] {
        for metadata in [
            json!({"resourceVersion": made["metadata"]["resourceVersion"]}),
            json!({"uid": "another"}),
        ] {
            let patch = json!({"metadata": metadata, "spec": {"replicas": 7}});
            assert_eq!(api.merge(&path, &patch).unwrap_err().code, 409, "{path}");
        }
    }
    let now = api.get(&format!("{at}/scale")).unwrap();
    let metadata = json!({"resourceVersion": now["metadata"]["resourceVersion"], "uid": made["metadata"]["uid"]});
    let patch = json!({"metadata": metadata, "spec": {"replicas": 7}});
    let scaled = api.merge(&format!("{at}/scale"), &patch).unwrap();
    assert_eq!(scaled["spec"]["replicas"], 7);
    assert_eq!(api.get(at).unwrap()["spec"]["replicas"], 7);
    let negative = json!({"spec": {"replicas": -1}});
    let refused = api.merge(&format!("{at}/scale"), &negative);
    assert_eq!(refused.unwrap_err().code, 422);
}

#[test]
fn pages_are_of_one_moment() {
    let (_double, api) = double();
    for number in 0..5 {
        api.apply(&config_map(&format!("m{number}"), "x"));
    }
    let at = "/api/v1/namespaces/a/configmaps";
    let first = api.get(&format!("{at}?limit=2")).unwrap();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    api.delete(&format!("{at}/m4")).unwrap();
    let more = first["metadata"]["continue"].as_str().unwrap();
    let rest = api.get(&format!("{at}?limit=5&continue={more}")).unwrap();
    let names: Vec<_> = rest["items"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 3);
    assert_eq!(names[2]["metadata"]["name"], "m4");
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let again = api.get(&format!("{at}?limit=5&continue={more}"));
    assert_eq!(again.unwrap_err().code, 410);
    let all = api.get(&format!("{at}?limit=2&resourceVersion=0")).unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 4);
}

#[test]
fn a_watch_by_labels_tells_what_leaves_them() {
    let (_double, api) = double();
    api.apply(&config_map("m", "x"));
    let from = api.get("/api/v1/namespaces/a/configmaps").unwrap();
    let from = from["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    for label in ["y", "x", "x2"] {
        api.apply(&config_map("m", label));
    }
    let at = format!("/api/v1/configmaps?watch=true&labelSelector=is%3Dx&resourceVersion={from}");
    let events = watch(&api, &at, 3);
    let kinds: Vec<_> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["DELETED", "ADDED", "DELETED"]);
    // Without a resource version, the existing objects are sent first.
    let events = watch(
        &api,
        "/api/v1/configmaps?watch=true&labelSelector=is%3Dx2",
        1,
    );
    assert_eq!(events[0]["type"], "ADDED");
}

#[test]
fn a_watch_ends_in_time_with_a_bookmark_before() {
    let (_double, api) = double();
    let at = "/api/v1/configmaps?watch=true&resourceVersion=1&timeoutSeconds=3&allowWatchBookmarks=true&labelSelector=no";
    let events = watch(&api, at, 9);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["type"], "BOOKMARK");
}

#[test]
fn a_watch_that_is_too_old_is_told_so_in_the_stream() {
    let (double, api) = double();
    api.apply(&config_map("m", "x"));
    double.compact();
    let events = watch(&api, "/api/v1/configmaps?watch=true&resourceVersion=1", 9);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["type"], "ERROR");
    assert_eq!(events[0]["object"]["code"], 410);
}

#[test]
fn admission_refuses_as_the_real_one() {
    let (_double, api) = double();
    let at = "/apis/apps/v1/namespaces/b/deployments";
    let web = |namespace| deployment(namespace, 1);
    assert_eq!(api.create(at, &web("b")).unwrap_err().code, 404);
    api.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "a"},
        "spec": {"hard": {"count/deployments.apps": "0"}},
    }));
    let refused = api.create("/apis/apps/v1/namespaces/a/deployments", &web("a"));
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, 403);
    assert!(
        refused.message.contains("exceeded quota: few"),
        "{refused:?}"
    );
    api.delete("/api/v1/namespaces/a").unwrap();
    let refused = api.create("/api/v1/namespaces/a/configmaps", &config_map("m", "x"));
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, 403);
    assert!(refused.message.contains("being terminated"), "{refused:?}");
}

#[test]
fn what_has_finalizers_goes_when_they_are_gone() {
    let (_double, api) = double();
    let mut map = config_map("m", "x");
    map["metadata"]["finalizers"] = json!(["a.example/hold"]);
    api.apply(&map);
    let at = "/api/v1/namespaces/a/configmaps/m";
    api.delete(at).unwrap();
    assert!(api.get(at).unwrap()["metadata"]["deletionTimestamp"].is_string());
    api.merge(at, &json!({"metadata": {"finalizers": null}}))
        .unwrap();
    assert_eq!(api.get(at).unwrap_err().code, 404);
}

#[test]
fn a_custom_kind_is_scaled_by_its_own_path() {
    let (_double, api) = double();
    api.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.a.example"},
        "spec": {
            "group": "a.example", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {
                "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}}}],
        },
    }));
    let thing = json!({"apiVersion": "a.example/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "a"}, "spec": {"size": 5}});
    let at = "/apis/a.example/v1/namespaces/a/things";
    api.create(at, &thing).unwrap();
    let scale = api.get(&format!("{at}/t/scale")).unwrap();
    assert_eq!(scale["spec"]["replicas"], 5);
    let patch = json!({"spec": {"replicas": 3}});
    api.merge(&format!("{at}/t/scale"), &patch).unwrap();
    let spec = &api.get(&format!("{at}/t")).unwrap()["spec"];
    assert_eq!(*spec, json!({"size": 3}));
}
