//! Tests for the case groups `kpa-scaler` and `num-activators`: bounds and scale to zero.

use std::time::Duration;

use ebb_autoscaler_core::{
    Activity, Annotations, Config, Facts, Settings, Status, Timestamp, capacity,
    reconcile::{Reconciler, ToZero},
};

use crate::row::{Row, Words, duration};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

/// The parsed `config` and `input` of a row.
struct Scene {
    config: Vec<(&'static str, String)>,
    annotations: Vec<(&'static str, String)>,
    progress_deadline: Duration,
    status: Status,
    facts: Facts,
    desired: Option<u32>,
}

/// A function that sets up the test state (`Scene`) as one clause of a case row says. The clause is passed without the
/// prefix that selects the function.
type Take = fn(&mut Scene, &str);

impl Scene {
    fn read(row: &Row) -> Self {
        let mut scene = Self {
            config: Vec::new(),
            annotations: Vec::new(),
            progress_deadline: Duration::ZERO,
            status: Status::new(NOW),
            facts: Facts {
                ready: Some(0),
                ..Facts::local(0, 0)
            },
            desired: None,
        };
        for word in row.config.split_whitespace() {
            scene.configure(word);
        }
        for clause in row.input.split("; ") {
            scene.take(clause);
        }
        scene
    }

    fn configure(&mut self, word: &str) {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "stable-window" => self.config.push(("stable-window", value.to_owned())),
            "grace" => {
                let value = value.strip_suffix("(gracePeriod)").unwrap();
                self.config
                    .push(("scale-to-zero-grace-period", value.to_owned()));
            }
            "scale-to-zero" => self
                .config
                .push(("enable-scale-to-zero", (value == "on").to_string())),
            "enable-scale-to-zero" => self.config.push(("enable-scale-to-zero", value.to_owned())),
            "tbc" => self
                .config
                .push(("target-burst-capacity", value.to_owned())),
            "minScale" => self
                .annotations
                .push(("autoscaling.knative.dev/min-scale", value.to_owned())),
            "progressDeadline" => self.progress_deadline = duration(value),
            "activationTimeout" => assert_eq!(
                duration(value),
                self.progress_deadline + Duration::from_secs(30)
            ),
            _ => panic!("not understood: {word}"),
        }
    }

    fn take(&mut self, clause: &str) {
        if clause.starts_with("replicas=") {
            let words = Words::of(clause);
            self.facts.replicas = words.number("replicas");
            self.desired = u32::try_from(words.number::<i64>("desired")).ok();
            return;
        }
        match clause {
            "probe error" => self.facts.activator_answers = Some(false),
            "unreachable" => self.facts.reachable = false,
            "reachable" | "unknown" => self.facts.reachable = true,
            "default status" => {}
            "target initialised" => self.status.initialized = true,
            _ => self.take_value(clause),
        }
    }

    fn take_value(&mut self, clause: &str) {
        let starts: [(&str, Take); 10] = [
            ("minScale=", |scene, value| {
                scene.annotate("autoscaling.knative.dev/min-scale", value)
            }),
            ("maxScale=", |scene, value| {
                scene.annotate("autoscaling.knative.dev/max-scale", value)
            }),
            ("initial-scale=", |scene, value| {
                scene.annotate("autoscaling.knative.dev/initial-scale", value)
            }),
            ("window ann=", |scene, value| {
                scene.annotate("autoscaling.knative.dev/window", value)
            }),
            ("retention ann=", |scene, value| scene.retain(value)),
            ("ann retention=", |scene, value| scene.retain(value)),
            ("CM retention=", |scene, value| {
                scene
                    .config
                    .push(("scale-to-zero-pod-retention-period", value.to_owned()));
            }),
            ("ann progress-deadline=", |scene, value| {
                scene.annotate("serving.knative.dev/progress-deadline", value)
            }),
            ("SKS proxy for ", |scene, value| {
                scene.facts.proxying_since = Some(NOW - duration(value))
            }),
            ("", Self::stand),
        ];
        let (start, act) = starts
            .iter()
            .find(|(start, _)| clause.starts_with(start))
            .unwrap();
        act(self, &clause[start.len()..]);
    }

    fn annotate(&mut self, key: &'static str, value: &str) {
        self.annotations.push((key, value.to_owned()));
    }

    fn retain(&mut self, value: &str) {
        self.annotate(
            "autoscaling.knative.dev/scale-to-zero-pod-retention-period",
            value,
        );
    }

    /// Parses an activity and its age, e.g. `Active for 5m`, `PA Active for window-1s` or `Inactive`.
    fn stand(&mut self, clause: &str) {
        let clause = clause.strip_prefix("PA ").unwrap_or(clause);
        let (activity, lasted) = clause.split_once(" for ").unwrap_or((clause, "0s"));
        self.status.activity = match activity {
            "Active" => Activity::Active,
            "Inactive" => Activity::Inactive,
            "Activating" => Activity::Activating,
            _ => panic!("not understood: {clause}"),
        };
        let window = || {
            duration(
                &self
                    .config
                    .iter()
                    .find(|(key, _)| *key == "stable-window")
                    .unwrap()
                    .1,
            )
        };
        let lasted = match lasted {
            "window" => window(),
            "window-1s" => window() - Duration::from_secs(1),
            lasted => duration(lasted),
        };
        self.status.since = NOW - lasted;
    }

    fn settings(&self) -> Settings {
        let text = |pairs: &[(&'static str, String)]| pairs.to_vec();
        let (config, annotations) = (text(&self.config), text(&self.annotations));
        let config =
            Config::from_map(config.iter().map(|(key, value)| (*key, value.as_str()))).unwrap();
        let annotations = Annotations::parse(
            &config,
            annotations
                .iter()
                .map(|(key, value)| (*key, value.as_str())),
        )
        .unwrap();
        let mut settings = Settings::resolve(&config, &annotations, 0);
        if annotations.progress_deadline.is_none() {
            settings.progress_deadline = self.progress_deadline;
        }
        settings
    }
}

pub(crate) fn check(row: &Row) {
    let scene = Scene::read(row);
    let mut reconciler = Reconciler::new(scene.status);
    let step = reconciler.step(NOW, &scene.settings(), &scene.facts, 0, scene.desired, 0);

    let (mut requeue, mut probe) = (false, false);
    let words = Words::of(&row.expected);
    let remark = row
        .expected
        .split_whitespace()
        .filter(|word| !word.contains('='))
        .collect::<Vec<_>>()
        .join(" ");
    match remark.as_str() {
        "" | "returns 0 but not applied" | "already 5" => {}
        "no apply yet: PA is first marked inactive" => {
            assert_eq!(reconciler.status().activity, Activity::Inactive)
        }
        "requeue x1" => requeue = true,
        "async probe started x1" => probe = true,
        "fast path" => assert_eq!(step.to_zero, Some(ToZero::Gone)),
        other => panic!("not understood: {other}"),
    }
    assert_eq!(
        step.want,
        u32::try_from(words.number::<i64>("returned")).ok()
    );
    assert_eq!(step.apply.is_some(), words.number::<bool>("applied"));
    assert!(step.apply.is_none() || step.apply == step.want);
    assert_eq!(step.again.is_some(), requeue, "{:?}", step.again);
    assert_eq!(step.probe, probe);
}

pub(crate) fn check_activators(row: &Row) {
    let words = Words::of(&row.config);
    let settings = Settings {
        total: words.number("total"),
        target_burst_capacity: words.number("tbc"),
        activator_capacity: words.number("activator-capacity"),
        ..Settings::default()
    };
    let ready = Words::of(&row.input).number("ready");
    assert_eq!(
        capacity::activators(&settings, ready),
        Words::of(&row.expected).number("activators")
    );
}
