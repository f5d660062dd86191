use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicUsize, Ordering},
};

use ebb_engine::Effect;
use serde_json::json;

use super::*;
use crate::testing::{Answer as Reply, client, opted_in, refusal, shared};

fn kind() -> ApiResource {
    ApiResource {
        group: "example.com".to_owned(),
        version: "v1".to_owned(),
        api_version: "example.com/v1".to_owned(),
        kind: "Fleet".to_owned(),
        plural: "fleets".to_owned(),
    }
}

fn facts(version: &str) -> TargetFacts {
    opted_in(
        TargetKey::new("example.com", "Fleet", "shop", "web"),
        version,
    )
}

fn scale(replicas: u32, version: &str) -> Reply {
    let mut spec = json!({"replicas": replicas});
    if replicas == 0 {
        spec = json!({});
    }
    Reply::Json(
        200,
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": version},
            "spec": spec, "status": {"replicas": replicas, "selector": "app=web,tier!=x"},
        }),
    )
}

fn replicas_of(shared: &Shared) -> Option<u32> {
    shared.with(|engine, _| engine.views().next().map(|view| view.requested_replicas))
}

/// Sleeps for 1 ms, so that the task with `Scales::ask` runs until it waits.
async fn settled() {
    time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn p8_replicas_are_what_the_scale_says_and_asked_for_once_a_generation() {
    let (shared, _effects) = shared();
    let (number, asked) = (Arc::new(AtomicU32::new(5)), Arc::new(AtomicUsize::new(0)));
    let client = client({
        let (number, asked) = (Arc::clone(&number), Arc::clone(&asked));
        move |method, path, _| {
            assert_eq!(method, "GET");
            assert!(
                path.starts_with("/apis/example.com/v1/namespaces/shop/fleets/web/scale"),
                "{path}"
            );
            asked.fetch_add(1, Ordering::Relaxed);
            scale(number.load(Ordering::Relaxed), "8")
        }
    });
    let scales = Arc::new(Scales::default());
    tokio::spawn({
        let (scales, shared) = (Arc::clone(&scales), Arc::clone(&shared));
        async move { scales.ask(client, &kind(), &shared).await }
    });
    scales.seen(&shared, facts("7"), Some(1));
    assert_eq!(
        replicas_of(&shared),
        None,
        "the replicas are unknown until the API server answers"
    );
    settled().await;
    assert_eq!(replicas_of(&shared), Some(5));
    // Only the status of the object changes (its generation stays 1), so the scale is not read again.
    number.store(9, Ordering::Relaxed);
    scales.seen(&shared, facts("8"), Some(1));
    settled().await;
    assert_eq!(
        (replicas_of(&shared), asked.load(Ordering::Relaxed)),
        (Some(5), 1)
    );
    // The spec of the object changes to zero replicas. The API server then omits `spec.replicas` from the scale.
    number.store(0, Ordering::Relaxed);
    scales.seen(&shared, facts("9"), Some(2));
    settled().await;
    assert_eq!(
        (replicas_of(&shared), asked.load(Ordering::Relaxed)),
        (Some(0), 2)
    );
}

#[tokio::test(start_paused = true)]
async fn p8_a_scale_that_may_not_be_read_is_told_of_once_and_asked_for_again() {
    let (shared, mut effects) = shared();
    let asked = Arc::new(AtomicUsize::new(0));
    let client = client({
        let asked = Arc::clone(&asked);
        move |_, _, _| match asked.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => refusal(403, "Forbidden"),
            2 => refusal(503, "ServiceUnavailable"),
            _ => scale(3, "8"),
        }
    });
    let scales = Arc::new(Scales::default());
    tokio::spawn({
        let (scales, shared) = (Arc::clone(&scales), Arc::clone(&shared));
        async move { scales.ask(client, &kind(), &shared).await }
    });
    scales.seen(&shared, facts("7"), Some(1));
    settled().await;
    let Some(Effect::Say(notice)) = effects.recv().await else {
        panic!("an Event is said");
    };
    assert_eq!(notice.reason, "NotScalable");
    assert!(notice.note.contains("get"), "{}", notice.note);
    time::sleep(2 * ASK_AGAIN_SLOWLY + ASK_AGAIN + Duration::from_secs(1)).await;
    assert_eq!(replicas_of(&shared), Some(3));
    assert!(effects.try_recv().is_err(), "told once");
}

#[tokio::test(start_paused = true)]
async fn p8_an_object_that_goes_while_it_is_asked_for_is_not_told() {
    let (shared, _effects) = shared();
    let client = client(|_, _, _| scale(3, "8"));
    let scales = Arc::new(Scales::default());
    scales.seen(&shared, facts("7"), Some(1));
    scales.gone(&facts("7").key);
    tokio::spawn({
        let (scales, shared) = (Arc::clone(&scales), Arc::clone(&shared));
        async move { scales.ask(client, &kind(), &shared).await }
    });
    settled().await;
    assert_eq!(replicas_of(&shared), None);
}

#[test]
fn labels_of_a_selector() {
    let selector = |text: &str| Scale {
        status: Some(k8s_openapi::api::autoscaling::v1::ScaleStatus {
            replicas: 1,
            selector: Some(text.to_owned()),
        }),
        ..Scale::default()
    };
    let labels = labels(&selector("app=web,tier!=x,env in (a,b),b==c"));
    let expected = [("app", "web"), ("b", "c")];
    assert_eq!(
        labels,
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
}
