//! Server-sent events. Each event contains the changes since the last event to the same viewer.
//!
//! The format is <https://html.spec.whatwg.org/multipage/server-sent-events.html>. A browser that loses the connection
//! reconnects by itself and receives all data again. No state is kept for a viewer that is disconnected.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    mem,
    sync::Arc,
    time::Duration,
};

use ebb_metrics::status::{Answer, stream};
use ebb_page_model::{Detail, Name, Point, Workload};
use futures_util::stream as streams;
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{self, Interval, MissedTickBehavior},
};

use crate::serve::{Page, Source};

/// Interval between the rounds of an event stream. In each round, the stream sends the changes since the last round.
/// Decisions are made every two seconds, and in a burst at any time.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// After this number of rounds without a change, the event stream sends a comment line, because only a write shows
/// whether the viewer has closed the connection.
const QUIET_ROUNDS: u32 = 20;
/// Maximum number of workloads in the list on the status page, because each stream stores up to a few hundred bytes per
/// workload. A person scrolls through fewer workloads. `/v1/workloads` returns all workloads.
const LISTED: usize = 10_000;
/// Maximum number of workloads for one event of the list. The stream compares the current rows of these workloads with
/// the rows that were sent last, and sends the rows that differ.
const PIECE: usize = 1_000;

/// A row of the list: one workload.
#[derive(Serialize)]
struct Row<'a> {
    id: String,
    namespace: &'a str,
    kind: &'a str,
    name: &'a str,
    mode: &'a str,
    requested_replicas: u32,
    ready_replicas: Option<u32>,
    desired_replicas: Option<u32>,
    /// The average of the workload's metric over the panic window, divided by the capacity of the ready pods at target.
    /// `None` without data or pods.
    utilization: Option<f64>,
    in_flight: u64,
    queued: u64,
    panic_mode: bool,
    pods_without_metrics: usize,
    needs_attention: bool,
}

impl<'a> Row<'a> {
    fn of(workload: &'a Workload) -> Self {
        let capacity = workload
            .target
            .zip(workload.ready_replicas)
            .map(|(target, ready)| target * f64::from(ready));
        let used = workload
            .panic
            .zip(capacity.filter(|capacity| *capacity > 0.0));
        Self {
            id: workload.id().to_string(),
            namespace: &workload.namespace,
            kind: &workload.kind,
            name: &workload.name,
            mode: &workload.mode,
            requested_replicas: workload.requested_replicas,
            ready_replicas: workload.ready_replicas,
            desired_replicas: workload.desired_replicas,
            // The utilization is rounded to one per cent, so that changes that no viewer can see are not sent.
            utilization: used.map(|(used, capacity)| (used / capacity * 100.0).round() / 100.0),
            in_flight: workload.in_flight,
            queued: workload.queued,
            panic_mode: workload.panic_mode,
            pods_without_metrics: workload.pods_without_metrics,
            needs_attention: workload.needs_attention(),
        }
    }
}

/// Streams the list of workloads: first all workloads, then the changes. The list is sent in pieces, so that no event
/// is longer than a few hundred kilobytes.
pub(crate) fn all<S: Source>(page: Page<S>, seat: OwnedSemaphorePermit) -> Answer {
    let mut list = List {
        page,
        told: HashMap::new(),
        about: Value::Null,
        round: None,
    };
    events(seat, move || Some(list.next()))
}

/// The state of a list stream: the data that its viewer has received.
struct List<S> {
    page: Page<S>,
    /// A hash of each row that was sent, by the workload's id.
    told: HashMap<String, u64>,
    about: Value,
    round: Option<Round>,
}

/// One pass over the rows of all workloads. The changed rows are sent in several events.
struct Round {
    workloads: Arc<Vec<Workload>>,
    /// Number of workloads that this pass has compared.
    at: usize,
    /// Hashes of the rows that the previous pass sent, for the workloads that this pass has not reached yet.
    before: HashMap<String, u64>,
}

impl<S: Source> List<S> {
    fn next(&mut self) -> Next {
        loop {
            let mut round = self.round.take().unwrap_or_else(|| Round {
                workloads: self.page.workloads(),
                at: 0,
                before: mem::take(&mut self.told),
            });
            let listed = round.workloads.len().min(LISTED);
            let unlisted = round.workloads.len() - listed;
            let end = listed.min(round.at + PIECE);
            let mut rows = Vec::new();
            for workload in &round.workloads[round.at..end] {
                let row = Row::of(workload);
                let text = serde_json::to_string(&row).unwrap_or_default();
                let seen = hash(&text);
                if round.before.remove(&row.id) != Some(seen) {
                    rows.push(text);
                }
                self.told.insert(row.id, seen);
            }
            round.at = end;
            let is_last = end == listed;
            let gone: Vec<_> = match is_last {
                true => mem::take(&mut round.before).into_keys().collect(),
                false => Vec::new(),
            };
            if !is_last {
                self.round = Some(round);
            }
            let now = serde_json::to_value(self.page.about()).unwrap_or_default();
            let is_new = mem::replace(&mut self.about, now) != self.about;
            if rows.is_empty() && gone.is_empty() && !is_new {
                match is_last {
                    true => return Next::Quiet,
                    false => continue,
                }
            }
            let head = json!({"about": self.about, "gone": gone, "unlisted": unlisted}).to_string();
            // The rows are JSON already, so they are inserted as text.
            let head = head.trim_end_matches('}');
            let data = format!("{head},\"rows\":[{}]}}", rows.join(","));
            return Next::Tell("rows", data, !is_last);
        }
    }
}

