//! The live page: shows in a browser what a workload has done in the last hour, and why.
//!
//! `ebb-autoscaler` serves the page for all workloads of a cluster, `ebb run` for its one workload. Both fill the same
//! types ([`model`]), which `ebb top` reads, too. The page is a few files inside the program. Nothing is fetched from
//! elsewhere, so the page works without Internet access and under a strict content security policy.
//!
//! Bias: bounded. A workload's memory ([`Memory`]) is always the same few kilobytes. A viewer costs two checks a
//! second, and gets only the changes, even of ten thousand workloads. Failure mode: texts that are too long are
//! truncated, and a list that is too long is sent in parts.

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
