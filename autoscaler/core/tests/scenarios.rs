//! Complete runs of one workload with its pods: the examples of Knative's documentation, and Ebb's additions.

#![expect(
    clippy::unwrap_used,
    reason = "tests panic, so that the backtrace stays"
)]

use std::time::Duration;

use ebb_autoscaler_core::{
    Annotations, Averages, Config, Decision, Facts, Feed, Sample, Settings, Status, Timestamp,
    Trigger, Workload, reason::Basis,
};

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn settings(annotations: &[(&str, &str)]) -> Settings {
    let config = Config::default();
    let names: Vec<_> = annotations.iter().map(|(key, _)| full(key)).collect();
    let given = names
        .iter()
        .zip(annotations)
        .map(|(name, (_, value))| (name.as_str(), *value));
    Settings::resolve(&config, &Annotations::parse(&config, given).unwrap(), 0)
}

fn full(key: &str) -> String {
    if key.contains('/') {
        key.to_owned()
    } else {
        format!("autoscaling.knative.dev/{key}")
    }
}

/// A simulated workload of plain processes behind a proxy. A replica is ready one second after it is requested; a
/// replica that is removed stops at once.
struct World {
    workload: Workload,
    feed: Feed,
    now: Timestamp,
    replicas: u32,
    ready: u32,
}

impl World {
    fn new(settings: Settings) -> Self {
        let workload = Workload::new(START, settings, 0);
        let replicas = workload.initial_replicas();
        Self {
            workload,
            feed: Feed::starting(START),
            now: START,
            replicas,
            ready: 0,
        }
    }

    fn decide(&mut self) -> Decision {
        let decision = self
            .workload
            .decide(self.now, &Facts::local(self.ready, self.replicas));
        self.replicas = decision.step.apply.unwrap_or(self.replicas);
        self.ready = self.ready.min(self.replicas);
        decision
    }

    /// Runs for `seconds` under `load`. Returns (last decision, successive numbers of replicas without consecutive
    /// duplicates).
    fn run(&mut self, seconds: u64, load: f64) -> (Decision, Vec<u32>) {
        let mut seen = vec![self.replicas];
        let mut last = self.decide();
        for second in 1..=seconds {
            self.now = self.now + Duration::from_secs(1);
            self.ready = self.replicas;
            let trigger = self
                .workload
                .observe(&mut self.feed, self.now, load, load * 10.0)
                .unwrap();
            if trigger.is_some() || second % 2 == 0 {
                last = self.decide();
                seen.push(self.replicas);
            }
        }
        seen.dedup();
        (last, seen)
    }
}

#[test]
fn a_hundred_at_target_ten_and_seventy_per_cent_are_fifteen_pods() {
    let mut world = World::new(settings(&[
        ("target", "10"),
        ("target-utilization-percentage", "70"),
    ]));
    world.run(90, 100.0);
    assert_eq!(world.replicas, 15);
}

#[test]
fn fifty_at_target_ten_are_five_pods() {
    let mut world = World::new(settings(&[
        ("target", "10"),
        ("target-utilization-percentage", "100"),
    ]));
    world.run(30, 50.0);
    assert_eq!(world.replicas, 5);
}

#[test]
fn bounds_hold_and_one_is_left() {
    let bounds = [
        ("target", "10"),
        ("target-utilization-percentage", "100"),
        ("min-scale", "1"),
        ("max-scale", "3"),
    ];
    let mut world = World::new(settings(&bounds));
    let (decision, _) = world.run(30, 50.0);
    assert_eq!(world.replicas, 3);
    assert!(
        decision
            .reason
            .to_string()
            .ends_with("; limited to max-scale 3"),
        "{}",
        decision.reason
    );
    world.run(200, 0.0);
    assert_eq!(world.replicas, 1);
}

#[test]
fn the_last_pod_goes_after_window_and_grace_and_the_first_request_wakes_it() {
    let mut world = World::new(settings(&[]));
    world.run(20, 1.0);
    let ended = world.now;
    let (_, seen) = world.run(85, 0.0);
    assert_eq!(seen, [1], "too early");
    let (decision, seen) = world.run(15, 0.0);
    assert_eq!(seen, [1, 0], "{}", decision.reason);
    let idle = world.now.since(ended);
    assert!(
        idle >= Duration::from_secs(90) && idle <= Duration::from_secs(102),
        "{idle:?}"
    );

    // One request arrives 3 ms after the full second. The report about it must wake the workload.
    let at = world.now + Duration::from_millis(3);
    let trigger = world
        .workload
        .observe(&mut world.feed, at, 0.4, 1.0)
        .unwrap();
    assert_eq!(trigger, Some(Trigger::Wake));
    world.now = at;
    let decision = world.decide();
    assert_eq!(decision.step.apply, Some(1), "{}", decision.reason);
}

