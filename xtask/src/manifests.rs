//! `cargo xtask manifests`: `deploy/ebb.yaml`, for those who have no Kustomize at hand.
//!
//! A test of the end-to-end tests holds that it is what the base renders to.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{cargo::Workspace, exec, say};

pub(crate) fn run() -> Result<()> {
    let deploy = Workspace::find()?.root.join("deploy");
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("kustomize").arg(deploy.join("base"));
    let Some(rendered) = exec::output(&mut kubectl) else {
        bail!("kubectl kustomize deploy/base failed, or there is no kubectl");
    };
    let file = deploy.join("ebb.yaml");
    fs::write(&file, rendered).with_context(|| format!("cannot write {}", file.display()))?;
    say::note(&format!("written: {}", file.display()));
    Ok(())
}
