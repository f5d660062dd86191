//! The fixtures of the integration tests.
//!
//! A fixture removes everything it created (process, cgroup, folder) when it is dropped, also when the test panics. The
//! next test run sweeps what a killed run left. Fixtures panic; they do not return errors. No fixture sleeps for "long
//! enough": it waits for an event, or checks a condition repeatedly until a deadline that only a broken product reaches.

pub mod browser;
mod cgroup;
pub mod client;
pub mod ebb;
mod find;
pub mod h2;
mod kernel_ids;
mod needs;
pub mod net;
mod notes;
mod process;
mod remains;
pub mod run;
pub mod server;
mod shared;
mod suite;
mod wait;
pub mod watch;
mod wire;

pub use cgroup::TestCgroup;
pub use find::{control_plane, kubectl, npm, program};
pub use needs::Need;
pub use notes::{note, row};
pub use process::{Process, Signal};
pub use remains::{Remains, dead_runs};
pub use shared::{Held, Shared};
pub use suite::{Case, full, main};
pub(crate) use wait::poll;
pub use wait::{eventually, free_port};
pub use wire::Wire;
