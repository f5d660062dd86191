//! The interfaces between the programs of Ebb, and with other programs. Each interface is defined here and nowhere
//! else.
//!
//! The interfaces are the wire types of the report API, the opt-in rule, the limits of annotations, the labels and
//! annotations of EndpointSlices, the record of ports, and the pace of reports during a burst. This crate does no I/O
//! and makes no decisions.
//!
//! Bias: names and fields are only ever added, so that programs one release apart understand each other.

pub mod activator_report;
pub mod allotments;
mod bounded;
pub mod burst;
pub mod hop;
pub mod limits;
pub mod opt_in;
mod report;
pub mod slices;

pub use self::{
    activator_report::{ActivatorReport, PortReport},
    bounded::LONGEST,
    hop::CountedAt,
    report::{AUDIENCE, MAX_BODY, MAX_REJECTED, PATH, Pod, Receipt, RejectedPod, Report},
};
