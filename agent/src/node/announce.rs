//! Writes Events. The Node gets an Event when requests cannot be counted on it, and when they are counted again. A pod
//! gets an Event when it opted in but cannot be counted, or is counted at another hop than it should be.
//!
//! Failure mode: an Event that cannot be written is logged and dropped. The log and the metrics contain the same
//! information.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tracing::warn;

use super::{pod::PodSpec, unavailable::UnavailableReason};

/// Maximum length of an Event's note in bytes, a limit of the API.
const LONGEST_NOTE: usize = 1024;

/// Writes Events on one Node and its pods.
pub(super) struct Announcer {
    recorder: Recorder,
    node: ObjectReference,
}

impl Announcer {
    pub(super) fn new(client: Client, node: &str) -> Self {
        let reporter = Reporter {
            controller: "ebb-agent".to_owned(),
            instance: Some(node.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            node: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                // The uid is the Node's name, as in kubelet's own Events: `kubectl describe node` selects Events by
                // this uid.
                uid: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        }
    }

    /// Writes an Event on the Node with the reason why no request on this node can be counted.
    pub(super) fn node_unavailable(&self, reason: &UnavailableReason) {
        let note = format!("Requests to the pods of this node are not counted: {reason}");
        self.publish(self.node.clone(), EventType::Warning, reason.label(), note);
    }

    /// Writes an Event on the Node: requests are counted again.
    pub(super) fn node_counting(&self) {
        let note = "Requests to the pods of this node are counted".to_owned();
        self.publish(self.node.clone(), EventType::Normal, "Counting", note);
    }

    /// Writes an Event on a pod with the reason why the pod cannot be counted.
    pub(super) fn pod_rejected(&self, pod: &PodSpec, why: &str) {
        let note = format!("Requests to this pod are not counted: {why}");
        self.publish(reference(pod), EventType::Warning, "NotCounted", note);
    }

    /// Writes an Event on a pod with advice about the hop at which the pod is counted.
    pub(super) fn pod_advised(&self, pod: &PodSpec, advice: &str) {
        let note = format!("Requests to this pod are {}: {advice}", pod.counted_at);
        self.publish(reference(pod), EventType::Warning, "CountedAtEdge", note);
    }

    fn publish(
        &self,
        regarding: ObjectReference,
        type_: EventType,
        reason: &'static str,
        mut note: String,
    ) {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Count".to_owned(),
            secondary: None,
        };
        let recorder = self.recorder.clone();
        // A separate task writes the Event, because the API server may take long to answer.
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &regarding).await {
                warn!(%error, reason, "an Event could not be written");
            }
        });
    }
}

fn reference(pod: &PodSpec) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.clone()),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}
