//! The burst window of class `ebb.dev`: the exact mean concurrency over a fraction of a second.
//!
//! The burst window complements the one-second buckets: it shows at once that a burst has begun. Each source of reports
//! (a node's agent, or the kernel counter of a process) has its own burst window, because sources do not report at the
//! same instants. The period between two reports of a source is called a span.
//!
//! Bias: the time before the first report of a source counts as idle, so that the start of a source is never mistaken
//! for a burst. The mean is exact if a span begins at the start of the window. A span that begins before the window
//! counts in proportion to its part inside the window.

use std::{collections::VecDeque, time::Duration};

use crate::time::Timestamp;

/// Spans shorter than 1 / `FINEST` of the window are merged, so that memory is bounded however often a source reports.
const FINEST: u32 = 8;

/// The recent spans of one source of reports. A span is the period between two reports, with its load.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    /// The spans that overlap the burst window, oldest first.
    spans: VecDeque<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from: Timestamp,
    to: Timestamp,
    /// Integral of the requests in flight from `from` to `to`, in request-seconds.
    integral: f64,
}

impl Span {
    fn seconds(&self) -> f64 {
        self.to.since(self.from).as_secs_f64()
    }
}

impl Burst {
    /// Adds a span with the mean concurrency over `from..to`, and returns the mean concurrency over the `window` that
    /// ends at `to`. If `window` is zero, the burst window is off, and the result is 0.
    pub fn push(&mut self, from: Timestamp, to: Timestamp, mean: f64, window: Duration) -> f64 {
        if window.is_zero() {
            self.spans = VecDeque::new();
            return 0.0;
        }
        let edge = to - window;
        while self.spans.front().is_some_and(|span| span.to <= edge) {
            self.spans.pop_front();
        }
        let span = Span {
            from,
            to,
            integral: mean * to.since(from).as_secs_f64(),
        };
        match self.spans.back_mut() {
            Some(last) if last.to == from && last.to.since(last.from) < window / FINEST => {
                last.to = to;
                last.integral += span.integral;
            }
            _ => self.spans.push_back(span),
        }
        let integral: f64 = self
            .spans
            .iter()
            .map(|span| {
                let seconds = span.seconds();
                let inside = span.to.since(span.from.max(edge)).as_secs_f64();
                if seconds > 0.0 {
                    span.integral * (inside / seconds)
                } else {
                    0.0
                }
            })
            .sum();
        integral / window.as_secs_f64()
    }

    /// Returns the size of the heap memory in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_millis(250);

    fn at(ms: u64) -> Timestamp {
        Timestamp::new(Duration::from_millis(ms))
    }

    #[test]
    fn a_start_counts_as_idle_before() {
        let mut burst = Burst::default();
        assert_eq!(burst.push(at(1000), at(1050), 10.0, WINDOW), 2.0);
        assert_eq!(burst.push(at(1050), at(1250), 10.0, WINDOW), 10.0);
        assert_eq!(burst.push(at(1250), at(1500), 0.0, WINDOW), 0.0);
    }

    #[test]
    fn a_span_across_the_edge_counts_by_its_share() {
        let mut burst = Burst::default();
        burst.push(at(0), at(400), 20.0, WINDOW);
        assert!(
            (burst.push(at(400), at(500), 5.0, WINDOW) - (20.0 * 150.0 + 5.0 * 100.0) / 250.0)
                .abs()
                < 1e-9
        );
    }

    #[test]
    fn memory_is_bounded_however_often_a_source_reports() {
        let mut burst = Burst::default();
        let mut mean = 0.0;
        for ms in 0..10_000 {
            mean = burst.push(at(ms), at(ms + 1), 3.0, WINDOW);
        }
        assert!((mean - 3.0).abs() < 1e-9);
        assert!(
            burst.spans.len() <= 2 * FINEST as usize,
            "{}",
            burst.spans.len()
        );
    }

    #[test]
    fn zero_is_off() {
        let mut burst = Burst::default();
        burst.push(at(0), at(100), 9.0, WINDOW);
        assert_eq!(burst.push(at(100), at(200), 9.0, Duration::ZERO), 0.0);
        assert_eq!(burst.heap_bytes(), 0);
    }
}
