//! A check of the dashboards against Grafana's TypeScript types (`@grafana/schema`, generated from the schema that
//! Grafana is built with). The TypeScript compiler checks the dashboards as literals, so an unknown field is an error.

use std::fs;
use std::process::Command;

use ebb_e2e::manifests::file;
use ebb_fixtures::npm;
use serde_json::Value;

/// The kinds of panels in the dashboards, each with the module of Grafana's schema that defines the options and the
/// field configuration of this kind.
const KINDS: [(&str, &str); 3] = [
    ("timeseries", "timeseries"),
    ("stat", "stat"),
    ("table", "table"),
];

/// TypeScript types for what the dashboards contain and the schema's types do not allow. `Loose`: JSON has strings
/// where TypeScript has enumerations. `Asked`: a dashboard variable repeats its query in the field `definition`.
/// `Marked`: the Prometheus data source adds fields to an annotation.
const LOOSE: &str = "
type Loose<T> = T extends string ? `${T}` : T extends (infer U)[] ? Loose<U>[]
  : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;
type Asked = { definition?: string };
type Marked = { expr: string; step: string; titleFormat: string; useValueForTime: boolean };
";

pub(super) fn types() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        npm("").parent().unwrap().join("node_modules"),
        folder.path().join("node_modules"),
    )
    .unwrap();
    let raw = "@grafana/schema/dist/esm/raw";
    let mut source = format!(
        "import type {{ Dashboard, Panel, RowPanel, VariableModel, AnnotationQuery, DashboardLink }} from '{raw}/dashboard/x/dashboard_types.gen';\n"
    );
    for (kind, module) in KINDS {
        let path = format!(
            "{raw}/composable/{module}/panelcfg/x/{}PanelCfg_types.gen",
            capital(module)
        );
        source += &format!("import type {{ Options as {kind}Options }} from '{path}';\n");
    }
    source += &format!(
        "import type {{ FieldConfig as timeseriesFieldConfig }} from '{raw}/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';\n"
    );
    source += LOOSE;
    let mut number = 0;
    for board in ["ebb-overview", "ebb-workload"] {
        let text = fs::read_to_string(file(&format!("deploy/grafana/{board}.json"))).unwrap();
        let mut board: Value = serde_json::from_str(&text).unwrap();
        let mut add = |kind: &str, value: &Value| {
            number += 1;
            source += &format!("export const v{number}: Loose<{kind}> = {value};\n");
        };
        for panel in board["panels"].as_array_mut().unwrap() {
            let kind = panel["type"].as_str().unwrap().to_owned();
            if kind == "row" {
                add("RowPanel", panel);
                continue;
            }
            add(&format!("Partial<{kind}Options>"), &panel["options"]);
            if kind == "timeseries" {
                add(
                    "timeseriesFieldConfig",
                    &panel["fieldConfig"]["defaults"]["custom"],
                );
            }
            add("Panel", panel);
        }
        for variable in board["templating"]["list"].as_array().unwrap() {
            add("VariableModel & Asked", variable);
        }
        for annotation in board["annotations"]["list"].as_array_mut().unwrap() {
            add("AnnotationQuery & Marked", annotation);
        }
        for link in board["links"].as_array().unwrap() {
            add("DashboardLink", link);
        }
        board["panels"] = Value::Array(Vec::new());
        board["annotations"] = serde_json::json!({"list": []});
        board["templating"] = serde_json::json!({"list": []});
        add("Dashboard", &board);
    }
    fs::write(folder.path().join("boards.ts"), source).unwrap();
    let output = Command::new("node")
        .arg(npm("typescript").join("bin/tsc"))
        .args([
            "--strict",
            "--noEmit",
            "--skipLibCheck",
            "--moduleResolution",
            "node",
            "boards.ts",
        ])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

fn capital(module: &str) -> &str {
    match module {
        "timeseries" => "TimeSeries",
        "stat" => "Stat",
        _ => "Table",
    }
}
