//! One replica of the command: how it starts, when it is ready, how it ends.

pub(crate) mod failure;
pub(crate) mod life;
pub(crate) mod output;
pub(crate) mod ready;
pub(crate) mod spawn;
