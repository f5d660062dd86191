//! Tests for the case groups `buckets`, `max-window` and `collector`: the stored metrics.

use std::time::Duration;

use ebb_autoscaler_core::{
    Aggregation, Averages, Facts, Metric, Sample, Settings, Timestamp, Workload,
    delay::DelayWindow, window::Window, window::Windows,
};

use crate::row::{Row, Words, between, duration};

const START: Timestamp = Timestamp::from_secs(1_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    match u64::try_from(seconds) {
        Ok(after) => START + Duration::from_secs(after),
        Err(_) => START - Duration::from_secs(seconds.unsigned_abs()),
    }
}

/// Parses a list such as `[5, 6, 5]`.
fn list(text: &str) -> Vec<u32> {
    between(text, "[", "]")
        .unwrap()
        .split(", ")
        .map(|number| number.parse().unwrap())
        .collect()
}

pub(crate) fn check(row: &Row) {
    if let Some(count) = row.config.strip_prefix("buckets=") {
        assert_eq!(row.input, "smoothing coefficient");
        let window = Window::new(
            Duration::from_secs(count.parse().unwrap()),
            SECOND,
            Aggregation::WeightedExponential,
        );
        let expected: f64 = row.expected.parse().unwrap();
        assert!(
            (window.newest_weight() - expected).abs() < 1e-5,
            "{}",
            window.newest_weight()
        );
        return;
    }
    let words = Words::of(&row.config.replace(';', " "));
    let length = words.duration("window");
    match (row.config.as_str(), row.input.as_str()) {
        (_, "bucket count = ceil(5/3); resize to 10s; resize to 4s") => {
            let mut window =
                Window::new(length, words.duration("granularity"), Aggregation::Linear);
            let counts = [length, Duration::from_secs(10), Duration::from_secs(4)].map(|length| {
                window.resize(START, length);
                format!("{} buckets", window.bucket_count())
            });
            assert_eq!(counts.join("; "), row.expected);
        }
        ("window=5s; last write 60s ago", "resize to 10s") => {
            assert_eq!(row.expected, "firstWrite reset to never (data too old)");
            let mut window = Window::new(length, SECOND, Aggregation::Linear);
            window.record(at(-60), 1.0);
            window.resize(START, Duration::from_secs(10));
            // The next sample counts as the first sample of the window: empty buckets before this sample do not count.
            window.record(START, 4.0);
            assert_eq!(window.average(START), 4.0);
        }
        (config, script) => {
            let aggregation = match config.split(' ').next() {
                Some("linear") => Aggregation::Linear,
                Some("weighted") => Aggregation::WeightedExponential,
                other => panic!("not understood: {other:?}"),
            };
            let window = Window::new(length, words.duration("granularity"), aggregation);
            play(
                window,
                script,
                &row.expected,
                row.tolerance.parse().unwrap(),
            );
        }
    }
}

/// Runs a script of the commands `rec(t=SECOND,VALUE)`, `avg(t=SECOND)` and `resize(LENGTH)`, separated by ` ; `.
/// `expected` has one value for each `avg`.
fn play(mut window: Window, script: &str, expected: &str, tolerance: f64) {
    // A `resize` command contains no time: it happens at the time of the previous command.
    let mut now = START;
    let mut expected = expected
        .split(" | ")
        .map(|figure| figure.parse::<f64>().unwrap());
    for command in script.split(" ; ") {
        if let Some(arguments) = between(command, "rec(t=", ")") {
            let (second, value) = arguments.split_once(',').unwrap();
            now = at(second.parse().unwrap());
            window.record(now, value.parse().unwrap());
        } else if let Some(second) = between(command, "avg(t=", ")") {
            now = at(second.parse().unwrap());
            let (average, expected) = (window.average(now), expected.next().unwrap());
            assert!(
                (average - expected).abs() <= tolerance.max(5e-6 * expected),
                "{command}: {average}, not {expected}"
            );
        } else if let Some(length) = between(command, "resize(", ")") {
            window.resize(now, duration(length));
        } else {
            panic!("not understood: {command}");
        }
    }
    assert_eq!(expected.next(), None);
}

