//! The live page: what a workload has done in the last hour and why, in a browser, as it happens.
//!
//! `ebb-autoscaler` serves it for all workloads of a cluster, `ebb run` for its one; both fill the same types
//! ([`model`]), which are also what `ebb top` reads. The page is a few files that are part of the program: nothing is
//! fetched from elsewhere, so it works where there is no Internet, and under a strict content security policy.
//!
//! Bias: bounded. A workload's memory ([`Memory`]) is the same few kilobytes whatever happens to it, a viewer costs a
//! look a second, and of ten thousand workloads a viewer is sent what has changed. Answers are bounded too: texts are cut,
//! and a list that is too long comes in parts.

mod bounds;
mod events;
mod history;
mod journal;
mod listing;
mod memory;
pub mod model;
mod serve;
mod settings;

pub use self::{
    memory::{Memory, Seen},
    model::{About, All, Detail, Name, Scaled, Unknown, Workload},
    serve::{Page, Source},
    settings::{Given, settings},
};
