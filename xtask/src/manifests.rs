//! `cargo xtask manifests`: generates the files in `deploy/` that are made from other files there.
//!
//! The generated files are `ebb.yaml`, for users without Kustomize; the Prometheus rules as an object of the Prometheus
//! operator; and Grafana's dashboards. Tests check that the files are up to date.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{cargo::Workspace, dashboards, exec, say};

/// The beginning of the PrometheusRule object, before the rules.
const RULES_HEAD: &str = "\
# Made from deploy/prometheus/rules.yaml by `cargo xtask manifests`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: ebb
  namespace: ebb-system
spec:
";

pub(crate) fn run() -> Result<()> {
    let deploy = Workspace::find()?.root.join("deploy");
    rules(&deploy)?;
    dashboards::write(&deploy.join("grafana"))?;
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("kustomize").arg(deploy.join("base"));
    let Some(rendered) = exec::output(&mut kubectl) else {
        bail!("kubectl kustomize deploy/base failed, or there is no kubectl");
    };
    write(&deploy.join("ebb.yaml"), &rendered)
}

/// Writes the Prometheus rules as a PrometheusRule object of the Prometheus operator.
fn rules(deploy: &Path) -> Result<()> {
    let source = deploy.join("prometheus/rules.yaml");
    let rules =
        fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let mut object = RULES_HEAD.to_owned();
    for line in rules.lines().skip_while(|line| line.starts_with('#')) {
        let indent = if line.is_empty() { "" } else { "  " };
        // The result is ignored, because writing to a `String` does not fail.
        let _ = writeln!(object, "{indent}{line}");
    }
    write(
        &deploy.join("components/prometheus-operator/rules.yaml"),
        &object,
    )
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
    say::note(&format!("written: {}", file.display()));
    Ok(())
}
