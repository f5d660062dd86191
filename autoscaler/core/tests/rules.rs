//! Tests of single rules at their limit values, which the cases from Knative (`data/kpa-cases.csv`) do not cover.

#![expect(
    clippy::unwrap_used,
    reason = "tests panic, so that the backtrace stays"
)]

use std::time::Duration;

use ebb_autoscaler_core::{
    Activity, Aggregation, Annotations, Averages, Class, Config, Facts, Feed, Sample, Settings,
    Status, Step, Timestamp, Workload,
    capacity::excess_burst_capacity,
    decision::{Observation, Scaler},
    reason::{Basis, Limit},
    reconcile::{Reconciler, ToZero},
    window::Window,
};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn seen(ready: u32, load: f64) -> Observation {
    let averages = Averages {
        stable: load,
        panic: load,
    };
    Observation {
        ready,
        reachable: true,
        averages,
        burst: None,
    }
}

fn target_ten() -> Settings {
    Settings {
        target: 10.0,
        total: 10.0,
        ..Settings::default()
    }
}

#[test]
fn a_new_panic_forgets_the_one_before() {
    let settings = target_ten();
    let mut scaler = Scaler::new(NOW, 1);
    assert_eq!(scaler.scale(NOW, &settings, &seen(1, 500.0)).desired, 50);
    let calm = scaler.scale(NOW + secs(61), &settings, &seen(1, 5.0));
    assert_eq!((calm.panic_mode, calm.desired), (false, 1));
    assert_eq!(
        scaler
            .scale(NOW + secs(63), &settings, &seen(1, 25.0))
            .desired,
        3
    );
}

#[test]
fn a_burst_counts_from_the_threshold_on_and_not_below() {
    let settings = Settings {
        class: Class::Ebb,
        burst_window: secs(1),
        ..target_ten()
    };
    let decide = |burst| {
        let seen = Observation {
            burst: Some(burst),
            ..seen(5, 10.0)
        };
        Scaler::new(NOW, 1).scale(NOW, &settings, &seen)
    };
    let below = decide(90.0);
    assert_eq!(
        (below.panic_mode, below.desired, below.excess_burst_capacity),
        (false, 2, -171)
    );
    let at = decide(100.0);
    assert_eq!(
        (at.panic_mode, at.desired, at.excess_burst_capacity),
        (true, 10, -261)
    );
    assert!(matches!(at.basis, Basis::Panic { burst: true, .. }));
    // The average over the panic window is higher than the mean over the burst window, so the panic average decides.
    let seen = Observation {
        burst: Some(150.0),
        ..seen(5, 200.0)
    };
    let scale = Scaler::new(NOW, 1).scale(NOW, &settings, &seen);
    assert_eq!((scale.desired, scale.excess_burst_capacity), (20, -361));
    assert!(matches!(scale.basis, Basis::Panic { burst: false, .. }));
}

#[test]
fn what_kept_a_decision_from_the_load_is_told() {
    let settings = Settings {
        max_scale_up_rate: 2.0,
        ..target_ten()
    };
    let scale = Scaler::new(NOW, 1).scale(NOW, &settings, &seen(10, 150.0));
    assert_eq!((scale.desired, scale.limit), (15, None));
    let scale = Scaler::new(NOW, 1).scale(NOW, &settings, &seen(10, 1_000.0));
    assert_eq!((scale.desired, scale.limit), (20, Some(Limit::UpRate(20))));
    let scale = Scaler::new(NOW, 1).scale(NOW, &settings, &seen(10, 10.0));
    assert_eq!((scale.desired, scale.limit), (5, Some(Limit::DownRate(5))));
    let settings = Settings {
        activation_scale: 4,
        ..settings
    };
    let scale = Scaler::new(NOW, 1).scale(NOW, &settings, &seen(1, 5.0));
    assert_eq!(
        (scale.desired, scale.limit),
        (4, Some(Limit::Activation(4)))
    );
    let scale = Scaler::new(NOW, 1).scale(NOW, &settings, &seen(1, 0.0));
    assert_eq!((scale.desired, scale.limit), (0, None));
}

#[test]
fn an_average_has_six_decimals() {
    let mut window = Window::new(secs(60), secs(1), Aggregation::Linear);
    for (second, value) in [1.0, 1.0, 2.0].into_iter().enumerate() {
        window.record(NOW + secs(second as u64), value);
    }
    assert_eq!(window.average(NOW + secs(2)), 1.333333);
}

#[test]
fn the_excess_is_rounded_down() {
    let settings = Settings {
        total: 1.5,
        target_burst_capacity: 1.0,
        ..Settings::default()
    };
    assert_eq!(excess_burst_capacity(&settings, 1, 0.25), 0);
    assert_eq!(excess_burst_capacity(&settings, 1, 0.75), -1);
}

