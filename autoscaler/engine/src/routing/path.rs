//! The writes of the request path, and their outcomes.

use super::{
    namespace_record::RecordChange,
    slice::{DesiredSlice, ObservedSlice},
};

/// A write to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Change the ConfigMap that records the activator ports of a namespace.
    Record(RecordChange),
    /// Write the EndpointSlice of a Service: the desired state, and the content to write.
    Write(Box<DesiredSlice>, ObservedSlice),
    /// Remove the EndpointSlice of a Service, because the Service routes to no workload that Ebb scales.
    Remove {
        /// Namespace of the Service.
        namespace: Box<str>,
        /// Name of the Service.
        service: Box<str>,
    },
}

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The API server has carried out the write. The value is the new `metadata.resourceVersion` of the ConfigMap that
    /// records activator ports; `None` if the write was for an EndpointSlice or deleted the ConfigMap.
    Done(Option<Box<str>>),
    /// The API server refused the write.
    Refused {
        /// The error message.
        why: String,
        /// Whether the API server refused the write because the namespace is terminating.
        terminating: bool,
    },
    /// No answer from the API server has arrived, so it is not known whether the write was carried out.
    Unanswered,
}
