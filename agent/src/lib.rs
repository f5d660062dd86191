//! The node side of Ebb: loads the kernel programs, attaches them to cgroups, and reads their counters.
//!
//! The agent never samples: it derives each value from the difference of two cumulative readings. A failed reading is
//! an error, never a zero.

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
