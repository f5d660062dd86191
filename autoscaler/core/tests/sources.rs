//! The load of several sources adds up, although they report at different moments.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; .clippy.toml exempts only the test functions themselves"
)]

use std::time::Duration;

use ebb_autoscaler_core::{Class, Config, Facts, Feed, Settings, Timestamp, Workload};

const REPORT: Duration = Duration::from_secs(1);

/// Returns the average over the panic window for two nodes with 35 requests in flight each. One node reports 0.1 s
/// after each full second, the other one 0.9 s after it.
fn two_nodes(settle: bool) -> f64 {
    let settings = Settings::resolve(&Config::default(), &Default::default(), 0);
    let start = Timestamp::from_secs(1_000);
    let mut workload = Workload::new(start, settings, 1);
    let mut early = Feed::starting(start + Duration::from_millis(100));
    let mut late = Feed::starting(start + Duration::from_millis(900) - REPORT);
    for second in 1..=10 {
        let now = start + REPORT * second;
        for (feed, after) in [(&mut early, 100), (&mut late, 900)] {
            let at = now + Duration::from_millis(after)
                - if after == 900 { REPORT } else { Duration::ZERO };
            workload.observe(feed, at, 35.0, 0.0).unwrap();
        }
        workload.decide(now, &Facts::local(1, 1));
    }
    let now = start + REPORT * 10 + Duration::from_millis(200);
    if settle {
        workload.settle(now, &mut early);
        workload.settle(now, &mut late);
    }
    workload
        .decide(now, &Facts::local(1, 1))
        .averages
        .unwrap()
        .panic
}

#[test]
fn a_decision_between_two_reports_sees_both_sources() {
    assert_eq!(two_nodes(true), 70.0);
    // Without `Workload::settle`, one of the six buckets of the panic window contains only half of the concurrency.
    assert!(two_nodes(false) < 65.0);
}

#[test]
fn what_was_settled_is_not_counted_twice() {
    let settings = Settings::resolve(&Config::default(), &Default::default(), 0);
    let start = Timestamp::from_secs(1_000);
    let mut workload = Workload::new(start, settings, 1);
    let mut feed = Feed::starting(start);
    let stable = |workload: &mut Workload, feed: &mut Feed, at| {
        workload.settle(at, feed);
        workload.settle(at, feed);
        workload
            .decide(at, &Facts::local(1, 1))
            .averages
            .unwrap()
            .stable
    };
    // The concurrency is 10 for half a second, a decision follows, and the concurrency is 30 for the other half: the
    // mean of the second is 20.
    workload
        .observe(&mut feed, start + REPORT / 2, 10.0, 5.0)
        .unwrap();
    assert_eq!(stable(&mut workload, &mut feed, start + REPORT), 10.0);
    workload
        .observe(&mut feed, start + REPORT, 30.0, 15.0)
        .unwrap();
    assert_eq!(stable(&mut workload, &mut feed, start + REPORT), 20.0);
}

/// Returns a workload without pods, of class `ebb.dev`, with a target of one request per pod.
fn at_zero(start: Timestamp) -> Workload {
    let mut settings = Settings::resolve(&Config::default(), &Default::default(), 0);
    settings.class = Class::Ebb;
    settings.target = 1.0;
    settings.burst_window = Duration::from_millis(250);
    Workload::new(start, settings, 0)
}

#[test]
fn a_level_that_is_told_again_replaces_what_it_was_in_that_second() {
    let start = Timestamp::from_secs(1_000);
    let mut workload = at_zero(start);
    let mut feed = Feed::starting(start);
    for (millis, waiting) in [(100, 1.0), (110, 4.0), (500, 0.0), (510, 4.0), (510, 4.0)] {
        let at = start + Duration::from_millis(millis);
        workload
            .observe_waiting(&mut feed, at, waiting, waiting)
            .unwrap();
    }
    let decided = workload.decide(start + Duration::from_millis(520), &Facts::local(0, 0));
    assert_eq!(decided.averages.unwrap().stable, 4.0);
    assert_eq!(decided.desired, Some(4));
    // The next report is a measurement at the pods: a concurrency of 4 over the last 490 ms of the current second.
    workload
        .observe(&mut feed, start + REPORT, 4.0, 0.0)
        .unwrap();
    let decided = workload.decide(start + REPORT, &Facts::local(0, 4));
    assert_eq!(decided.averages.unwrap().stable, 4.0);
}

#[test]
fn a_burst_needs_no_pod_for_what_rounding_adds() {
    let start = Timestamp::from_secs(1_000);
    let mut workload = at_zero(start);
    let mut feed = Feed::starting(start);
    workload
        .observe_waiting(&mut feed, start, 4.0, 4.0)
        .unwrap();
    for tenth in 1..20 {
        let at = start + Duration::from_millis(100) * tenth;
        workload.observe(&mut feed, at, 4.0, 0.0).unwrap();
        let desired = workload.decide(at, &Facts::local(0, 4)).desired;
        assert_eq!(desired, Some(4), "after {tenth} tenths");
    }
}

/// Within one second, requests are reported first by one source (the queue) and then by a new source (a pod). Each
/// request must count once.
#[test]
fn requests_that_move_from_one_source_to_a_new_one_count_once() {
    let start = Timestamp::from_secs(1_000);
    let at = |millis| start + Duration::from_millis(millis);
    let settings = Settings {
        target: 10.0,
        ..Settings::default()
    };
    let mut workload = Workload::new(start, settings, 0);
    let mut queue = Feed::starting(start);
    workload.observe(&mut queue, at(1_400), 50.0, 0.0).unwrap();
    workload.end(queue);
    let mut pod = Feed::beginning(at(1_400));
    workload.observe(&mut pod, at(3_000), 50.0, 0.0).unwrap();
    let decision = workload.decide(at(3_000), &Facts::local(5, 5));
    let stable = decision.averages.unwrap().stable;
    assert!((stable - 50.0).abs() < 1e-6, "{stable}");
}
