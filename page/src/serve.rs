//! What is answered at which path.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ebb_metrics::status::{Answer, page};
use hyper::{
    StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    events,
    model::{About, All, Detail, Name, Workload},
};

/// All workloads are looked at this often at most, however many look at them.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Streams of events at a time, two for each viewer. Half the connections that the status port takes: the kubelet and
/// Prometheus must find a place, whoever looks on.
const STREAMS: usize = 128;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page and what it is made of; nothing comes from elsewhere. Scripts are modules that import each other.
const FILES: [(&str, &str, &str); 8] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("assets/page.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("assets/page.css"),
    ),
    ("/page.js", SCRIPT, include_str!("assets/page.js")),
    ("/list.js", SCRIPT, include_str!("assets/list.js")),
    ("/detail.js", SCRIPT, include_str!("assets/detail.js")),
    ("/chart.js", SCRIPT, include_str!("assets/chart.js")),
    ("/stream.js", SCRIPT, include_str!("assets/stream.js")),
    ("/dom.js", SCRIPT, include_str!("assets/dom.js")),
];

/// No script, style, frame or connection but of this port.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// Where it comes from what is shown.
pub trait Source: Send + Sync + 'static {
    /// Who tells.
    fn about(&self) -> About;
    /// All workloads, always in the same order.
    fn workloads(&self) -> Vec<Workload>;
    /// One of them with all that is remembered of it; `None` where there is none of that name.
    fn detail(&self, of: &Name) -> Option<Detail>;
}

/// What is served. A clone is another handle.
pub struct Page<S>(Arc<Shared<S>>);

struct Shared<S> {
    source: S,
    /// Streams of events that there may be yet.
    seats: Arc<Semaphore>,
    last: Mutex<Option<(Instant, Arc<Vec<Workload>>)>>,
}

impl<S: Source> Page<S> {
    /// A page that shows this.
    pub fn new(source: S) -> Self {
        Self(Arc::new(Shared {
            source,
            seats: Arc::new(Semaphore::new(STREAMS)),
            last: Mutex::default(),
        }))
    }

    /// A place for a stream, if there is one left.
    fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.seats).try_acquire_owned().ok()
    }

    pub(crate) fn about(&self) -> About {
        self.0.source.about()
    }

    pub(crate) fn detail(&self, of: &Name) -> Option<Detail> {
        self.0.source.detail(of)
    }

    /// All workloads, as of half a second ago at most.
    pub(crate) fn workloads(&self) -> Arc<Vec<Workload>> {
        // Held while it looks: of many who ask at once one looks, and the others have what it saw.
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, workloads)) if at.elapsed() < LOOK_EVERY => Arc::clone(workloads),
            _ => {
                let workloads = Arc::new(self.0.source.workloads());
                *last = Some((Instant::now(), Arc::clone(&workloads)));
                workloads
            }
        }
    }

    /// The answer to a GET; `None` where there is nothing at this path.
    #[must_use]
    pub fn answer(&self, path: &str) -> Option<Answer> {
        if let Some((_, kind, text)) = FILES.iter().find(|(at, _, _)| *at == path) {
            return Some(file(kind, text));
        }
        let found = match path.strip_prefix("/v1/")? {
            "workloads" => json(&All {
                about: self.about(),
                workloads: self.0.source.workloads(),
            }),
            "events" => match self.seat() {
                Some(seat) => events::all(self.clone(), seat),
                None => full(),
            },
            path => match path.split_once('/')? {
                ("workloads", name) => match self.detail(&name.parse().ok()?) {
                    Some(detail) => json(&detail),
                    None => gone(),
                },
                ("events", name) => {
                    let name = name.parse().ok()?;
                    match self.seat() {
                        Some(seat) => events::one(self.clone(), name, seat),
                        None => full(),
                    }
                }
                _ => return None,
            },
        };
        Some(found)
    }
}

fn file(kind: &'static str, text: &'static str) -> Answer {
    let mut answer = page(StatusCode::OK, kind, text);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A newer program has a newer page.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

fn json(value: &impl serde::Serialize) -> Answer {
    // Plain data with string keys always has a JSON form.
    let body = serde_json::to_string(value).unwrap_or_default();
    page(StatusCode::OK, "application/json", body)
}

fn full() -> Answer {
    let text = "too many look on already\n";
    let kind = "text/plain; charset=utf-8";
    page(StatusCode::SERVICE_UNAVAILABLE, kind, text)
}

fn gone() -> Answer {
    let text = "no workload of that name\n";
    page(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", text)
}

impl<S> Clone for Page<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Page<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