#[test]
fn requests_per_second_scale_as_well() {
    let mut world = World::new(settings(&[("metric", "rps"), ("target", "100")]));
    world.run(30, 50.0);
    // The simulated workload has ten times as many requests/s as concurrency: 500 requests/s / (target 100 * 70 %) =
    // 7.1, rounded up.
    assert_eq!(world.replicas, 8);
}

#[test]
fn a_restart_over_many_pods_keeps_them_until_there_is_history() {
    let mut workload = Workload::new(START, settings(&[]), 7);
    for second in 1..=200 {
        let now = START + Duration::from_secs(second);
        workload.record(now, &Sample::new(1.0, 1.0)).unwrap();
        let desired = workload.decide(now, &Facts::local(7, 7)).desired;
        // One decision at most halves the 7 pods (`max-scale-down-rate` is 2).
        assert_eq!(
            desired,
            Some(if second <= 60 { 7 } else { 3 }),
            "second {second}"
        );
    }
}

#[test]
fn a_silent_source_never_shrinks_a_workload() {
    let mut world = World::new(settings(&[("target", "10")]));
    world.run(30, 100.0);
    let many = world.replicas;
    for second in 1..300 {
        let now = world.now + Duration::from_secs(second);
        let facts = Facts {
            stale: true,
            ..Facts::local(many, many)
        };
        // One source has stopped reporting (`stale`). The other sources still report a concurrency of 2.
        world.workload.record(now, &Sample::new(2.0, 2.0)).unwrap();
        let decision = world.workload.decide(now, &facts);
        assert_eq!(decision.step.apply, None, "{}", decision.reason);
        assert!(decision.desired >= Some(many));
    }
    // Although a source has stopped reporting, a higher load of the other sources must cause a scale-up.
    let now = world.now + Duration::from_secs(300);
    world
        .workload
        .record(now, &Sample::new(5_000.0, 1.0))
        .unwrap();
    let decision = world.workload.decide(
        now,
        &Facts {
            stale: true,
            ..Facts::local(many, many)
        },
    );
    assert!(decision.step.apply > Some(many));
}

#[test]
fn without_data_or_a_count_of_pods_the_figure_stands() {
    let mut world = World::new(settings(&[("target", "10")]));
    world.run(30, 100.0);
    let later = world.now + Duration::from_secs(600);
    let many = world.replicas;
    let decision = world.workload.decide(later, &Facts::local(many, many));
    assert_eq!((decision.averages, decision.step.apply), (None, None));
    assert_eq!(decision.reason.basis, Basis::NoData);
    let decision = world.workload.decide(
        later,
        &Facts {
            ready: None,
            ..Facts::local(0, many)
        },
    );
    assert_eq!(decision.step.apply, None);
    assert_eq!(decision.reason.basis, Basis::ReadyUnknown);
}

/// Returns the time from the start of a burst until more pods are requested, with reports every 50 ms.
fn reaction(class: &str) -> Duration {
    let mut workload = Workload::new(START, settings(&[("class", class), ("target", "10")]), 1);
    let mut feed = Feed::starting(START);
    let mut now = START;
    let tick = Duration::from_millis(50);
    let begins = START + Duration::from_secs(120);
    for step in 1.. {
        now = now + tick;
        let load = if now > begins { 60.0 } else { 5.0 };
        let trigger = workload.observe(&mut feed, now, load, load).unwrap();
        if trigger.is_none() && step % 40 != 0 {
            continue;
        }
        let decision = workload.decide(now, &Facts::local(1, 1));
        if let Some(pods) = decision.step.apply {
            assert!(now > begins && pods >= 3, "{now:?} {}", decision.reason);
            return now.since(begins);
        }
    }
    unreachable!()
}

#[test]
fn a_burst_is_answered_in_a_fraction_of_a_second() {
    let ours = reaction("ebb.dev");
    assert!(ours <= Duration::from_millis(250), "{ours:?}");
    let knative = reaction("kpa.autoscaling.knative.dev");
    assert!(knative >= Duration::from_secs(1), "{knative:?}");
}

