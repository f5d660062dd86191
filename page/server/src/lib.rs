//! The live page: shows in a browser what a workload has done in the last hour, and why.
//!
//! `ebb-autoscaler` serves the page for all workloads of a cluster, `ebb run` for its one workload. Both fill the types
//! of [`ebb_page_model`], which `ebb top` reads, too. The page is a few files inside the program. Nothing is fetched
//! from elsewhere, so the page works without Internet access and under a strict content security policy.
//!
//! Bias: bounded. A viewer costs two checks a second, and gets only the changes, even of ten thousand workloads.
//! Failure mode: texts that are too long are truncated, and a list that is too long is sent in parts.

mod bounds;
mod events;
mod listing;
mod serve;

pub use self::serve::{Page, Source};
