//! Ebb's decisions: how many pods a workload should have. The algorithm is that of Knative's KPA, with the same
//! results, plus the burst window.
//!
//! This crate is pure: it has no clock, no I/O and no threads. The caller passes the time and the facts, and gets steps
//! back. The same input gives the same output, bit for bit. So `ebb run`, `ebb simulate` and the cluster's autoscaler
//! share all of this code.
//!
//! ```
//! use std::time::Duration;
//! use ebb_autoscaler_core::{Annotations, Config, Facts, Feed, Settings, Timestamp, Workload};
//!
//! // Parses the settings of the cluster and of a workload. All errors of one text are reported at once.
//! let config = Config::from_map([("stable-window", "30s")])?;
//! let annotations = Annotations::parse(&config, [
//!     ("autoscaling.knative.dev/class", "ebb.dev"),
//!     ("autoscaling.knative.dev/target", "10"),
//! ])?;
//! let settings = Settings::resolve(&config, &annotations, 0);
//!
//! // One replica is ready and nothing has been measured yet.
//! let start = Timestamp::from_secs(1_000);
//! let mut workload = Workload::new(start, settings, 1);
//! let mut feed = Feed::starting(start);
//!
//! // A report has the exact mean concurrency since the last report, and the number of requests started since.
//! // The result is `Some(_)` if a decision is due now. Otherwise decide every `DECISION_TICK`.
//! let trigger = workload.observe(&mut feed, start + Duration::from_millis(250), 40.0, 100.0)?;
//! assert!(trigger.is_some());
//! let decision = workload.decide(start + Duration::from_millis(250), &Facts::local(1, 1));
//! assert_eq!(decision.step.apply, Some(6)); // 40 requests in flight / (target 10 * 70 %) = 5.7, rounded up
//! assert_eq!(decision.reason.to_string(), "panic: 3 s average 40 needs 6 pods, 1 ready, threshold 2x");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Overview: [`Config`] and [`Annotations`] parse text and become [`Settings`]. A [`Feed`] records load in the
//! [`window`]s. [`decision`] turns averages into a number of pods, and [`reconcile`] turns the number of pods into a
//! step. [`Workload`] combines all of these modules.

#![forbid(unsafe_code)]

pub mod activity;
pub mod ahead;
pub mod annotations;
pub mod burst;
pub mod capacity;
pub mod class;
pub mod config;
pub mod decision;
pub mod delay;
pub mod duration;
pub mod facts;
pub mod feed;
pub mod latest;
mod nearest;
pub mod problem;
pub mod reason;
pub mod reconcile;
pub mod settings;
pub mod time;
mod value;
pub mod window;
pub mod workload;

pub use self::{
    activity::{Activity, Status},
    ahead::{CountedAhead, waiting_load},
    annotations::Annotations,
    class::{Aggregation, Class, Metric},
    config::Config,
    duration::GoDuration,
    facts::Facts,
    feed::Feed,
    problem::{Problem, Problems},
    reason::Reason,
    reconcile::Step,
    settings::Settings,
    time::Timestamp,
    window::{Averages, BadSample, Sample},
    workload::{DECISION_TICK, Decision, Trigger, Workload},
};
