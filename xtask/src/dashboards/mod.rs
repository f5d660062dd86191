//! Part of `cargo xtask manifests`: generates Grafana's dashboards from the few properties in which their panels
//! differ.
//!
//! A dashboard as Grafana exports it is mostly repetition, and cannot be reviewed. Here a panel is its title, its queries and
//! its place. `ebb-e2e` runs every query against a real Prometheus, and checks the files against Grafana's own types.

mod overview;
mod panel;
mod workload;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use self::panel::Panel;

/// The version of the dashboard schema of Grafana 11. Newer versions of Grafana convert a dashboard when they load it.
const SCHEMA: u32 = 39;

/// The content of a dashboard, before its layout is computed.
struct Dashboard {
    uid: &'static str,
    title: &'static str,
    description: &'static str,
    variables: Vec<Value>,
    annotations: Vec<Value>,
    links: Vec<Value>,
    /// The rows, as tuples (title, panels under the title).
    rows: Vec<(&'static str, Vec<Panel>)>,
}

/// Writes all dashboards into `folder`.
pub(crate) fn write(folder: &Path) -> Result<()> {
    for dashboard in [overview::dashboard(), workload::dashboard()] {
        let file = folder.join(format!("{}.json", dashboard.uid));
        let mut text = serde_json::to_string_pretty(&dashboard.lay_out())?;
        text.push('\n');
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

impl Dashboard {
    fn lay_out(&self) -> Value {
        let mut panels = Vec::new();
        let (mut id, mut y) = (0, 0);
        let mut next = || {
            id += 1;
            id
        };
        for (title, row) in &self.rows {
            panels.push(json!({
                "id": next(), "type": "row", "title": title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": panel::WIDTH, "h": 1},
            }));
            y += 1;
            let (mut x, mut line) = (0, 0);
            for panel in row {
                if x + panel.width > panel::WIDTH {
                    (x, y, line) = (0, y + line, 0);
                }
                panels.push(panel.json(next(), (x, y)));
                x += panel.width;
                line = line.max(panel.height);
            }
            y += line;
        }
        let mut variables = vec![json!({
            "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0,
        })];
        variables.extend(self.variables.iter().cloned());
        json!({
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["ebb"],
            "schemaVersion": SCHEMA,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "templating": {"list": variables},
            "annotations": {"list": self.annotations},
            "links": self.links,
            "panels": panels,
        })
    }
}

/// Returns a dashboard variable whose values are the values of a label. If `several` is set, several values can be
/// selected.
fn variable(name: &str, label: &str, query: &str, several: bool) -> Value {
    let mut variable = json!({
        "name": name, "label": label, "type": "query", "hide": 0,
        "datasource": panel::source(),
        "query": {"query": query, "refId": "A"},
        "definition": query,
        // With `refresh` 2, Grafana queries the values again when the time range changes, because workloads are created
        // and deleted.
        "refresh": 2, "sort": 1, "multi": several, "includeAll": several,
    });
    if several {
        variable["allValue"] = json!(".*");
        variable["current"] = json!({"selected": true, "text": ["All"], "value": ["$__all"]});
    }
    variable
}

/// Returns an annotation: marks on every chart at the times when `query` has a value.
fn annotation(name: &str, colour: &str, query: &str, title: &str) -> Value {
    json!({
        "name": name, "enable": true, "hide": false, "iconColor": colour,
        "datasource": panel::source(),
        "expr": query, "step": "15s", "titleFormat": title, "useValueForTime": false,
    })
}

/// Returns a link to another dashboard, for the dashboard's header. The link keeps the time range and the data source.
fn link(title: &str, uid: &str) -> Value {
    json!({
        "title": title, "type": "link", "url": format!("/d/{uid}"), "icon": "external link", "tooltip": "",
        "tags": [], "asDropdown": false, "targetBlank": false, "keepTime": true, "includeVars": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_is_written_here() {
        let there = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana");
        for dashboard in [overview::dashboard(), workload::dashboard()] {
            let file = there.join(format!("{}.json", dashboard.uid));
            let text = fs::read_to_string(file).unwrap();
            let file: Value = serde_json::from_str(&text).unwrap();
            let stale = "run cargo xtask manifests";
            assert!(file == dashboard.lay_out(), "{}: {stale}", dashboard.uid);
        }
    }

    #[test]
    fn no_panel_lies_on_another() {
        for dashboard in [overview::dashboard(), workload::dashboard()] {
            let mut taken = std::collections::BTreeSet::new();
            for panel in dashboard.lay_out()["panels"].as_array().unwrap() {
                let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
                assert!(at("x") + at("w") <= panel::WIDTH.into());
                for cell in (at("x")..at("x") + at("w"))
                    .flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
                {
                    assert!(taken.insert(cell), "{}: {panel}", dashboard.uid);
                }
            }
        }
    }
}
