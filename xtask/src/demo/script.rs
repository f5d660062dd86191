//! The script of the demo: the settings, the phases of the load, and the end of the demo.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    event::{Decision, Event, State},
    load::{self, Outcome},
    program::Program,
    timeline::{Span, Timeline},
};
use crate::{root::Root, say};

/// Time in milliseconds that the sample server takes for a response.
const HANDLER_MS: u32 = 100;

/// Time in milliseconds that the sample server takes to start. The start is as long as that of a real service, so that
/// it is visible in the picture.
const START_MS: u32 = 200;

/// Target per replica, in requests in flight. With a target utilization of 100 %, 50 clients need 50 / 10 = 5 replicas.
const TARGET: u32 = 10;

/// Stable window: the shortest valid one. With Knative's default of 60 s, the demo would be too long.
const WINDOW: &str = "6s";

/// Scale-to-zero grace period, after which the last replica ends. The default is 30 s.
const GRACE: &str = "4s";

/// Time limit to scale back to zero. The stable window (6 s), the grace period (4 s) and a few decisions (every 2 s)
/// take about 15 s.
const BACK_WITHIN: Duration = Duration::from_secs(45);

/// One phase of the load.
pub(super) struct Phase {
    pub(super) name: &'static str,
    clients: usize,
    length: Length,
}

enum Length {
    /// The phase of the load lasts this number of seconds.
    For(u64),
    /// The phase of the load lasts until one request is answered, however long this takes.
    OneRequest,
    /// The phase of the load lasts until no replica is left.
    UntilZero,
}

const PHASES: [Phase; 7] = [
    Phase {
        name: "idle",
        clients: 0,
        length: Length::For(4),
    },
    Phase {
        name: "one request",
        clients: 1,
        length: Length::OneRequest,
    },
    Phase {
        name: "pause",
        clients: 0,
        length: Length::For(6),
    },
    Phase {
        name: "burst",
        clients: 50,
        length: Length::For(20),
    },
    Phase {
        name: "lull",
        clients: 0,
        length: Length::For(9),
    },
    Phase {
        name: "second wave",
        clients: 25,
        length: Length::For(15),
    },
    Phase {
        name: "idle to zero",
        clients: 0,
        length: Length::UntilZero,
    },
];

/// The course of a whole demo: its timeline and the results of its loads.
pub(super) struct Played {
    pub(super) timeline: Timeline,
    /// The results of the phases, in the order of `timeline.spans`.
    pub(super) outcomes: Vec<Outcome>,
}

/// Shows the settings of the demo, and which of them differ from the defaults.
pub(super) fn announce() {
    say::note(&format!(
        "target {TARGET} requests in flight per replica; {HANDLER_MS} ms a response, {START_MS} ms to start a replica"
    ));
    say::note(&format!(
        "stable window {WINDOW} (default 60s), grace period {GRACE} (default 30s): shorter, so that the demo is short"
    ));
}

/// Runs the whole script with a new `ebb run`, and returns the recorded course.
pub(super) fn play(root: &Root, bin_dir: &Path, dir: &Path) -> Result<Played> {
    let config = dir.join("config.yaml");
    fs::write(&config, format!("scale-to-zero-grace-period: {GRACE}\n"))
        .with_context(|| format!("cannot write {}", config.display()))?;
    let log = dir.join("ebb.log");
    let (program, address) = Program::start(
        root,
        &bin_dir.join("ebb"),
        &arguments(&config, bin_dir),
        &log,
    )?;
    let url = format!("http://{address}/?sleep={HANDLER_MS}");
    let mut played = Played {
        timeline: Timeline::default(),
        outcomes: Vec::new(),
    };
    let mut moments = vec![Instant::now()];
    for phase in &PHASES {
        say::begin(&format!("{}: {}", phase.name, phase.describe()));
        let outcome = phase.play(&url, &program, &mut played.timeline)?;
        moments.push(Instant::now());
        played.outcomes.push(outcome);
    }
    // The times of the phases are converted to ebb's clock at the end, when the conversion is most precise.
    for (phase, between) in PHASES.iter().zip(moments.windows(2)) {
        let [from, to] = between else { continue };
        let (from, to) = (program.t(*from), program.t(*to));
        let (name, clients) = (phase.name, phase.clients);
        played.timeline.spans.push(Span {
            name,
            clients,
            from,
            to,
        });
    }
    program.end()?;
    Ok(played)
}

