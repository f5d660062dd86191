//! How often a burst is reported.
//!
//! The autoscaler decides on the exact mean over the burst window (`burst-window`, 250 ms by default). For that, reports
//! must lie at its ends and within it.

use std::time::Duration;

/// Time between two reports while a burst lasts: a fifth of the default burst window.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Time for which reports follow each other so fast: the default burst window, and one report more.
pub const LASTS: Duration = Duration::from_millis(300);