pub(crate) fn check_maximum(row: &Row) {
    let mut window = DelayWindow::default();
    if row.config == "duration=5s granularity=1s" {
        let maximum = row
            .input
            .strip_suffix(" gap")
            .unwrap()
            .split(' ')
            .fold(0, |_, entry| {
                let (second, value) = between(entry, "(", ")").unwrap().split_once("s:").unwrap();
                window.record_slot(second.parse().unwrap(), 5, value.parse().unwrap())
            });
        assert_eq!(maximum, row.expected.parse().unwrap());
        return;
    }
    let slots: i64 = between(&row.config, "window of ", " slots")
        .unwrap()
        .parse()
        .unwrap();
    let (values, indices) = row
        .input
        .strip_prefix("values=")
        .unwrap()
        .split_once(" at ")
        .unwrap();
    let values = list(values);
    let indices = match indices {
        "consecutive indices" => (0..).take(values.len()).collect(),
        listed => list(listed.strip_prefix("indices ").unwrap()),
    };
    assert_eq!(values.len(), indices.len());
    let maxima: Vec<u32> = indices
        .iter()
        .zip(&values)
        .map(|(&index, &value)| window.record_slot(index.into(), slots, value))
        .collect();
    assert_eq!(
        maxima,
        list(row.expected.strip_prefix("running max=").unwrap())
    );
}

pub(crate) fn check_collector(row: &Row) {
    let words = Words::of(&row.config);
    let mut settings = Settings::default();
    if words.get("stable").is_some() {
        settings.stable_window = words.duration("stable");
    }
    if words.get("panic").is_some() {
        settings.panic_window = words.duration("panic");
    }
    let mut windows = Windows::new(&settings);
    match (row.input.as_str(), row.expected.as_str()) {
        ("1 stat/s values 5..14 for t=0..9, read t=9", expected) => {
            for t in 0..=9 {
                windows
                    .record(at(t), &Sample::new(5.0 + t as f64, 0.0))
                    .unwrap();
            }
            let expected = Words::of(expected);
            let averages = windows.averages(at(9), &Metric::Concurrency).unwrap();
            assert_eq!(
                averages,
                Averages {
                    stable: expected.number("stable"),
                    panic: expected.number("panic")
                }
            );
        }
        (
            "3 scrapes in second 0, 4 in second 1 (10 each)",
            "concurrency 35 = 70/2; rps 70 = 140/2",
        ) => {
            for t in [0, 0, 0, 1, 1, 1, 1] {
                windows.record(at(t), &Sample::new(10.0, 20.0)).unwrap();
            }
            let stable = |metric| windows.averages(at(1), &metric).unwrap().stable;
            assert_eq!(
                (stable(Metric::Concurrency), stable(Metric::Rps)),
                (35.0, 70.0)
            );
        }
        (
            "rec(now-70s,100) then rec(now, conc 20 of which proxied 10; count 30 of which proxied 20)",
            "concurrency 10, rps 10 (proxied part subtracted; stale sample dropped)",
        ) => {
            windows.record(at(-70), &Sample::new(100.0, 100.0)).unwrap();
            let sample = Sample {
                concurrency: 20.0,
                proxied_concurrency: 10.0,
                requests: 30.0,
                proxied_requests: 20.0,
            };
            windows.record(at(0), &sample).unwrap();
            for metric in [Metric::Concurrency, Metric::Rps] {
                assert_eq!(
                    windows.averages(at(0), &metric),
                    Some(Averages {
                        stable: 10.0,
                        panic: 10.0
                    })
                );
            }
        }
        ("no data ever recorded", "0,0 with NO error -> autoscaler may decide 0") => {
            assert_eq!(row.config, "scrapeTarget empty (TBC=-1)");
            let decided = |target_burst_capacity| {
                let settings = Settings {
                    target_burst_capacity,
                    ..Settings::default()
                };
                Workload::new(START, settings, 0)
                    .decide(START, &Facts::local(0, 0))
                    .desired
            };
            assert_eq!(decided(-1.0), Some(0));
            assert_eq!(decided(211.0), None);
        }
        other => panic!("not understood: {other:?}"),
    }
}
