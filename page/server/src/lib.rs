//! The live page: shows in a browser how a workload was scaled in the last hour, and why.
//!
//! `ebb-autoscaler` serves the page for all workloads of a cluster, `ebb run` for its one workload. Both fill the types
//! of [`ebb_page_model`], which `ebb top` reads, too. The page consists of a few files inside the program. It loads no
//! other file, so it works without Internet access and under a strict content security policy.
//!
//! Bias: bounded cost. A viewer costs two checks per second and receives only the changes, even with ten thousand
//! workloads. Failure mode: texts that are too long are truncated, and a list that is too long is sent in parts.

mod bounds;
mod events;
mod listing;
mod serve;

pub use self::serve::{Page, Source};
