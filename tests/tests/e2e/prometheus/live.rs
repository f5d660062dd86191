//! A real Prometheus over the real programs under load: each query of each panel, rule and alert has data, and alerts
//! that something can be done for here in seconds fire.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use ebb_tests::cluster::{SOON, agent, manifests::file};
use ebb_tests::harness::{Signal, eventually, note};

use super::boards::queries as of_boards;
use super::door::Door;
use super::rules::{RULES, alerts, rules};
use super::server::Prometheus;
use crate::world::{FAST, FIVE, TEN, World};

const NAMESPACE: &str = "board";
/// As far as an annotation reaches back, and a scrape.
const OFFSET: Duration = Duration::from_secs(17);
/// Alerts that are made to fire here, by what is done below.
const FIRE: [&str; 5] = [
    "EbbTargetDown",
    "EbbWorkloadPanics",
    "EbbWorkloadRefused",
    "EbbWorkloadStale",
    "EbbWorkloadStuck",
];

pub(super) fn queries() {
    if let Err(why) = agent::is_real() {
        panic!("no real agent: {why}");
    }
    let mut world = World::new(&["first", "second"]);
    let mut door = Door::new(NAMESPACE);
    let jobs = [
        (
            "ebb-agent",
            world
                .agents
                .iter()
                .filter_map(|agent| agent.status())
                .collect(),
        ),
        (
            "ebb-autoscaler",
            world
                .replicas
                .iter()
                .map(|replica| replica.status())
                .collect(),
        ),
        ("ebb-activator", vec![door.status]),
    ];
    // At once, not after minutes.
    let text = std::fs::read_to_string(file(RULES)).unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with("        for: "));
    let prometheus = Prometheus::start(&jobs, &lines.collect::<Vec<_>>().join("\n"));

    {
        let app = world.app(NAMESPACE, "web", 1, &[FAST, TEN]);
        let refused = world.deploy("wrong", "web", 1, &[("ebb.dev/mode", "never")]);
        refused.await_event("BadAnnotations");
        eventually("the activator is scraped", SOON, || {
            let held = prometheus.ask("ebb_activator_held_total").ok()?;
            (!held.is_empty()).then_some(())
        });
        let waiting = [door.ask(), door.ask()];
        thread::sleep(OFFSET);
        let traffic = app.traffic(FIVE);
        traffic.set(FIVE);
        app.await_replicas(SOON, |replicas| replicas >= 5);
        thread::sleep(OFFSET);
        door.serve();
        for mut wire in waiting {
            assert_eq!(wire.response(), 200);
        }
        traffic.set(1);
        app.await_replicas(SOON, |replicas| replicas < 5);
        world.agents[0].silence();
        eventually("a silent pod", SOON, || {
            (app.view()["silent_pods"].as_u64() > Some(0)).then_some(())
        });
        thread::sleep(Duration::from_secs(3));
        drop(app);
    }
    let first = world.replicas.remove(0);
    first.signal(Signal::SIGTERM);
    world.replicas[0].await_leading();
    drop(first);
    thread::sleep(Duration::from_secs(3));

    let put_in = [
        ("$__rate_interval", "5s"),
        ("$__range", "30s"),
        ("$namespace", NAMESPACE),
        ("$service", "web"),
        ("$kind", "Deployment"),
        ("$name", "web"),
    ];
    let mut found: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    let mut empty = Vec::new();
    let mut look = |group: &str, what: &str, query: &str| {
        let has_data = match prometheus.ask(query) {
            Ok(series) => series.iter().any(has_a_number),
            Err(error) => {
                empty.push(format!("{group}: {what}: {query}: {error}"));
                return;
            }
        };
        if has_data {
            let of_group = found.entry(group.to_owned()).or_default();
            *of_group.entry(what.to_owned()).or_default() += 1;
        } else {
            empty.push(format!("{group}: {what}: {query}"));
        }
    };
    for query in of_boards(&put_in) {
        look(&query.board, &query.panel, &query.expression);
    }
    for rule in rules() {
        match (rule["record"].as_str(), rule["alert"].as_str()) {
            (Some(name), _) => look("recorded", name, name),
            (_, Some(name)) => look("alerts", name, &compared(rule["expr"].as_str().unwrap())),
            _ => {}
        }
    }
    for (group, panels) in &found {
        let panels: Vec<_> = panels
            .iter()
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        note(format!("{group}: queries with data: {}", panels.join(", ")));
    }
    let fired = fired(&prometheus);
    note(format!("alerts that fired live: {fired:?}"));
    assert!(empty.is_empty(), "without data:\n{}", empty.join("\n"));
    for alert in FIRE {
        assert!(fired.contains(alert), "{alert} did not fire: {fired:?}");
    }
    assert!(fired.is_subset(&alerts()));
}

/// What an alert compares, whichever way the comparison goes: in calm it has no sample, and neither has a name that
/// nobody exports.
fn compared(expression: &str) -> String {
    let bools = expression
        .replace(" > ", " > bool ")
        .replace(" == ", " == bool ");
    bools.replace("absent(", "(")
}

fn has_a_number(series: &serde_json::Value) -> bool {
    let values = series["values"].as_array().into_iter().flatten();
    values
        .filter_map(|value| value[1].as_str())
        .any(|value| value != "NaN")
}

fn fired(prometheus: &Prometheus) -> BTreeSet<String> {
    let series = prometheus
        .ask("count by (alertname) (ALERTS{alertstate=\"firing\"})")
        .unwrap();
    series
        .iter()
        .filter_map(|series| series["metric"]["alertname"].as_str())
        .map(str::to_owned)
        .collect()
}
