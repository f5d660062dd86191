//! A real Prometheus scrapes the real programs under load. Each query of each dashboard panel, rule and alert must have
//! data.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use ebb_e2e::SOON;
use ebb_fixtures::{Signal, eventually, note};

use super::boards::queries as of_boards;
use super::proxied_port::ProxiedPort;
use super::rules::{at_once, rules};
use super::server::{Prometheus, jobs};
use crate::world::{FAST, FIVE, TEN, World};

const NAMESPACE: &str = "board";
/// How long the test waits until the queries for the dashboards' annotations have data: 15 s for the `offset` in these
/// queries, and 2 s for a scrape.
const OFFSET: Duration = Duration::from_secs(17);

pub(super) fn queries() {
    let mut world = World::new(&["first", "second"]);
    let mut port = ProxiedPort::new(NAMESPACE, &[]);
    let prometheus = Prometheus::start(&jobs(&world.agents, &world.replicas, &port), &at_once());

    {
        let app = world.app(NAMESPACE, "web", 1, &[FAST, TEN]);
        let refused = world.deploy("wrong", "web", 1, &[("ebb.dev/mode", "never")]);
        refused.await_event("InvalidAnnotations");
        eventually("the activator is scraped", SOON, || {
            let held = prometheus.ask("ebb_activator_queued_total").ok()?;
            (!held.is_empty()).then_some(())
        });
        let waiting = [port.ask(), port.ask()];
        thread::sleep(OFFSET);
        let traffic = app.traffic(FIVE);
        traffic.set(FIVE);
        app.await_replicas(SOON, |replicas| replicas >= 5);
        thread::sleep(OFFSET);
        port.serve();
        for mut wire in waiting {
            assert_eq!(wire.response(), 200);
        }
        traffic.set(1);
        app.await_replicas(SOON, |replicas| replicas < 5);
        world.agents[0].silence();
        eventually("a pod without current metrics", SOON, || {
            (app.view()["pods_without_metrics"].as_u64() > Some(0)).then_some(())
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
    assert!(
        empty.is_empty(),
        "queries without data:\n{}",
        empty.join("\n")
    );
}

/// Returns an alert's expression with `bool` after each comparison, so that it has data whenever the compared metrics
/// have data. Without `bool`, a false comparison has no sample, so it could not be distinguished from a metric that no
/// program exports.
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
