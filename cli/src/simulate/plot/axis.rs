//! The time axis. It begins at the start of the trace; its unit depends on the length of the trace.

use crate::simulate::input::Trace;

/// The time axis of a trace.
pub(super) struct Time {
    /// The start of the first second, in seconds of the recording.
    begin: f64,
    /// The length of the trace, in `unit`s.
    pub(super) length: f64,
    /// The unit of the axis.
    pub(super) unit: &'static str,
    /// Seconds per unit.
    seconds: f64,
}

impl Time {
    /// Creates the axis of `trace`.
    pub(super) fn of(trace: &Trace) -> Time {
        let begin = trace.seconds.first().map_or(0.0, |first| first.t - 1.0);
        let end = trace.seconds.last().map_or(1.0, |last| last.t);
        let length = end - begin;
        // A larger unit is used if the labels would be larger than 900 s or 180 min.
        let (unit, seconds) = match length {
            ..=900.0 => ("seconds", 1.0),
            ..=10_800.0 => ("minutes", 60.0),
            _ => ("hours", 3600.0),
        };
        Time {
            begin,
            length: length / seconds,
            unit,
            seconds,
        }
    }

    /// Returns the position of second `t` of the recording on the axis.
    pub(super) fn at(&self, t: f64) -> f64 {
        (t - self.begin) / self.seconds
    }
}
