//! The pace of reports during a burst.
//!
//! The autoscaler decides on the exact mean over the burst window (`burst-window`, 250 ms by default). So it needs
//! reports at both ends of the window and within it.

use std::time::Duration;

/// Time between two reports during a burst: a fifth of the default burst window.
pub const INTERVAL: Duration = Duration::from_millis(50);

/// How long reports are sent at this pace: the default burst window plus one report.
pub const LASTS: Duration = Duration::from_millis(300);
