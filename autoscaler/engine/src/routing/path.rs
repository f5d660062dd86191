//! The writes of the request path, and their outcomes.

use super::{
    namespace_record::RecordChange,
    slice::{DesiredSlice, ObservedSlice},
};

/// A write to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    /// Change the record of a namespace's ports.
    Record(RecordChange),
    /// Write the slice of a Service so that it has this content.
    Write(Box<DesiredSlice>, ObservedSlice),
    /// Remove the slice, because the Service leads to nothing that is scaled here.
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
    /// ObservedSlice; with the version of the record, if a record was written.
    Done(Option<Box<str>>),
    /// The API server refused it.
    Refused {
        /// The error message.
        why: String,
        /// Whether the reason is that the namespace is terminating.
        terminating: bool,
    },
    /// There was no answer; it may be written or not.
    Unanswered,
}
