//! Watches. A watch sends the changes since a resource version, until the client's timeout.
//!
//! As with the real API server, an object that no longer matches the selector is sent as deleted. A bookmark is sent
//! once a minute, and 2 s before the end of the watch. An error after the request was accepted is an `ERROR` event in
//! the stream, not a status code.
//! <https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/apiserver/pkg/storage/cacher/cacher.go>

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::http::Body;
use super::kinds::Kind;
use super::selector::Selector;
use super::store::{Change, Store};

/// Duration of a watch for which the client sets no timeout. The real API server chooses a duration of 30 to 60
/// minutes.
const UNASKED: Duration = Duration::from_secs(1800);
/// Time between bookmarks.
const BOOKMARK: Duration = Duration::from_secs(60);
/// Time from the last bookmark to the end of the watch.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// The parameters of a watch.
#[derive(Debug)]
pub(super) struct WatchParameters {
    /// The resource version to start from. `None` or 0: all existing objects are sent first.
    pub(super) from: Option<u64>,
    pub(super) bookmarks: bool,
    pub(super) timeout: Option<Duration>,
    /// Whether only the objects' metadata is requested.
    pub(super) metadata_only: bool,
}

struct Watching {
    store: Arc<Store>,
    changes: watch::Receiver<u64>,
    up: watch::Receiver<bool>,
    kind: Kind,
    selector: Selector,
    seen: u64,
    until: Instant,
    bookmark: Option<Instant>,
    metadata_only: bool,
    /// The `ADDED` events of the existing objects, to be sent before any change.
    first: Vec<u8>,
    ended: bool,
}

/// Answers a watch request.
pub(super) fn answer(
    store: &Arc<Store>,
    up: watch::Receiver<bool>,
    kind: &Kind,
    selector: &Selector,
    parameters: &WatchParameters,
) -> Response<Body> {
    let now = Instant::now();
    let until = now + parameters.timeout.unwrap_or(UNASKED);
    let mut state = Watching {
        store: Arc::clone(store),
        changes: store.changes(),
        up,
        kind: kind.clone(),
        selector: selector.clone(),
        seen: parameters.from.unwrap_or(0),
        until,
        bookmark: parameters.bookmarks.then(|| next_bookmark(now, until)),
        metadata_only: parameters.metadata_only,
        first: Vec::new(),
        ended: false,
    };
    if state.seen == 0 {
        let within = Some(&*selector.namespace).filter(|namespace| !namespace.is_empty());
        let (version, objects) = store.with(|inner| {
            let objects = inner.shared(&kind.resource(), within).cloned();
            (inner.version(), objects.collect::<Vec<_>>())
        });
        state.seen = version;
        for object in objects {
            if selector.selects(&object) {
                let line = state.line("ADDED", &object);
                state.first.extend(line);
            }
        }
    }
    let stream = futures_util::stream::unfold(state, |mut state| async move {
        let lines = state.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(lines))), state))
    });
    let mut answer = Response::new(StreamBody::new(stream).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

fn next_bookmark(now: Instant, until: Instant) -> Instant {
    let last = until.checked_sub(LAST_BOOKMARK).unwrap_or(until);
    if last > now {
        last.min(now + BOOKMARK)
    } else {
        now + BOOKMARK
    }
}

impl Watching {
    /// Waits for the next events and returns their lines; `None`: the watch has ended.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first));
        }
        while !self.ended {
            self.changes.borrow_and_update();
            let resource = self.kind.resource();
            let changes = self.store.with(|inner| inner.since(self.seen, &resource));
            let changes = match changes {
                Ok(changes) => changes,
                Err(refusal) => {
                    self.ended = true;
                    let status = refusal.status();
                    return Some(line(&json!({"type": "ERROR", "object": status})));
                }
            };
            let lines: Vec<u8> = changes
                .iter()
                .flat_map(|change| self.tell(change))
                .collect();
            if let Some(last) = changes.last() {
                self.seen = last.version;
            }
            if !lines.is_empty() {
                return Some(lines);
            }
            let bookmark = self.bookmark.unwrap_or(self.until);
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.up.wait_for(|up| !up) => return None,
                () = sleep_until(self.until) => return None,
                () = sleep_until(bookmark), if self.bookmark.is_some() => {
                    self.bookmark = Some(next_bookmark(bookmark, self.until));
                    let version = self.store.with(|inner| inner.version());
                    return Some(line(&json!({"type": "BOOKMARK", "object": {
                        "apiVersion": self.kind.api_version(), "kind": self.kind.kind,
                        "metadata": {"resourceVersion": version.max(self.seen).to_string(), "creationTimestamp": null},
                    }})));
                }
            }
        }
        None
    }

    /// Returns the event that this watch sends for a change; empty if the change does not concern selected objects.
    fn tell(&self, change: &Change) -> Vec<u8> {
        let is = change.kind != "DELETED" && self.selector.selects(&change.object);
        let was = change
            .before
            .as_ref()
            .is_some_and(|before| self.selector.selects(before));
        let kind = match (was, is) {
            (false, false) => return Vec::new(),
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        self.line(kind, &change.object)
    }

    fn line(&self, kind: &str, object: &Value) -> Vec<u8> {
        match self.metadata_only {
            true => line(&json!({"type": kind, "object": super::http::metadata_of(object)})),
            false => line(&json!({"type": kind, "object": object})),
        }
    }
}

fn line(event: &Value) -> Vec<u8> {
    let mut line = event.to_string().into_bytes();
    line.push(b'\n');
    line
}
