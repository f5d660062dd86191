//! Tests of the responses by URL path, and of the event streams that send the changes of workloads.

use http_body_util::BodyExt;
use serde_json::Value;

use super::*;

struct Two(Mutex<u32>);

impl Two {
    fn workload(&self, name: &str) -> Workload {
        Workload {
            namespace: "shop".to_owned(),
            kind: "Deployment".to_owned(),
            group: "apps".to_owned(),
            name: name.to_owned(),
            requested_replicas: *self.0.lock().unwrap(),
            ..Workload::default()
        }
    }
}

impl Source for Arc<Two> {
    fn about(&self) -> About {
        About {
            program: "test".into(),
            version: "1".into(),
            replica: "a".to_owned(),
            leading: true,
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        vec![self.workload("one"), self.workload("two")]
    }

    fn detail(&self, of: &Name) -> Option<Detail> {
        let workload = self.workload(&of.name);
        (of.name != "three").then(|| Detail {
            workload,
            ..Detail::default()
        })
    }
}

fn page_of(replicas: u32) -> (Arc<Two>, Page<Arc<Two>>) {
    let source = Arc::new(Two(Mutex::new(replicas)));
    (Arc::clone(&source), Page::new(source))
}

/// Returns the next event of a stream as (kind, data). Comment lines are skipped.
async fn next(answer: &mut Answer) -> (String, Value) {
    loop {
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        let Some(text) = text.strip_prefix("event: ") else {
            continue;
        };
        let (kind, data) = text.split_once("\ndata: ").unwrap();
        return (kind.to_owned(), serde_json::from_str(data).unwrap());
    }
}

#[tokio::test]
async fn nothing_comes_from_elsewhere() {
    let (_, page) = page_of(1);
    for (path, _, text) in FILES {
        let answer = page.answer(path, None).unwrap();
        let policy = &answer.headers()[CONTENT_SECURITY_POLICY];
        assert!(policy.to_str().unwrap().starts_with("default-src 'none'"));
        for elsewhere in ["http:", "https:", "//cdn", "@import", "url("] {
            let found = text.replace("http://www.w3.org/", "").contains(elsewhere);
            assert!(!found, "{path}: {elsewhere}");
        }
    }
    let imported = FILES
        .iter()
        .flat_map(|(_, _, text)| text.split("from \"./").skip(1))
        .filter_map(|rest| rest.split('"').next());
    for module in imported {
        assert!(
            page.answer(&format!("/{module}"), None).is_some(),
            "{module}"
        );
    }
    assert!(page.answer("/favicon.ico", None).is_none());
    assert!(page.answer("/v1/", None).is_none());
    assert!(page.answer("/v1/workloads/shop", None).is_none());
    let answer = page
        .answer("/v1/workloads/shop/Deployment/three", None)
        .unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn the_list_is_told_once_and_then_what_changes() {
    let (source, page) = page_of(1);
    let mut answer = page.answer("/v1/events", None).unwrap();
    let (kind, data) = next(&mut answer).await;
    assert_eq!(
        (&*kind, data["rows"].as_array().unwrap().len()),
        ("rows", 2)
    );
    assert_eq!(data["about"]["replica"], "a");
    assert_eq!(data["rows"][1]["id"], "shop/Deployment.apps/two");
    *source.0.lock().unwrap() = 5;
    let (_, data) = next(&mut answer).await;
    assert_eq!(data["rows"][0]["requested_replicas"], 5);
}

/// A [`Source`] of page data with the given number of workloads.
struct Many(usize);

impl Source for Many {
    fn about(&self) -> About {
        Arc::new(Two(Mutex::default())).about()
    }

    fn workloads(&self) -> Vec<Workload> {
        let two = Two(Mutex::default());
        let name = "long-".repeat(50);
        (0..self.0)
            .map(|number| two.workload(&format!("{name}{number}")))
            .collect()
    }

    fn detail(&self, _: &Name) -> Option<Detail> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn t6_a_long_list_is_told_in_pieces_and_not_without_end() {
    let page = Page::new(Many(12_000));
    let mut answer = page.answer("/v1/events", None).unwrap();
    let (mut listed, mut longest) = (0, 0);
    while listed < 10_000 {
        let (kind, data) = next(&mut answer).await;
        assert_eq!((&*kind, &data["unlisted"]), ("rows", &Value::from(2_000)));
        listed += data["rows"].as_array().unwrap().len();
        longest = longest.max(data.to_string().len());
    }
    assert_eq!(listed, 10_000);
    assert!(longest < 2 << 20, "{longest} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_workload_is_told_whole_and_then_in_parts() {
    let (source, page) = page_of(1);
    let mut answer = page.answer("/v1/events/shop/Deployment/one", None).unwrap();
    let (kind, data) = next(&mut answer).await;
    assert_eq!(
        (&*kind, &data["workload"]["requested_replicas"]),
        ("all", &Value::from(1))
    );
    assert!(data["settings"].is_array() && data["history"].is_array());
    *source.0.lock().unwrap() = 2;
    let (kind, data) = next(&mut answer).await;
    assert_eq!(
        (&*kind, &data["workload"]["requested_replicas"]),
        ("news", &Value::from(2))
    );
    assert!(data.get("settings").is_none());
}

#[tokio::test]
async fn who_looks_on_leaves_room_for_others() {
    let (_, page) = page_of(1);
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| page.answer("/v1/events", None).unwrap())
        .collect();
    assert!(
        streams
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    for path in ["/v1/events", "/v1/events/shop/Deployment/one"] {
        let answer = page.answer(path, None).unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(page.answer("/", None).unwrap().status(), StatusCode::OK);
    drop(streams);
    assert_eq!(
        page.answer("/v1/events", None).unwrap().status(),
        StatusCode::OK
    );
}
