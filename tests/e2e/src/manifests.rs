//! The manifests in `deploy/`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The rendered manifest: the single file that users apply.
pub const RENDERED: &str = "deploy/ebb.yaml";

/// Returns the path of a file of this project.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// Returns the path of a project file relative to `folder`, for a kustomization in `folder`: Kustomize requires
/// relative paths.
///
/// # Panics
/// If the folder or the file does not exist.
#[must_use]
pub fn from(folder: &Path, name: &str) -> String {
    let folder = folder.canonicalize().expect("a folder");
    let file = file(name)
        .canonicalize()
        .expect("the file exists in this project");
    // The first component of `folder` is the root directory `/`, for which the relative path needs no `../`.
    let up = "../".repeat(folder.components().count() - 1);
    let below = file.strip_prefix("/").expect("an absolute path");
    format!("{up}{}", below.display())
}

/// Returns the objects of a manifest file of this project.
///
/// # Panics
/// If the manifest cannot be read.
#[must_use]
pub fn objects(name: &str) -> Vec<Value> {
    let path = file(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Parses the text of a manifest and returns its objects.
///
/// # Errors
/// If the text is not YAML.
pub fn parse(text: &str) -> anyhow::Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(text)?)
}

/// Returns the arguments of the first container of a workload in [`RENDERED`].
///
/// # Panics
/// If the manifest has no workload of this kind and name.
#[must_use]
pub fn arguments(kind: &str, name: &str) -> Vec<String> {
    arguments_in(RENDERED, kind, name)
}

/// Returns the arguments of the first container of a workload in this manifest file.
///
/// # Panics
/// If the manifest has no workload of this kind and name.
#[must_use]
pub fn arguments_in(file: &str, kind: &str, name: &str) -> Vec<String> {
    let objects = objects(file);
    let workload = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("{file} has no {kind} {name}"));
    let arguments = &workload["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().into_iter().flatten();
    arguments
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
