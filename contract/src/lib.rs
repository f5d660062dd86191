//! What the programs of Ebb, and others, have agreed on: each of it is defined here and nowhere else.
//!
//! The wire types of the report API, the opt-in rule, the labels and annotations of EndpointSlices, the record of ports,
//! and how often a burst is reported. No I/O and no decision is made here.
//!
//! Bias: names and fields are only ever added, so that programs one release apart understand each other.

pub mod allotments;
mod bounded;
pub mod burst;
pub mod doors;
pub mod opt_in;
mod report;
pub mod slices;

pub use self::{
    bounded::LONGEST,
    report::{AUDIENCE, MAX_BODY, PATH, Pod, Receipt, Report},
};
