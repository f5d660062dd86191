//! One replica of the command: its start, its readiness and its end.

pub(crate) mod failure;
pub(crate) mod life;
pub(crate) mod listener;
pub(crate) mod output;
pub(crate) mod ready;
pub(crate) mod spawn;
