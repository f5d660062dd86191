//! The last hour of a workload, in a few kilobytes.
//!
//! There are two rings: one point per two seconds for the last two minutes, and one point per 15 seconds for the time
//! before. If a point covers several decisions, it has the maxima of the values that rise in a burst, so that no burst
//! is lost. A period without changes needs two points, so an idle workload uses almost no memory.
//!
//! Bound: [`MOST`] points of 40 bytes, which are 12 KiB per workload, and 120 MB for ten thousand workloads that are
//! all busy for an hour.

use std::collections::VecDeque;

use crate::json::Point;

/// Length of the history, in seconds.
const SPAN: u64 = 3600;
/// Length of the fine ring (the newest part of the history, one point per two seconds), in seconds.
const FINE: u64 = 120;
/// Length of a step of the fine ring, which has one point per step, in seconds. Decisions are made every two seconds,
/// and immediately when a burst begins. All decisions in one step are merged into one point.
const FINE_STEP: u64 = 2;
/// Length of a step of the coarse ring (the older part of the history), in seconds.
const COARSE_STEP: u64 = 15;
/// Maximum number of points that the history of one workload stores.
#[cfg(test)]
const MOST: usize = (FINE / FINE_STEP + SPAN / COARSE_STEP + 4) as usize;

/// The history of a workload: one point per step, for the charts of the status page.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    fine: VecDeque<Point>,
    coarse: VecDeque<Point>,
}

impl History {
    /// Adds a point. A point that is older than the last point is merged into the last point.
    pub(crate) fn push(&mut self, point: Point) {
        add(&mut self.fine, point, FINE_STEP);
        while let Some(first) = self.fine.front().copied()
            && self.fine.len() > 1
            && first.t + FINE < point.t
        {
            self.fine.pop_front();
            add(&mut self.coarse, first, COARSE_STEP);
        }
        while let Some(first) = self.coarse.front()
            && first.t + SPAN < point.t
        {
            self.coarse.pop_front();
        }
    }

    /// Returns all points, oldest first.
    pub(crate) fn points(&self) -> Vec<Point> {
        self.coarse.iter().chain(&self.fine).copied().collect()
    }
}

/// Adds a point to a ring, which has one point per step.
fn add(ring: &mut VecDeque<Point>, point: Point, step: u64) {
    let length = ring.len();
    let Some(last) = ring.back_mut() else {
        ring.push_back(point);
        return;
    };
    if point.t / step <= last.t / step {
        *last = merged(last, &point);
        return;
    }
    let flat = same(last, &point);
    // Of a period without changes, only the first and the last point are kept.
    if flat
        && length > 1
        && ring
            .get(length - 2)
            .is_some_and(|before| same(before, &point))
    {
        ring.pop_back();
    }
    ring.push_back(point);
}

fn same(one: &Point, other: &Point) -> bool {
    Point { t: 0, ..*one } == Point { t: 0, ..*other }
}

/// Merges two points of one step. The result is the later point, with the maxima of the values that rise in a burst.
fn merged(earlier: &Point, later: &Point) -> Point {
    Point {
        t: earlier.t.max(later.t),
        concurrency: earlier.concurrency.max(later.concurrency),
        stable: earlier.stable.max(later.stable),
        panic: earlier.panic.max(later.panic),
        desired: earlier.desired.max(later.desired),
        panic_mode: earlier.panic_mode || later.panic_mode,
        ..*later
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(t: u64) -> Point {
        Point {
            t,
            concurrency: (t % 97) as f32,
            ..Point::default()
        }
    }

    #[test]
    fn memory_is_bounded_however_long_and_often() {
        let mut history = History::default();
        for tenth in 0..100_000 {
            history.push(busy(1_000_000 + tenth / 10));
        }
        let points = history.points();
        assert!(points.len() <= MOST, "{}", points.len());
        assert!(points.is_sorted_by_key(|point| point.t));
        let span = points.last().unwrap().t - points[0].t;
        assert!((SPAN - 30..=SPAN + FINE + 30).contains(&span), "{span}");
        assert!(size_of::<Point>() <= 40);
    }

    #[test]
    fn an_idle_workload_takes_next_to_nothing() {
        let mut history = History::default();
        for t in 0..10_000 {
            history.push(Point {
                t,
                ..Point::default()
            });
        }
        let points = history.points();
        assert!(points.len() < 70, "{}", points.len());
    }

    #[test]
    fn a_short_burst_is_still_there_after_half_an_hour() {
        let mut history = History::default();
        for t in 0..2_000 {
            let load = if t == 200 { 500.0 } else { (t % 7) as f32 };
            history.push(Point {
                t,
                concurrency: load,
                panic_mode: t == 200,
                ..Point::default()
            });
        }
        let mut points = history.points().into_iter();
        let peak = points.find(|point| point.concurrency == 500.0).unwrap();
        assert!(peak.t.abs_diff(200) <= COARSE_STEP && peak.panic_mode);
    }
}
