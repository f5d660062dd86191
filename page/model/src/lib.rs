//! The data of a workload that the live page shows: its state, its last hour and its last decisions.
//!
//! The engine fills these types, the page's server (`ebb-page`) sends them as JSON, and `ebb top` reads them. This
//! crate does no I/O.
//!
//! Bias: bounded memory. A workload's [`Memory`] never exceeds a few kilobytes. Failure mode: in a long history,
//! several decisions are merged into one point. The point has the maxima of the values that rise in a burst.

mod history;
mod journal;
mod json;
mod memory;
mod settings;

pub use self::{
    json::{
        About, All, CountedAt, Detail, Line, Name, NotCounted, Point, Scaled, Setting, Unknown,
        Word, Workload,
    },
    memory::{Memory, WorkloadSample},
    settings::{SettingSources, settings},
};