/// Returns the step that the reconciler takes for a workload whose activity has been `activity` for the time `lasted`.
fn step(
    settings: &Settings,
    facts: &Facts,
    activity: Activity,
    lasted: Duration,
    desired: Option<u32>,
) -> Step {
    let status = Status {
        activity,
        since: NOW - lasted,
        initialized: true,
    };
    Reconciler::new(status).step(NOW, settings, facts, facts.ready.unwrap(), desired, 0)
}

#[test]
fn a_start_has_until_its_deadline_and_half_a_minute() {
    let settings = Settings {
        progress_deadline: secs(100),
        ..Settings::default()
    };
    let at = |lasted| {
        step(
            &settings,
            &Facts::local(0, 1),
            Activity::Activating,
            lasted,
            Some(0),
        )
    };
    assert_eq!(at(secs(130)).to_zero, Some(ToZero::Activating));
    assert_eq!(at(secs(130) + Duration::from_nanos(1)).apply, Some(0));
}

#[test]
fn the_unreachable_are_not_retained_nor_kept_at_a_minimum() {
    let settings = Settings {
        last_pod_retention: secs(600),
        min_scale: 2,
        ..Settings::default()
    };
    let facts = Facts {
        reachable: false,
        ..Facts::local(1, 1)
    };
    assert_eq!(
        step(&settings, &facts, Activity::Inactive, secs(30), Some(0)).apply,
        Some(0)
    );
    let facts = Facts::local(1, 1);
    assert_eq!(
        step(&settings, &facts, Activity::Inactive, secs(30), Some(0)).apply,
        Some(2)
    );
}

#[test]
fn the_last_pod_waits_for_the_activator_to_be_seen() {
    let settings = Settings::default();
    let facts = Facts {
        activator_answers: None,
        ..Facts::local(1, 1)
    };
    let waits = step(&settings, &facts, Activity::Inactive, secs(600), Some(0));
    assert_eq!((waits.probe, waits.apply), (true, None));
    let always = Settings {
        target_burst_capacity: -1.0,
        ..settings
    };
    let goes = step(&always, &facts, Activity::Inactive, secs(600), Some(0));
    assert_eq!((goes.probe, goes.apply), (false, Some(0)));
}

#[test]
fn an_idle_workload_that_is_proxied_already_is_looked_at_again() {
    let settings = Settings::default();
    let facts = Facts {
        proxying_since: Some(NOW - secs(9)),
        ..Facts::local(1, 1)
    };
    let idle = step(&settings, &facts, Activity::Active, secs(60), Some(0));
    assert_eq!(
        (idle.want, idle.apply, idle.again),
        (Some(0), None, Some(secs(3)))
    );
}

#[test]
fn the_activator_leaves_when_there_is_room_for_a_burst() {
    let settings = Settings::default();
    let facts = Facts::local(5, 5);
    let proxied = |desired, excess| {
        let status = Status {
            activity: Activity::Active,
            since: NOW,
            initialized: true,
        };
        Reconciler::new(status)
            .step(NOW, &settings, &facts, 5, desired, excess)
            .proxy
    };
    assert!(!proxied(Some(5), 0));
    assert!(proxied(Some(5), -1));
    assert!(proxied(None, 7));
}

/// Knative's table of the `Active` condition. Columns: desired, reachable, ready, condition before, condition after.
#[test]
fn activity_follows_what_is_wanted_and_what_is_ready() {
    use Activity::{Activating, Active, Inactive};
    // The minimum is two, so that two ready pods are enough and one is not. The column `desired` is the desired number
    // before the minimum is applied. A desired 0 is raised to the minimum, except for an unreachable workload, which
    // has no minimum.
    for (desired, reachable, ready, before, after) in [
        (Some(0), false, 0, Active, Inactive),
        (Some(3), true, 1, Inactive, Activating),
        (Some(3), true, 1, Active, Activating),
        (Some(3), true, 2, Inactive, Active),
        (Some(3), true, 2, Activating, Active),
        (None, true, 1, Inactive, Inactive),
        (None, true, 1, Activating, Activating),
        (None, true, 1, Active, Activating),
        (None, true, 2, Inactive, Inactive),
        (None, true, 2, Activating, Active),
        (None, true, 2, Active, Active),
    ] {
        let settings = Settings {
            min_scale: 2,
            ..Settings::default()
        };
        let status = Status {
            activity: before,
            since: NOW - secs(90),
            initialized: true,
        };
        let mut reconciler = Reconciler::new(status);
        let facts = Facts {
            reachable,
            ..Facts::local(ready, 3)
        };
        reconciler.step(NOW, &settings, &facts, ready, desired, 0);
        assert_eq!(
            reconciler.status().activity,
            after,
            "{desired:?} {ready} {before:?}"
        );
        let changed = before != after;
        assert_eq!(
            reconciler.status().since,
            if changed { NOW } else { NOW - secs(90) }
        );
    }
}

