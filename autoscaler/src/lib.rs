//! The autoscaler around the decision code: what it sees, what it moves, and the loop between.
//!
//! Ports and adapters: [`LoadSource`], [`ScaleTarget`] and [`Observer`] are all the loop knows of the world.
//! `ebb run` fills them with processes and a front door; Kubernetes is another set.

mod clock;
mod control;
mod ports;

pub use clock::Clock;
pub use control::Autoscaler;
pub use ports::{Decided, Load, LoadSource, Observer, ScaleTarget};
