//! Properties for any input: bounds, rate limits and the rules of panic mode hold, and no code panics.

use std::time::Duration;

use ebb_autoscaler_core::{
    Annotations, Averages, Class, Config, Facts, Feed, Metric, Sample, Settings, Timestamp,
    Workload,
    annotations::KNATIVE,
    decision::{Observation, Scaler},
    window::{LARGEST, Windows},
};
use proptest::{prelude::*, test_runner::RngSeed};

const START: Timestamp = Timestamp::from_secs(1_000_000);

/// Settings within the ranges that parsing allows.
fn settings() -> impl Strategy<Value = Settings> {
    let rates = (
        1.001_f64..2_000.0,
        1.001_f64..100.0,
        1.1_f64..10.0,
        0.01_f64..500.0,
    );
    let lengths = (
        6_u64..120,
        1.0_f64..100.0,
        prop_oneof![Just(0_u64), 1_u64..60],
    );
    let scales = (0_u32..4, 0_u32..40, 1_u32..6, 0_u32..5);
    (
        rates,
        lengths,
        scales,
        any::<(bool, bool, bool)>(),
        -1_i32..300,
    )
        .prop_map(
            |(
                (up, down, threshold, target),
                (window, percentage, delay),
                (min, room, initial, activation),
                flags,
                reserve,
            )| {
                let (ebb, zero, weighted) = flags;
                let mut settings = Settings {
                    target,
                    total: target / 0.7,
                    stable_window: Duration::from_secs(window),
                    panic_threshold: threshold,
                    max_scale_up_rate: up,
                    max_scale_down_rate: down,
                    scale_down_delay: Duration::from_secs(delay),
                    min_scale: min,
                    max_scale: if room == 0 { 0 } else { min + room },
                    initial_scale: initial,
                    activation_scale: activation,
                    scale_to_zero: zero,
                    target_burst_capacity: reserve.into(),
                    ..Settings::default()
                };
                settings.panic_window =
                    ebb_autoscaler_core::settings::panic_window(settings.stable_window, percentage);
                if ebb {
                    settings.class = Class::Ebb;
                    settings.burst_window = Duration::from_millis(250);
                }
                if weighted {
                    settings.aggregation = ebb_autoscaler_core::Aggregation::WeightedExponential;
                }
                settings
            },
        )
}

/// A random load: usually below 1 000, sometimes 0, sometimes up to 1e12.
fn load() -> impl Strategy<Value = f64> {
    prop_oneof![4 => 0.0_f64..1_000.0, 1 => Just(0.0), 1 => 0.0_f64..1e12]
}

/// A random `f64`, which may also be NaN, infinite or negative.
fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-1.0)
    ]
}

fn observation(load: impl Strategy<Value = f64> + Clone) -> impl Strategy<Value = Observation> {
    (
        0_u32..200,
        any::<bool>(),
        load.clone(),
        load.clone(),
        prop::option::of(load),
    )
        .prop_map(|(ready, reachable, stable, panic, burst)| Observation {
            ready,
            reachable,
            averages: Averages { stable, panic },
            burst,
        })
}

/// Returns the steps of a run, each as (seconds since the previous step, item).
fn steps<T: std::fmt::Debug>(
    item: impl Strategy<Value = T>,
) -> impl Strategy<Value = Vec<(u64, T)>> {
    prop::collection::vec((0_u64..20, item), 1..60)
}

