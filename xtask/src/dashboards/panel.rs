//! The panels of a dashboard: their queries, and the form in which the results are drawn.

use serde_json::{Value, json};

/// Width of Grafana's grid, in columns.
pub(super) const WIDTH: u32 = 24;

/// A panel of a dashboard.
pub(super) struct Panel {
    title: &'static str,
    description: &'static str,
    draw: Draw,
    unit: &'static str,
    queries: Vec<Query>,
    overrides: Vec<Value>,
    pub(super) width: u32,
    pub(super) height: u32,
}

enum Draw {
    Lines { stacked: bool },
    Number { bad_above: Option<f64> },
    Table { link: Value },
}

/// A query, and the name of its series.
struct Query {
    expression: String,
    legend: &'static str,
}

/// Returns the data source that is selected in the dashboard's header.
pub(super) fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

impl Panel {
    /// Creates a panel with lines over time. Its width is a third of the dashboard.
    pub(super) fn lines(
        title: &'static str,
        unit: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            title,
            description,
            draw: Draw::Lines { stacked: false },
            unit,
            queries: Vec::new(),
            overrides: Vec::new(),
            width: 8,
            height: 8,
        }
    }

    /// Creates a panel with one number. Its width is an eighth of the dashboard.
    pub(super) fn number(
        title: &'static str,
        unit: &'static str,
        description: &'static str,
        query: &str,
    ) -> Self {
        Self {
            draw: Draw::Number { bad_above: None },
            width: 3,
            height: 4,
            ..Self::lines(title, unit, description)
        }
        .query("", query)
    }

    /// Creates a table with one row per workload. The column `linked` links to `url`.
    pub(super) fn table(
        title: &'static str,
        description: &'static str,
        linked: &str,
        url: &str,
    ) -> Self {
        let link = json!({
            "matcher": {"id": "byName", "options": linked},
            "properties": [{"id": "links", "value": [{"title": "Open", "url": url, "targetBlank": false}]}],
        });
        Self {
            draw: Draw::Table { link },
            width: WIDTH,
            height: 9,
            ..Self::lines(title, "short", description)
        }
    }

    /// Adds a query. In a table, the legend is the column's name.
    pub(super) fn query(mut self, legend: &'static str, expression: &str) -> Self {
        self.queries.push(Query {
            expression: expression.to_owned(),
            legend,
        });
        self
    }

    /// Draws the series as stacked areas.
    pub(super) fn stacked(mut self) -> Self {
        self.draw = Draw::Lines { stacked: true };
        self
    }

    /// Draws the number in red if it is at least `bad_above`.
    pub(super) fn bad_above(mut self, bad_above: f64) -> Self {
        self.draw = Draw::Number {
            bad_above: Some(bad_above),
        };
        self
    }

    pub(super) fn wide(mut self, width: u32) -> Self {
        self.width = width;
        self
    }

    /// Shades the chart at the times when the series named `legend` is 1. The series has only the values 0 and 1.
    pub(super) fn shaded(mut self, legend: &str, colour: &str) -> Self {
        let property = |id: &str, value: Value| json!({"id": id, "value": value});
        self.overrides.push(json!({
            "matcher": {"id": "byName", "options": legend},
            "properties": [
                property("custom.axisPlacement", json!("hidden")),
                property("custom.lineWidth", json!(0)),
                property("custom.fillOpacity", json!(25)),
                property("custom.lineInterpolation", json!("stepAfter")),
                property("color", json!({"mode": "fixed", "fixedColor": colour})),
                property("unit", json!("bool_on_off")),
                property("min", json!(0)),
                property("max", json!(1)),
            ],
        }));
        self
    }

    /// Draws the series named `legend` as a dashed line.
    pub(super) fn dashed(mut self, legend: &str) -> Self {
        self.overrides.push(json!({
            "matcher": {"id": "byName", "options": legend},
            "properties": [
                {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 6]}},
                {"id": "custom.fillOpacity", "value": 0},
            ],
        }));
        self
    }

    pub(super) fn json(&self, id: u32, (x, y): (u32, u32)) -> Value {
        let (kind, options, defaults) = match &self.draw {
            Draw::Lines { stacked } => ("timeseries", lines_options(), lines_look(*stacked)),
            Draw::Number { bad_above } => ("stat", number_options(), number_look(*bad_above)),
            Draw::Table { .. } => (
                "table",
                json!({"showHeader": true, "cellHeight": "sm"}),
                json!({}),
            ),
        };
        let mut defaults = defaults;
        defaults["unit"] = json!(self.unit);
        let mut overrides = self.overrides.clone();
        let mut panel = json!({
            "id": id,
            "type": kind,
            "title": self.title,
            "description": self.description,
            "datasource": source(),
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "options": options,
            "targets": self.targets(),
        });
        if let Draw::Table { link } = &self.draw {
            overrides.push(link.clone());
            panel["transformations"] = self.joined();
        }
        panel["fieldConfig"] = json!({"defaults": defaults, "overrides": overrides});
        panel
    }

    fn targets(&self) -> Vec<Value> {
        let table = matches!(self.draw, Draw::Table { .. });
        ('A'..='Z')
            .zip(&self.queries)
            .map(|(letter, query)| {
                json!({
                    "refId": letter.to_string(),
                    "datasource": source(),
                    "expr": query.expression,
                    "legendFormat": query.legend,
                    "instant": table,
                    "range": !table,
                    "format": if table { "table" } else { "time_series" },
                })
            })
            .collect()
    }

    /// Returns the transformations of a table: one row per set of labels, and one column per query with the legend as
    /// its name.
    fn joined(&self) -> Value {
        let names: serde_json::Map<_, _> = ('A'..='Z')
            .zip(&self.queries)
            .map(|(letter, query)| (format!("Value #{letter}"), json!(query.legend)))
            .collect();
        json!([
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": true}, "indexByName": {}, "renameByName": names}},
        ])
    }
}

fn lines_options() -> Value {
    json!({
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    })
}

fn lines_look(stacked: bool) -> Value {
    let (fill, mode) = if stacked { (40, "normal") } else { (8, "none") };
    json!({
        "min": 0,
        "custom": {
            "drawStyle": "line", "lineWidth": 2, "fillOpacity": fill, "showPoints": "never",
            // Threshold in ms: if values are missing for more than a minute, the line has a gap.
            "spanNulls": 60_000,
            "stacking": {"mode": mode, "group": "A"},
        },
    })
}

fn number_options() -> Value {
    json!({
        "colorMode": "value", "graphMode": "area", "justifyMode": "auto", "textMode": "auto", "orientation": "auto",
        "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
    })
}

fn number_look(bad_above: Option<f64>) -> Value {
    let mut steps = vec![json!({"color": "text", "value": null})];
    if let Some(bad) = bad_above {
        steps = vec![
            json!({"color": "green", "value": null}),
            json!({"color": "red", "value": bad}),
        ];
    }
    json!({"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}})
}