#[test]
fn a_workload_may_start_with_no_pod() {
    let settings = Settings {
        initial_scale: 0,
        ..Settings::default()
    };
    let mut workload = Workload::new(NOW, settings, 0);
    assert_eq!(workload.initial_replicas(), 0);
    let decision = workload.decide(NOW, &Facts::local(0, 0));
    assert_eq!(decision.step.apply, None);
    assert_eq!(decision.status.activity, Activity::Inactive);
    // After the first decision, the workload needs one ready pod to count as active. Without this pod, it still remains
    // inactive.
    let decision = workload.decide(NOW + secs(2), &Facts::local(0, 0));
    assert_eq!(decision.status.activity, Activity::Inactive);
}

#[test]
fn a_burst_that_nobody_tells_of_any_more_is_over() {
    let settings = Settings {
        class: Class::Ebb,
        burst_window: secs(1),
        ..target_ten()
    };
    let mut workload = Workload::new(NOW, settings, 1);
    let mut feed = Feed::starting(NOW);
    workload
        .observe(&mut feed, NOW + secs(1), 5.0, 0.0)
        .unwrap();
    workload
        .observe(&mut feed, NOW + secs(2), 90.0, 0.0)
        .unwrap();
    let mut calm = workload.clone();
    let told = workload.decide(NOW + secs(4), &Facts::local(1, 1));
    assert!(
        matches!(told.reason.basis, Basis::Panic { burst: true, .. }),
        "{}",
        told.reason
    );
    let silent = calm.decide(NOW + secs(5), &Facts::local(1, 1));
    assert!(
        matches!(silent.reason.basis, Basis::Panic { burst: false, .. }),
        "{}",
        silent.reason
    );
}

#[test]
fn a_hard_limit_bounds_concurrency_and_not_requests_per_second() {
    let resolve = |metric| {
        let given = [("metric", metric), ("target", "50")]
            .map(|(key, value)| (format!("autoscaling.knative.dev/{key}"), value));
        let config = Config::default();
        let given = given.iter().map(|(key, value)| (key.as_str(), *value));
        Settings::resolve(&config, &Annotations::parse(&config, given).unwrap(), 8).total
    };
    assert_eq!(resolve("concurrency"), 8.0);
    assert_eq!(resolve("rps"), 50.0);
}

#[test]
fn reasons_read_as_sentences() {
    let mut workload = Workload::new(
        NOW,
        Settings {
            min_scale: 2,
            ..target_ten()
        },
        1,
    );
    let facts = Facts::local(1, 1);
    let reason = |workload: &mut Workload, at| workload.decide(at, &facts).reason.to_string();
    assert_eq!(
        reason(&mut workload, NOW),
        "nothing measured yet; raised to min-scale 2"
    );
    workload.record(NOW, &Sample::new(3.04, 1.0)).unwrap();
    assert_eq!(
        reason(&mut workload, NOW),
        "stable: 60 s average 3 needs 1 pod at target 10; raised to min-scale 2"
    );
    workload.record(NOW, &Sample::new(96.0, 1.0)).unwrap();
    assert_eq!(
        reason(&mut workload, NOW),
        "panic: 6 s average 99 needs 10 pods, 1 ready, threshold 2x"
    );
    workload
        .record(NOW + secs(8), &Sample::new(0.0, 0.0))
        .unwrap();
    assert_eq!(
        reason(&mut workload, NOW + secs(8)),
        "panic: 10 pods kept, the load needs 2 now, panic mode ends in 52s"
    );
}

#[test]
fn settings_made_in_code_cannot_take_all_memory() {
    let endless = Settings {
        stable_window: Duration::MAX,
        panic_window: Duration::MAX,
        burst_window: Duration::MAX,
        scale_down_delay: Duration::MAX,
        class: Class::Ebb,
        ..Settings::default()
    };
    let mut workload = Workload::new(NOW, endless, 1);
    workload.configure(NOW, Settings::default());
    let mut feed = Feed::starting(Timestamp::EPOCH);
    let end_of_time = Timestamp::new(Duration::MAX);
    workload.observe(&mut feed, end_of_time, 1.0, 1.0).unwrap();
    workload.decide(end_of_time, &Facts::local(u32::MAX, u32::MAX));
    assert!(workload.footprint() < 4096);
}