fn arguments(config: &Path, bin_dir: &Path) -> Vec<String> {
    let annotation =
        |key: &str, value: &str| format!("--annotation=autoscaling.knative.dev/{key}={value}");
    vec![
        "run".to_owned(),
        "--json".to_owned(),
        "--port=0".to_owned(),
        format!("--target={TARGET}"),
        annotation("target-utilization-percentage", "100"),
        annotation("window", WINDOW),
        format!("--config={}", config.display()),
        "--".to_owned(),
        bin_dir.join("ebb-sample").display().to_string(),
        "--port={port}".to_owned(),
        format!("--start-delay={START_MS}ms"),
    ]
}

impl Phase {
    fn describe(&self) -> String {
        match self.length {
            Length::For(seconds) if self.clients == 0 => format!("no request for {seconds} s"),
            Length::For(seconds) => format!("{} clients for {seconds} s", self.clients),
            Length::OneRequest => "the first request, while there is no replica".to_owned(),
            Length::UntilZero => "no request, until no replica is left".to_owned(),
        }
    }

    /// Sends the requests of this phase, and records events at the same time.
    fn play(&self, url: &str, program: &Program<'_>, timeline: &mut Timeline) -> Result<Outcome> {
        match self.length {
            Length::UntilZero => {
                until_zero(program, timeline)?;
                Ok(Outcome::default())
            }
            Length::For(seconds) if self.clients == 0 => {
                let until = Instant::now() + Duration::from_secs(seconds);
                while let Some(event) = program.next(until)? {
                    take_in(timeline, event);
                }
                Ok(Outcome::default())
            }
            Length::For(seconds) => beside(program, timeline, || {
                load::steady(url, self.clients, Duration::from_secs(seconds))
            }),
            Length::OneRequest => beside(program, timeline, || load::once(url)),
        }
    }
}

/// Runs `load` in a separate thread, and records events until `load` has ended.
fn beside(
    program: &Program<'_>,
    timeline: &mut Timeline,
    load: impl FnOnce() -> Outcome + Send,
) -> Result<Outcome> {
    // Interval between checks whether the load has ended. The recorded end of a phase is late by this time at most.
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    thread::scope(|scope| {
        let load = scope.spawn(load);
        while !load.is_finished() {
            if let Some(event) = program.next(Instant::now() + LOOK_EVERY)? {
                take_in(timeline, event);
            }
        }
        load.join()
            .map_err(|_| anyhow::anyhow!("the thread that sends the requests panicked"))
    })
}

/// Records events until a decision finds no replica alive.
fn until_zero(program: &Program<'_>, timeline: &mut Timeline) -> Result<()> {
    let until = Instant::now() + BACK_WITHIN;
    while let Some(event) = program.next(until)? {
        let over = matches!(&event, Event::Decision(decision) if decision.replicas == 0);
        take_in(timeline, event);
        if over {
            return Ok(());
        }
    }
    bail!(
        "replicas were still running {} s after the last request",
        BACK_WITHIN.as_secs()
    )
}

fn take_in(timeline: &mut Timeline, event: Event) {
    match &event {
        Event::Decision(decision) => say::note(&progress(decision)),
        Event::ColdStart(cold) => say::note(&format!(
            "cold start: the request waited {:.0} ms; Ebb added {:.1} ms of this",
            cold.waited_ms, cold.added_ms
        )),
        Event::Replica {
            replica,
            state: State::Failed,
            ..
        } => say::note(&format!("replica {replica} failed")),
        _ => {}
    }
    timeline.take_in(event);
}

/// Formats a decision as one line.
fn progress(decision: &Decision) -> String {
    let average =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    format!(
        "{:5.1} s  concurrency {:5.1}  stable {:>5}  panic {:>5}{}  replicas {} → {}",
        decision.t,
        decision.concurrency,
        average(decision.stable),
        average(decision.panic),
        if decision.panic_mode { "!" } else { " " },
        decision.replicas,
        decision.desired,
    )
}
