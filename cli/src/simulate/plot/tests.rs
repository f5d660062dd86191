use std::time::Duration;

use ebb_autoscaler_core::{Settings, Status};

use super::*;
use crate::simulate::{
    input::Second,
    replay::{Start, replay},
};

/// Builds a trace of `seconds` with the same concurrency in each, except one second with ten times the
/// concurrency.
fn played(seconds: u32) -> (Trace, Replay) {
    let second = |t: u32| Second {
        t: f64::from(t),
        concurrency: if t == seconds / 2 { 3000.0 } else { 300.0 },
        rps: None,
        reachable: None,
    };
    let trace = Trace {
        seconds: (0..seconds).map(second).collect(),
        filled: 0,
    };
    let start = Start {
        pod_start: Duration::from_secs(5),
        ready: None,
        reachable: true,
    };
    let replay = replay(&trace, Settings::default(), start, Status::new).unwrap();
    (trace, replay)
}

#[test]
fn the_picture_names_its_series() {
    let (trace, replay) = played(300);
    let svg = draw(&trace, &[&replay]).unwrap();
    for word in [
        "stable average",
        "pods desired",
        "requests in flight",
        "seconds",
    ] {
        assert!(svg.contains(word), "{word}");
    }
    assert!(!svg.contains("second\n"));
}

#[test]
fn runs_are_one_above_the_other() {
    let (trace, replay) = played(300);
    let svg = draw(&trace, &[&replay, &replay]).unwrap();
    assert!(
        svg.contains("first")
            && svg.contains(&format!("height=\"{}\"", LEGEND + 2 * block::HEIGHT))
    );
}

#[test]
fn a_day_is_no_larger_than_its_columns() {
    let (trace, replay) = played(86_400);
    let svg = draw(&trace, &[&replay]).unwrap();
    assert!(svg.len() < 300_000, "{} bytes", svg.len());
}

#[test]
#[cfg(feature = "png")]
fn a_png_has_letters_on_a_machine_without_fonts() {
    let (trace, replay) = played(60);
    let png = png::render(&draw(&trace, &[&replay]).unwrap()).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    let blank =
        png::render("<svg xmlns='http://www.w3.org/2000/svg' width='99' height='20'/>").unwrap();
    let letters = "<svg xmlns='http://www.w3.org/2000/svg' width='99' height='20'>\
                   <text y='15' font-family='sans-serif' font-size='14'>pods</text></svg>";
    assert_ne!(png::render(letters).unwrap(), blank);
}
