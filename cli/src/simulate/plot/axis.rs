//! The time axis: from the beginning of the trace, in the unit that suits its length.

use crate::simulate::input::Trace;

/// The time of a trace.
pub(super) struct Time {
    /// The beginning of its first second, in the seconds of the recording.
    begin: f64,
    /// Its length, in `unit`s.
    pub(super) length: f64,
    /// What the axis counts in.
    pub(super) unit: &'static str,
    /// Seconds in a unit.
    seconds: f64,
}

impl Time {
    /// The axis for `trace`.
    pub(super) fn of(trace: &Trace) -> Time {
        let begin = trace.seconds.first().map_or(0.0, |first| first.t - 1.0);
        let end = trace.seconds.last().map_or(1.0, |last| last.t);
        let length = end - begin;
        // Where labels would pass some hundreds, the next unit reads better.
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

    /// Where second `t` of the recording lies on the axis.
    pub(super) fn at(&self, t: f64) -> f64 {
        (t - self.begin) / self.seconds
    }
}
