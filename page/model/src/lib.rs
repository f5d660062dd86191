//! What the live page shows of a workload: its state, its last hour and its last decisions.
//!
//! The engine fills these types, the page's server (`ebb-page`) sends them as JSON, and `ebb top` reads them. Nothing
//! here does I/O.
//!
//! Bias: bounded. A workload's [`Memory`] is always the same few kilobytes. Failure mode: in a long history, several
//! decisions share a point, which has the maximum of what rises in a burst.

mod history;
mod journal;
mod json;
mod memory;
mod settings;

pub use self::{
    json::{About, All, Detail, Line, Name, Point, Scaled, Setting, Unknown, Word, Workload},
    memory::{Memory, Seen},
    settings::{Given, settings},
};
