//! The node side of Ebb: loads the kernel programs, attaches them to cgroups, and reads their counters.
//!
//! The agent never samples: readings are cumulative, and rates and means are derived from the difference of two
//! readings. A failed reading is an error, never a zero.

pub mod cgroup;
pub mod counter;
mod error;
mod interval;
mod kernel;
mod mapped_counters;
pub mod pins;
mod reading;
mod rules;

pub use error::CounterError;
pub use interval::{Interval, Intervals};
pub use reading::Reading;
pub use rules::{Rules, RulesError};
