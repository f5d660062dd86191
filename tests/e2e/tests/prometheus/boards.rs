//! The queries of the Grafana dashboards, with values instead of Grafana's variables.

use ebb_e2e::manifests::file;
use serde_json::Value;

const BOARDS: [&str; 2] = ["ebb-overview", "ebb-workload"];

/// A query, with the dashboard and the panel that send it.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) board: String,
    /// Title of the panel, or name of the annotation.
    pub(super) panel: String,
    pub(super) expression: String,
}

/// Returns all queries of the dashboards. `put_in` has Grafana's variables, each with the value that replaces it.
pub(super) fn queries(put_in: &[(&str, &str)]) -> Vec<Query> {
    let mut all = Vec::new();
    for board in BOARDS {
        let text = std::fs::read_to_string(file(&format!("deploy/grafana/{board}.json"))).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        let title = board["title"].as_str().unwrap();
        let mut add = |panel: &Value, expression: &Value| {
            let mut expression = expression.as_str().unwrap().to_owned();
            for (variable, value) in put_in {
                expression = expression.replace(variable, value);
            }
            assert!(!expression.contains('$'), "a variable more: {expression}");
            all.push(Query {
                board: title.to_owned(),
                panel: panel.as_str().unwrap().to_owned(),
                expression,
            });
        };
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                add(&panel["title"], &target["expr"]);
            }
        }
        for annotation in board["annotations"]["list"].as_array().unwrap() {
            add(&annotation["name"], &annotation["expr"]);
        }
        // `label_values(metric{matching}, label)`: the query that lists the values of a dashboard variable.
        for variable in board["templating"]["list"].as_array().unwrap() {
            if let Some(query) = variable["definition"].as_str() {
                let inner = query.strip_prefix("label_values(").unwrap();
                let (series, _) = inner.rsplit_once(", ").unwrap();
                add(&variable["label"], &series.into());
            }
        }
    }
    all
}
