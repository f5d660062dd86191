//! The pace of reports during a burst.
//!
//! The autoscaler decides on the exact mean over the burst window (`burst-window`, 250 ms by default). So it needs
//! several reports within each window.

use std::time::Duration;

/// Time between two reports during a burst: a fifth of the default burst window.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// Time for which reports are sent at [`INTERVAL`]: the default burst window (250 ms) plus one interval (50 ms).
pub const LASTS: Duration = Duration::from_millis(300);
