//! The autoscaler around the decision code: its inputs, its outputs and the decision loop.
//!
//! Ports and adapters: the loop uses only [`LoadSource`], [`ScaleTarget`] and [`Observer`]. `ebb run` implements them
//! for processes and a front door. A cluster's ten thousand workloads share one loop instead,
#![cfg_attr(
    feature = "kubernetes",
    doc = "the [`engine`], with adapters of its own: [`cluster`]."
)]
#![cfg_attr(
    not(feature = "kubernetes"),
    doc = "the engine, behind the feature `kubernetes`."
)]

mod clock;
#[cfg(feature = "kubernetes")]
pub mod cluster;
mod control;
#[cfg(feature = "kubernetes")]
pub mod engine;
mod ports;

pub use clock::Clock;
pub use control::Autoscaler;
pub use ports::{Decided, Load, LoadSource, Observer, ScaleTarget};