#[test]
fn class_ebb_without_a_burst_window_is_class_kpa() {
    let run = |class, extra: &[(&str, &str)]| {
        let mut world = World::new(settings(
            &[&[("class", class), ("target", "10")], extra].concat(),
        ));
        [5.0, 80.0, 20.0, 0.0].map(|load| world.run(50, load).1)
    };
    assert_eq!(
        run("ebb.dev", &[("ebb.dev/burst-window", "0")]),
        run("kpa.autoscaling.knative.dev", &[])
    );
}

#[test]
fn bursts_of_several_sources_add_up_until_they_are_forgotten() {
    let mut workload = Workload::new(
        START,
        settings(&[("class", "ebb.dev"), ("target", "10")]),
        1,
    );
    // Both sources first report a concurrency of 0.5, so that one pod is desired and no later report triggers a
    // wake-up.
    let (mut one, mut other) = (Feed::starting(START), Feed::starting(START));
    let mut now = START + Duration::from_secs(2);
    for feed in [&mut one, &mut other] {
        workload.observe(feed, now, 0.5, 1.0).unwrap();
    }
    workload.decide(now, &Facts::local(1, 1));
    now = now + Duration::from_millis(250);
    // The target per pod is 7 (10 * 70 %). The five requests of one source need one pod; those of both sources need two
    // pods.
    assert_eq!(workload.observe(&mut one, now, 5.0, 0.0).unwrap(), None);
    assert_eq!(
        workload.observe(&mut other, now, 5.0, 0.0).unwrap(),
        Some(Trigger::Burst)
    );
    workload.forget(one);
    now = now + Duration::from_millis(250);
    assert_eq!(workload.observe(&mut other, now, 6.0, 0.0).unwrap(), None);
}

#[test]
fn settings_change_at_once_while_it_runs() {
    let mut world = World::new(settings(&[
        ("target", "10"),
        ("target-utilization-percentage", "100"),
    ]));
    world.run(120, 100.0);
    assert_eq!(world.replicas, 10);
    let changed = [
        ("target", "20"),
        ("target-utilization-percentage", "100"),
        ("window", "6s"),
        ("scale-down-delay", "30s"),
    ];
    world.workload.configure(world.now, settings(&changed));
    // The new target applies at once: the new scale-down delay has no history yet, so it does not keep the ten pods.
    let (decision, seen) = world.run(28, 100.0);
    assert_eq!(decision.desired, Some(5));
    assert_eq!(seen, [10, 5]);
    let (decision, seen) = world.run(20, 20.0);
    assert_eq!(seen, [5], "{}", decision.reason);
    assert!(
        decision
            .reason
            .to_string()
            .starts_with("scale-down-delay: 5 pods kept"),
        "{}",
        decision.reason
    );
    let (_, seen) = world.run(20, 20.0);
    // After the delay of 30 s, the replicas follow the numbers that were desired 30 s earlier. Those numbers fell with
    // the average of the 6 s window. One decision reduces the ready pods by at most half.
    assert_eq!(seen, [5, 4, 3, 2]);
}

#[test]
fn a_restart_does_not_wake_what_was_idle() {
    let status = Status {
        activity: ebb_autoscaler_core::Activity::Inactive,
        since: START,
        initialized: true,
    };
    let mut workload = Workload::restored(START, settings(&[]), 0, status);
    let decision = workload.decide(START, &Facts::local(0, 0));
    assert_eq!(
        (decision.step.want, decision.step.apply, decision.step.proxy),
        (None, None, true)
    );
    assert_eq!(
        decision.status.activity,
        ebb_autoscaler_core::Activity::Inactive
    );
}

#[test]
fn it_decides_on_averages_from_elsewhere() {
    let mut workload = Workload::new(START, settings(&[]), 0);
    let mut decided = |averages| {
        workload
            .decide_on(START, &Facts::local(1, 1), averages)
            .desired
    };
    assert_eq!(decided(None), None);
    let averages = Averages {
        stable: 700.0,
        panic: 700.0,
    };
    assert_eq!(decided(Some(averages)), Some(10));
    assert_eq!(decided(None), Some(10), "the figure before stands");
}

#[test]
fn a_workload_takes_at_most_four_kilobytes() {
    let mut workload = Workload::new(START, settings(&[("class", "ebb.dev")]), 1);
    let mut feed = Feed::starting(START);
    for report in 1..10_000_u64 {
        let now = START + Duration::from_millis(report * 10);
        workload.observe(&mut feed, now, 5.0, 1.0).unwrap();
        workload.decide(now, &Facts::local(1, 1));
    }
    let bytes = workload.footprint() + feed.footprint();
    assert!(bytes <= 4096, "{bytes} bytes");
    println!(
        "workload {} bytes, feed {} bytes",
        workload.footprint(),
        feed.footprint()
    );
}
