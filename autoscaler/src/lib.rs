//! The autoscaler around the decision code: what it sees, what it moves, and the loop between.
//!
//! Ports and adapters: [`LoadSource`], [`ScaleTarget`] and [`Observer`] are all the loop knows of the world.
//! `ebb run` fills them with processes and a front door. A cluster's ten thousand workloads share one loop instead,
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
