//! Events on the objects of users: what Ebb has done with an object, or why Ebb has not scaled it.
//!
//! A notice that repeats within six minutes is one Event with a series count, as in all of Kubernetes. Failure mode: an
//! Event that cannot be written is logged and dropped; no other task waits for it.

mod rate;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ebb_engine::{Notice, TargetKey};
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use self::rate::{Rates, Verdict};

/// A notice that repeats within this time belongs to the same Event: six minutes, as in client-go. kube-apiserver keeps
/// Events for longer, an hour.
const SERIES: Duration = Duration::from_secs(360);
/// Maximum number of Events that are remembered, so that a repeated notice is counted in the series of its Event.
const REMEMBERED: usize = 4096;
/// Longest note that the API accepts, in bytes.
const LONGEST_NOTE: usize = 1024;
/// Maximum number of notices that wait to be written: more than a person would read.
const WAITING: usize = 1024;

/// Publishes notices as Events.
#[derive(Clone, Debug)]
pub(super) struct Events {
    sender: mpsc::Sender<Notice>,
    rates: Arc<Mutex<Rates>>,
    /// Counter of Events that were dropped.
    dropped: Counter,
}

impl Events {
    /// Creates a sender of notices and the task that writes them as Events.
    pub(super) fn new(
        client: Client,
        identity: String,
        dropped: Counter,
        versions: impl Fn(&TargetKey) -> Option<String> + Send + 'static,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let writer = Writer {
            client,
            identity,
            written: HashMap::new(),
        };
        let events = Self {
            sender,
            rates: Arc::default(),
            dropped,
        };
        (events, writer.run(receiver, versions))
    }

    /// Publishes a notice as an Event. The notice is dropped if its namespace has had too many Events, or if too many
    /// notices already wait.
    pub(super) fn say(&self, notice: Notice) {
        let Notice {
            about,
            reason,
            note,
            ..
        } = &notice;
        let rates = self.rates.lock();
        let mut rates = rates.unwrap_or_else(PoisonError::into_inner);
        match rates.take(&about.namespace, Instant::now()) {
            Verdict::Write => info!(%about, %reason, "{note}"),
            Verdict::FirstTooMany => {
                warn!(namespace = %about.namespace, "too many Events in this namespace; further Events are dropped");
                self.dropped.inc();
                return;
            }
            Verdict::TooMany => {
                self.dropped.inc();
                return;
            }
        }
        drop(rates);
        if self.sender.try_send(notice).is_err() {
            self.dropped.inc();
            warn!("too many Events wait to be written; an Event is dropped");
        }
    }
}

struct Writer {
    client: Client,
    identity: String,
    written: HashMap<Notice, WrittenEvent>,
}

/// An Event that has been written.
struct WrittenEvent {
    name: String,
    count: i32,
    last: Instant,
}

impl Writer {
    async fn run(
        mut self,
        mut notices: mpsc::Receiver<Notice>,
        versions: impl Fn(&TargetKey) -> Option<String>,
    ) {
        while let Some(notice) = notices.recv().await {
            let version = versions(&notice.about).unwrap_or_else(|| "v1".to_owned());
            if let Err(error) = self.write(&notice, version).await {
                warn!(about = %notice.about, %error, "cannot write an Event");
            }
        }
    }

    async fn write(&mut self, notice: &Notice, version: String) -> Result<(), kube::Error> {
        let now = MicroTime(Timestamp::now());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &notice.about.namespace);
        self.written
            .retain(|_, written| written.last.elapsed() < SERIES);
        if let Some(written) = self.written.get_mut(notice) {
            written.count += 1;
            written.last = Instant::now();
            let series = json!({"series": {"count": written.count, "lastObservedTime": now}});
            match api
                .patch(
                    &written.name,
                    &PatchParams::default(),
                    &Patch::Merge(series),
                )
                .await
            {
                // The API server has deleted the old Event: a new one is created.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                result => return result.map(drop),
            }
        }
        let name = format!("{}.{:x}", notice.about.name, now.0.as_nanosecond());
        let event = self.event(notice, version, &name, now);
        api.create(&PostParams::default(), &event).await?;
        if self.written.len() < REMEMBERED {
            let written = WrittenEvent {
                name,
                count: 1,
                last: Instant::now(),
            };
            self.written.insert(notice.clone(), written);
        }
        Ok(())
    }

    fn event(&self, notice: &Notice, version: String, name: &str, now: MicroTime) -> Event {
        let about = &notice.about;
        let group = if about.group.is_empty() {
            version
        } else {
            format!("{}/{version}", about.group)
        };
        Event {
            metadata: ObjectMeta {
                namespace: Some(about.namespace.to_string()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Autoscale".to_owned()),
            event_time: Some(now),
            note: Some(shortened(&notice.note).to_owned()),
            reason: Some(notice.reason.to_owned()),
            regarding: Some(ObjectReference {
                api_version: Some(group),
                kind: Some(about.kind.to_string()),
                namespace: Some(about.namespace.to_string()),
                name: Some(about.name.to_string()),
                uid: Some(notice.uid.to_string()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some("ebb.dev/autoscaler".to_owned()),
            reporting_instance: Some(self.identity.clone()),
            type_: Some(if notice.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        }
    }
}

fn shortened(note: &str) -> &str {
    &note[..note.floor_char_boundary(LONGEST_NOTE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_letters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(600)).len(), 1024);
        assert_eq!(shortened(&format!("a{}", "é".repeat(600))).len(), 1023);
    }
}
