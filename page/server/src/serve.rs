//! The paths of the page, and their responses.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ebb_metrics::status::{Answer, page, text};
use ebb_page_model::{About, Detail, Name, Workload};
use hyper::{
    StatusCode,
    header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    bounds, events,
    listing::{self, Part},
};

/// Minimum time between two reads of all workloads, for any number of viewers.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Maximum number of concurrent event streams; each viewer uses two. They are a quarter of the connections of the
/// status port, so that Prometheus can always connect. A list stream stores the id and a hash of each row that it has
/// sent, a few MiB at most.
const STREAMS: usize = 64;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page: (path, content type, content). The page loads no other file. The scripts are modules that
/// import each other.
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

/// The content security policy. It allows scripts, styles and connections from this port only, and no frames.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// The source of the data on the page.
pub trait Source: Send + Sync + 'static {
    /// Returns the program that serves the page.
    fn about(&self) -> About;
    /// Returns all workloads, always in the same order.
    fn workloads(&self) -> Vec<Workload>;
    /// Returns one workload with its history. `None` if no workload has this name.
    fn detail(&self, of: &Name) -> Option<Detail>;
}

/// The page. Clones share the same source and event streams.
pub struct Page<S>(Arc<Shared<S>>);

struct Shared<S> {
    source: S,
    /// One permit for each event stream that can still be opened.
    seats: Arc<Semaphore>,
    last: Mutex<Option<(Instant, Arc<Vec<Workload>>)>>,
}

impl<S: Source> Page<S> {
    /// Creates a page that shows `source`.
    pub fn new(source: S) -> Self {
        Self(Arc::new(Shared {
            source,
            seats: Arc::new(Semaphore::new(STREAMS)),
            last: Mutex::default(),
        }))
    }

    /// Returns a permit for an event stream. `None` if the maximum number of event streams is open.
    fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.seats).try_acquire_owned().ok()
    }

    pub(crate) fn about(&self) -> About {
        self.0.source.about()
    }

    pub(crate) fn detail(&self, of: &Name) -> Option<Detail> {
        let mut detail = self.0.source.detail(of)?;
        bounds::detail(&mut detail);
        Some(detail)
    }

    /// Returns all workloads in the order of their names. The list is at most half a second old.
    pub(crate) fn workloads(&self) -> Arc<Vec<Workload>> {
        // The lock is held while the workloads are read. So one of many concurrent callers reads them, and the others
        // wait and then use its result.
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, workloads)) if at.elapsed() < LOOK_EVERY => Arc::clone(workloads),
            _ => {
                let mut workloads = self.0.source.workloads();
                workloads.iter_mut().for_each(bounds::workload);
                workloads.sort_by_cached_key(listing::token);
                let workloads = Arc::new(workloads);
                *last = Some((Instant::now(), Arc::clone(&workloads)));
                workloads
            }
        }
    }

    /// Returns the response to a GET request for this path and query. `None` for an unknown path.
    #[must_use]
    pub fn answer(&self, path: &str, query: Option<&str>) -> Option<Answer> {
        if let Some((_, kind, text)) = FILES.iter().find(|(at, _, _)| *at == path) {
            return Some(file(kind, text));
        }
        let found = match path.strip_prefix("/v1/")? {
            "workloads" => match Part::read(query) {
                Ok(part) => json(part.json(&self.about(), &self.workloads())),
                Err(allowed) => text(StatusCode::BAD_REQUEST, &allowed),
            },
            "events" => match self.seat() {
                Some(seat) => events::all(self.clone(), seat),
                None => full(),
            },
            path => match path.split_once('/')? {
                ("workloads", name) => match self.detail(&name.parse().ok()?) {
                    // Plain data with string keys can always be converted to JSON.
                    Some(detail) => json(serde_json::to_string(&detail).unwrap_or_default()),
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
    answer
}

fn json(body: String) -> Answer {
    page(StatusCode::OK, "application/json", body)
}

fn full() -> Answer {
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many pages are open; close some, or use /v1/workloads",
    )
}

fn gone() -> Answer {
    text(StatusCode::NOT_FOUND, "no workload of that name")
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
