use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::*;
use crate::{
    boot::BootClock,
    testing::{Answer, client, refusal},
    watch::age::{Dependents, STALE_AFTER, Watches},
};

fn object(name: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "n", "name": name, "uid": name, "resourceVersion": version},
    })
}

fn list(version: &str, items: &[Value]) -> Answer {
    Answer::Json(
        200,
        json!({
            "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": version}, "items": items,
        }),
    )
}

fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// A watch under test, with the changes that it has passed on and its requests.
struct WatchTest {
    watches: Watches,
    changes: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl WatchTest {
    fn new(answer: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        let watches = Watches::new(BootClock::of_tokio());
        let (changes, asked) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let count = AtomicUsize::new(0);
        let client = client({
            let asked = Arc::clone(&asked);
            move |_, path, _| {
                asked.lock().unwrap().push(path.to_owned());
                answer(count.fetch_add(1, Ordering::Relaxed), path)
            }
        });
        let watch = watches.add("configmaps", Dependents::All);
        let tell = {
            let changes = Arc::clone(&changes);
            move |change: Change<ConfigMap>| {
                changes.lock().unwrap().push(match change {
                    Change::Seen(map) => format!("seen {}", map.name_any()),
                    Change::Gone(id) => format!("gone {}", id.name),
                    Change::Listed => "listed".to_owned(),
                });
            }
        };
        tokio::spawn(async move {
            let api: Api<ConfigMap> = Api::all(client);
            follow(api, watcher::Config::default(), &watch, tell).await;
        });
        Self {
            watches,
            changes,
            asked,
        }
    }

    fn changes(&self) -> Vec<String> {
        std::mem::take(&mut *self.changes.lock().unwrap())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn age(&self) -> Duration {
        self.watches.ages()[0].1
    }
}

/// The watch gets no event, as over a frozen connection or from a server that hangs. After `LIFE + LATE`, it must start
/// again from its last version.
#[tokio::test(start_paused = true)]
async fn p5_a_silent_watch_is_begun_anew_where_it_was() {
    let test = WatchTest::new(|count, _| match count {
        0 => list("5", &[object("a", "3")]),
        1 => Answer::Lines(vec![event("MODIFIED", object("a", "7"))]),
        _ => Answer::Lines(vec![event("ADDED", object("b", "9"))]),
    });
    time::sleep(LIFE + LATE - Duration::from_millis(1)).await;
    assert_eq!(test.changes(), ["seen a", "listed", "seen a"]);
    assert_eq!(test.asked().len(), 2);
    time::sleep(Duration::from_millis(2)).await;
    assert_eq!(test.changes(), ["seen b"]);
    let asked = test.asked();
    assert!(asked[0].contains("resourceVersion=7"), "{asked:?}");
    assert!(asked[0].contains("timeoutSeconds=15"), "{asked:?}");
    assert!(test.age() < Duration::from_secs(1));
}

/// No object changes for an hour, but the server ends each watch after the requested time. The watch must count as
/// alive all the time, without a new list.
#[tokio::test(start_paused = true)]
async fn p5_a_quiet_cluster_is_no_dead_watch() {
    let test = WatchTest::new(|count, path| match (count, path.contains("watch=true")) {
        (0, false) => list("5", &[]),
        (_, true) => Answer::EndsAfter(LIFE),
        _ => panic!("listed again: {path}"),
    });
    for _ in 0..360 {
        time::sleep(Duration::from_secs(10)).await;
        assert!(test.age() <= LIFE, "{:?}", test.age());
    }
    let asked = test.asked().len();
    assert!((239..=242).contains(&asked), "{asked} requests in an hour");
}

#[tokio::test(start_paused = true)]
async fn p5_a_server_that_never_answers_makes_facts_stale_and_is_asked_again() {
    let test = WatchTest::new(|count, _| match count {
        0 => list("5", &[]),
        1 => Answer::Lines(vec![]),
        // The real client limits the time of a request; here a 504 stands for that timeout.
        2..5 => refusal(504, "Timeout"),
        _ => Answer::Lines(vec![event("ADDED", object("b", "9"))]),
    });
    time::sleep(LIFE + LATE + Duration::from_millis(1)).await;
    assert!(test.age() > LIFE);
    time::sleep(Duration::from_secs(3)).await;
    assert!(test.changes().contains(&"seen b".to_owned()));
    assert!(test.age() < STALE_AFTER / 2);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_too_old_has_all_listed_again() {
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"});
    let test = WatchTest::new(move |count, _| match count {
        0 => list("5", &[object("a", "3"), object("b", "4")]),
        1 => Answer::Ends(vec![event("ERROR", gone.clone())]),
        2 => list("90", &[object("b", "4")]),
        _ => Answer::Lines(vec![]),
    });
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        test.changes(),
        ["seen a", "seen b", "listed", "seen b", "gone a", "listed"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_left_out() {
    let mut odd = object("odd", "6");
    odd["data"] = json!([1]);
    let test = WatchTest::new(move |count, _| match count {
        0 => list("5", &[]),
        _ => Answer::Lines(vec![
            event("ADDED", odd.clone()),
            event("ADDED", object("b", "7")),
            event("DELETED", object("b", "8")),
        ]),
    });
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(test.changes(), ["listed", "seen b", "gone b"]);
    assert_eq!(test.asked().len(), 2, "not begun anew");
}

/// If the server ends each watch at once, there is a wait between requests.
#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_not_begun_anew_at_once() {
    let test = WatchTest::new(|count, _| match count {
        0 => list("5", &[]),
        _ => Answer::Ends(vec![]),
    });
    time::sleep(Duration::from_secs(60)).await;
    let asked = test.asked().len();
    assert!(asked < 30, "{asked} requests in a minute");
}

fn id(name: &str, uid: &str) -> Id {
    Id {
        namespace: "n".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}

#[test]
fn what_a_list_leaves_out_is_gone() {
    let mut known = KnownObjects::default();
    known.list_begins();
    for name in ["a", "b"] {
        assert_eq!(known.seen(&id(name, "1")), None);
    }
    assert_eq!(known.list_ends(), []);
    known.list_begins();
    known.seen(&id("b", "1"));
    assert_eq!(known.list_ends(), [id("a", "1")]);
}

#[test]
fn a_successor_of_the_same_name_ends_its_predecessor() {
    let mut known = KnownObjects::default();
    known.seen(&id("a", "1"));
    assert_eq!(known.seen(&id("a", "2")), Some(id("a", "1")));
    assert_eq!(known.seen(&id("a", "2")), None);
}