/// Returns a configuration with a fixed seed, so every run tests the same cases. The environment variables
/// `PROPTEST_RNG_SEED` and `PROPTEST_CASES` select other cases.
fn cases() -> ProptestConfig {
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(2_611);
    }
    config
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_decision_stays_within_its_rates_and_panic_never_falls(
        settings in settings(),
        ready_at_start in 0_u32..20,
        steps in steps(observation(load().boxed())),
    ) {
        let mut scaler = Scaler::new(START, ready_at_start);
        let mut now = START;
        // The last time at which the load reached the panic threshold.
        let mut over_at = (ready_at_start > 1).then_some(START);
        for (wait, seen) in steps {
            now = now + Duration::from_secs(wait);
            let (most_before, panicked_before) = (scaler.most_in_panic(), scaler.is_panicking());
            let scale = scaler.scale(now, &settings, &seen);
            let ready = f64::from(seen.ready.max(1));

            let needs = |load: f64| (load / settings.target).ceil();
            let over = |load: f64| needs(load) / ready >= settings.panic_threshold;
            if over(seen.averages.panic) || seen.burst.is_some_and(over) {
                over_at = Some(now);
            }
            let panics = over_at.is_some_and(|at| at + settings.stable_window >= now);
            prop_assert_eq!(scale.panic_mode, panics);

            let up = (settings.max_scale_up_rate * ready).ceil() as u32;
            let up = up.max(settings.activation_scale);
            let down = (ready / settings.max_scale_down_rate).floor() as u32;
            let down = if seen.reachable { down } else { 0 };
            let delayed = !settings.scale_down_delay.is_zero();
            if scale.panic_mode {
                prop_assert!(scale.desired <= up.max(most_before) || delayed);
                prop_assert!(!panicked_before || scale.desired >= most_before);
            } else {
                prop_assert!(scale.desired <= up || delayed);
            }
            prop_assert!(scale.desired >= down);
        }
    }

    #[test]
    fn no_figure_makes_a_decision_fall_over(
        settings in settings(),
        steps in steps(observation(any_float().boxed())),
    ) {
        let mut scaler = Scaler::new(START, 3);
        for (at, seen) in steps {
            let scale = scaler.scale(START + Duration::from_secs(at), &settings, &seen);
            prop_assert!(scale.desired <= i32::MAX as u32);
        }
    }

    /// If the load is higher at each time, and everything else is equal, the number of desired pods is never lower.
    /// This holds for whole runs, with panic mode, bursts and delays.
    #[test]
    fn more_load_never_gives_fewer_pods(
        settings in settings(),
        steps in steps((load(), load(), 0_u32..50, any::<bool>())),
    ) {
        let mut less = Workload::new(START, settings.clone(), 1);
        let mut more = Workload::new(START, settings, 1);
        let mut now = START;
        for (wait, (load, extra, ready, reachable)) in steps {
            now = now + Duration::from_secs(wait);
            let facts = Facts { reachable, ..Facts::local(ready, ready) };
            less.record(now, &Sample::new(load, load)).unwrap();
            let extra = (load + extra).min(LARGEST);
            more.record(now, &Sample::new(extra, extra)).unwrap();
            let (less, more) = (less.decide(now, &facts), more.decide(now, &facts));
            prop_assert!(less.desired <= more.desired, "{}\n{}", less.reason, more.reason);
        }
    }

    #[test]
    fn the_same_input_gives_the_same_output_bit_for_bit(
        settings in settings(),
        steps in steps((load(), 1_u64..3_000, 0_u32..50)),
    ) {
        let run = || {
            let mut workload = Workload::new(START, settings.clone(), 1);
            let mut feed = Feed::starting(START);
            let mut now = START;
            let mut out = String::new();
            for &(wait, (load, milliseconds, ready)) in &steps {
                now = now + Duration::from_secs(wait) + Duration::from_millis(milliseconds);
                let trigger = workload.observe(&mut feed, now, load, load).unwrap();
                let decision = workload.decide(now, &Facts::local(ready, ready));
                out += &format!("{trigger:?} {decision:?} {}\n", decision.reason);
            }
            out
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn an_order_stays_within_the_bounds(
        settings in settings(),
        steps in steps((load(), 0_u32..50, any::<bool>(), prop::option::of(any::<bool>()))),
    ) {
        let mut workload = Workload::new(START, settings.clone(), 1);
        let mut now = START;
        let mut replicas = workload.initial_replicas();
        for (wait, (load, ready, stale, answers)) in steps {
            now = now + Duration::from_secs(wait);
            workload.record(now, &Sample::new(load, load)).unwrap();
            let local = Facts::local(ready, replicas);
            let facts = Facts { activator_answers: answers, stale, ..local };
            let decision = workload.decide(now, &facts);
            let Some(apply) = decision.step.apply else { continue };
            prop_assert!(apply != replicas);
            prop_assert!(apply >= settings.min_scale);
            let max = settings.max_scale.max(settings.initial_scale);
            prop_assert!(settings.max_scale == 0 || apply <= max);
            prop_assert!(apply > 0 || settings.scale_to_zero);
            prop_assert!(!stale || apply > replicas, "shrunk on stale data");
            replicas = apply;
        }
    }

    #[test]
    fn a_figure_that_is_no_measurement_changes_nothing(bad in any_float(), field in 0..4) {
        prop_assume!(!(0.0..=LARGEST).contains(&bad));
        let mut workload = Workload::new(START, Settings::default(), 1);
        workload.record(START, &Sample::new(5.0, 5.0)).unwrap();
        let before = format!("{workload:?}");
        let mut sample = Sample::new(1.0, 1.0);
        match field {
            0 => sample.concurrency = bad,
            1 => sample.proxied_concurrency = bad,
            2 => sample.requests = bad,
            _ => sample.proxied_requests = bad,
        }
        prop_assert!(workload.record(START, &sample).is_err());
        let mut feed = Feed::starting(START);
        let later = START + Duration::from_secs(1);
        prop_assert!(workload.observe(&mut feed, later, bad, 1.0).is_err());
        prop_assert!(workload.observe(&mut feed, later, 1.0, bad).is_err());
        prop_assert_eq!(feed.upto(), START);
        prop_assert_eq!(format!("{workload:?}"), before);
    }

    /// The mean of each second does not depend on the lengths of the reports.
    #[test]
    fn a_feed_gives_each_second_its_own_mean(
        mut cuts in prop::collection::vec((1_u64..2_500, 0.0_f64..100.0), 1..80),
    ) {
        // A last report is added, so that the reports end at a full second.
        let total: u64 = cuts.iter().map(|(length, _)| length).sum();
        cuts.push((1_000 - total % 1_000, 7.0));
        let settings = Settings::default();
        let mut workload = Workload::new(START, settings.clone(), 1);
        let mut feed = Feed::starting(START);
        let mut milliseconds = Vec::new();
        let mut now = START;
        for (length, mean) in cuts {
            now = now + Duration::from_millis(length);
            workload.observe(&mut feed, now, mean, mean).unwrap();
            milliseconds.extend(std::iter::repeat_n(mean, length as usize));
        }
        let mut expected = Windows::new(&settings);
        for (second, means) in (1..).zip(milliseconds.chunks_exact(1_000)) {
            let mean = means.iter().sum::<f64>() / 1_000.0;
            expected.record(START + Duration::from_secs(second), &Sample::new(mean, mean)).unwrap();
        }
        let expected = expected.averages(now, &Metric::Concurrency).unwrap();
        let seen = workload.decide(now, &Facts::local(1, 1)).averages.unwrap();
        prop_assert!((seen.stable - expected.stable).abs() < 1e-4, "{seen:?} {expected:?}");
        prop_assert!((seen.panic - expected.panic).abs() < 1e-4, "{seen:?} {expected:?}");
    }

    #[test]
    fn no_text_makes_reading_fall_over(
        pairs in prop::collection::vec((0..KEYS.len(), VALUE), 0..8),
    ) {
        let named = pairs.iter().map(|(key, value)| (KEYS[*key], value.as_str()));
        let config = Config::from_map(named.clone()).unwrap_or_default();
        let full: Vec<_> = named.map(|(key, value)| (format!("{KNATIVE}{key}"), value)).collect();
        let given = full.iter().map(|(key, value)| (key.as_str(), *value));
        let Ok(annotations) = Annotations::parse(&config, given) else { return Ok(()) };
        let settings = Settings::resolve(&config, &annotations, 0);
        prop_assert!(settings.target.is_finite() && settings.target >= 0.01);
        prop_assert!(settings.panic_threshold.is_finite() && settings.panic_threshold >= 1.1);
        prop_assert!(settings.max_scale_up_rate > 1.0 && settings.max_scale_down_rate > 1.0);
        prop_assert!((6..=3_600).contains(&settings.stable_window.as_secs()));
        prop_assert!(settings.panic_window >= Duration::from_secs(1));
        prop_assert!(settings.panic_window <= settings.stable_window);
    }
}

/// Regular expression of a value: any text, often a number or a duration.
const VALUE: &str = "\\PC{0,12}|-?[0-9]{1,24}(\\.[0-9]{0,3})?(s|m|h|ms)?|NaN|inf|-inf|1e400";

/// Keys of annotations and of the config map, and some unknown keys.
const KEYS: [&str; 24] = [
    "class",
    "metric",
    "target",
    "target-utilization-percentage",
    "target-burst-capacity",
    "min-scale",
    "max-scale",
    "initial-scale",
    "activation-scale",
    "window",
    "panic-window-percentage",
    "panic-threshold-percentage",
    "scale-down-delay",
    "scale-to-zero-pod-retention-period",
    "metric-aggregation-algorithm",
    "minScale",
    "colour",
    "stable-window",
    "max-scale-up-rate",
    "container-concurrency-target-percentage",
    "container-concurrency-target-default",
    "requests-per-second-target-default",
    "activator-capacity",
    "",
];