/// Streams one workload: first all data and the last hour, then the changes.
pub(crate) fn one<S: Source>(page: Page<S>, name: Name, seat: OwnedSemaphorePermit) -> Answer {
    let mut last: Option<Detail> = None;
    events(seat, move || {
        let Some(detail) = page.detail(&name) else {
            // The workload does not exist. The stream continues, because a workload with this name may be created
            // again.
            let was = last.take();
            return Some(match was {
                Some(_) => Next::Tell("gone", "{}".to_owned(), false),
                None => Next::Quiet,
            });
        };
        let news = match &last {
            Some(last) => since(last, &detail),
            None => serde_json::to_value(&detail).ok(),
        };
        let kind = if last.is_some() { "news" } else { "all" };
        last = Some(detail);
        Some(match news {
            Some(news) => Next::Tell(kind, news.to_string(), false),
            None => Next::Quiet,
        })
    })
}

/// Returns the parts of a workload's details that have changed. `None` if no part has changed.
fn since(last: &Detail, now: &Detail) -> Option<Value> {
    let mut news = serde_json::Map::new();
    let mut add = |key: &str, value: Result<Value, serde_json::Error>| {
        news.insert(key.to_owned(), value.unwrap_or_default());
    };
    if now.workload != last.workload {
        add("workload", serde_json::to_value(&now.workload));
    }
    if now.settings != last.settings {
        add("settings", serde_json::to_value(&now.settings));
    }
    if now.decisions != last.decisions {
        add("decisions", serde_json::to_value(&now.decisions));
    }
    if now.history.last() != last.history.last() {
        // The last point of the history that was sent may have changed since then, so this point is sent again.
        let from = last.history.last().map_or(0, |point| point.t);
        let new: Vec<&Point> = now.history.iter().filter(|point| point.t >= from).collect();
        add("history", serde_json::to_value(new));
    }
    (!news.is_empty()).then_some(Value::Object(news))
}

/// The result of one round of an event stream (see [`TELL_EVERY`]).
enum Next {
    /// An event: (its kind, its data, true if another event follows at once).
    Tell(&'static str, String, bool),
    /// Nothing has changed, so the stream sends no event in this round.
    Quiet,
}

/// Returns a stream of events, which holds the permit `seat` until the viewer disconnects. Each round calls `next`;
/// `None` ends the stream.
fn events(
    seat: OwnedSemaphorePermit,
    next: impl FnMut() -> Option<Next> + Send + Sync + 'static,
) -> Answer {
    let mut rounds = time::interval(TELL_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let state = (rounds, next, QUIET_ROUNDS, false, seat);
    let chunks = streams::unfold(
        state,
        |(mut rounds, mut next, mut quiet, mut more, seat)| async move {
            loop {
                if !more {
                    Interval::tick(&mut rounds).await;
                }
                more = false;
                let text = match next()? {
                    Next::Tell(kind, data, goes_on) => {
                        more = goes_on;
                        format!("event: {kind}\ndata: {data}\n\n")
                    }
                    Next::Quiet if quiet == 0 => ": still here\n\n".to_owned(),
                    Next::Quiet => {
                        quiet -= 1;
                        continue;
                    }
                };
                return Some((Bytes::from(text), (rounds, next, QUIET_ROUNDS, more, seat)));
            }
        },
    );
    stream("text/event-stream", chunks)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(t: u64, load: f32) -> Point {
        Point {
            t,
            concurrency: load,
            ..Point::default()
        }
    }

    #[test]
    fn only_what_is_other_is_told() {
        let last = Detail {
            history: vec![point(1, 1.0), point(2, 2.0)],
            ..Detail::default()
        };
        assert_eq!(since(&last, &last.clone()), None);
        let mut now = last.clone();
        now.history[1].concurrency = 3.0;
        now.history.push(point(4, 4.0));
        now.workload.requested_replicas = 7;
        let news = since(&last, &now).unwrap();
        let keys: Vec<_> = news.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["history", "workload"]);
        assert_eq!(news["history"].as_array().unwrap().len(), 2);
        assert_eq!(news["history"][0]["concurrency"], 3.0);
    }
}
