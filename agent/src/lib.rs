//! The node's side of Ebb: loads the kernel programs, attaches them to cgroups, reads what they count.
//!
//! It never samples: every figure is a difference of two cumulative readings. When a reading cannot
//! be had, that is an error, never a zero.

pub mod cgroup;
pub mod counter;
mod error;
mod interval;
mod kernel;
mod mapped;
pub mod pins;
mod reading;
mod rules;

pub use error::CounterError;
pub use interval::{Interval, Intervals};
pub use reading::Reading;
pub use rules::{Rules, RulesError};
