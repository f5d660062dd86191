//! The kinds that the API double serves: the built-in kinds that Ebb's programs and tests use, and the kinds that
//! CustomResourceDefinitions add.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A kind that the API double serves.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) namespaced: bool,
    /// The field paths of the kind's scale subresource; `None`: the kind has no scale subresource.
    pub(super) scale: Option<Scale>,
    /// Whether a CustomResourceDefinition added the kind.
    pub(super) custom: bool,
}

/// The field paths of the replicas of a scale subresource, as in a CustomResourceDefinition.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    pub(super) spec: Vec<String>,
    pub(super) status: Vec<String>,
}

impl Scale {
    /// Returns the field paths of the built-in kinds.
    fn usual() -> Self {
        Self::new(".spec.replicas", ".status.replicas")
    }

    fn new(spec: &str, status: &str) -> Self {
        let fields = |path: &str| {
            let fields = path.split('.').filter(|field| !field.is_empty());
            fields.map(str::to_owned).collect()
        };
        Self {
            spec: fields(spec),
            status: fields(status),
        }
    }
}

impl Kind {
    /// Returns the resource name that the store uses for objects of this kind, such as `apps/deployments` or `pods`.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}/{}", self.group, self.plural)
        }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

#[derive(Debug)]
pub(super) struct Kinds(Vec<Kind>);

/// The built-in kinds: group, version, kind, plural, whether the kind is namespaced, whether it has a scale
/// subresource.
const BUILTIN: &[(&str, &str, &str, &str, bool, bool)] = &[
    ("", "v1", "Namespace", "namespaces", false, false),
    ("", "v1", "Node", "nodes", false, false),
    ("", "v1", "Pod", "pods", true, false),
    ("", "v1", "ConfigMap", "configmaps", true, false),
    ("", "v1", "Secret", "secrets", true, false),
    ("", "v1", "Service", "services", true, false),
    ("", "v1", "ServiceAccount", "serviceaccounts", true, false),
    ("", "v1", "Event", "events", true, false),
    ("", "v1", "ResourceQuota", "resourcequotas", true, false),
    ("apps", "v1", "Deployment", "deployments", true, true),
    ("apps", "v1", "ReplicaSet", "replicasets", true, true),
    ("apps", "v1", "StatefulSet", "statefulsets", true, true),
    ("apps", "v1", "DaemonSet", "daemonsets", true, false),
    (
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        true,
        false,
    ),
    (
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        true,
        false,
    ),
    ("coordination.k8s.io", "v1", "Lease", "leases", true, false),
    ("events.k8s.io", "v1", "Event", "events", true, false),
    (
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        true,
        false,
    ),
    (
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        true,
        false,
    ),
    (
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        false,
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "Role",
        "roles",
        true,
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
        true,
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRole",
        "clusterroles",
        false,
        false,
    ),
    (
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
        false,
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        false,
        false,
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        false,
        false,
    ),
];

impl Kinds {
    pub(super) fn new() -> Self {
        let kinds = BUILTIN
            .iter()
            .map(|(group, version, kind, plural, namespaced, scale)| Kind {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                kind: (*kind).to_owned(),
                plural: (*plural).to_owned(),
                namespaced: *namespaced,
                scale: scale.then(Scale::usual),
                custom: false,
            });
        Self(kinds.collect())
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        self.0
            .iter()
            .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// Returns whether this group and version contains a built-in kind.
    pub(super) fn is_builtin(&self, group: &str, version: &str) -> bool {
        let mut own = self.0.iter().filter(|kind| !kind.custom);
        own.any(|kind| kind.group == group && kind.version == version)
    }

    pub(super) fn of(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0
            .iter()
            .find(|known| known.kind == kind && known.api_version() == api_version)
    }

    /// Adds the kind of a CustomResourceDefinition.
    pub(super) fn learn(&mut self, object: &Value) {
        if object["kind"] != "CustomResourceDefinition" {
            return;
        }
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for version in spec["versions"].as_array().into_iter().flatten() {
            let kind = Kind {
                group: text(&spec["group"]),
                version: text(&version["name"]),
                kind: text(&spec["names"]["kind"]),
                plural: text(&spec["names"]["plural"]),
                namespaced: spec["scope"] == "Namespaced",
                scale: version["subresources"]["scale"].as_object().map(|scale| {
                    let path = |of: &str| scale.get(of).and_then(Value::as_str).unwrap_or_default();
                    Scale::new(path("specReplicasPath"), path("statusReplicasPath"))
                }),
                custom: true,
            };
            // If a CustomResourceDefinition changes, its new kind replaces the kind that was added before the change.
            self.0.retain(|known| {
                !known.custom
                    || (&known.group, &known.version, &known.plural)
                        != (&kind.group, &kind.version, &kind.plural)
            });
            if self
                .find(&kind.group, &kind.version, &kind.plural)
                .is_none()
            {
                self.0.push(kind);
            }
        }
    }

    /// Removes the kind of a deleted CustomResourceDefinition.
    pub(super) fn forget(&mut self, object: &Value) {
        if object["kind"] == "CustomResourceDefinition" {
            let spec = &object["spec"];
            self.0.retain(|kind| {
                !kind.custom
                    || spec["group"] != *kind.group
                    || spec["names"]["plural"] != *kind.plural
            });
        }
    }

    /// Returns the `APIGroupList`: all groups with their versions.
    pub(super) fn groups(&self) -> Value {
        let mut groups: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for kind in self.0.iter().filter(|kind| !kind.group.is_empty()) {
            let version = json!({"groupVersion": kind.api_version(), "version": kind.version});
            let versions = groups.entry(&*kind.group).or_default();
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        let groups: Vec<Value> = groups
            .into_iter()
            .map(|(name, versions)| {
                json!({"name": name, "versions": versions, "preferredVersion": versions[0]})
            })
            .collect();
        json!({"apiVersion": "v1", "kind": "APIGroupList", "groups": groups})
    }

    /// Returns the `APIResourceList` of a group and version.
    pub(super) fn resources(&self, group: &str, version: &str) -> Option<Value> {
        let kinds: Vec<_> = self
            .0
            .iter()
            .filter(|kind| kind.group == group && kind.version == version)
            .collect();
        let api_version = kinds.first()?.api_version();
        let verbs = json!([
            "create", "delete", "get", "list", "patch", "update", "watch"
        ]);
        let mut resources = Vec::new();
        for kind in kinds {
            resources.push(json!({
                "name": kind.plural, "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind, "verbs": verbs,
            }));
            if kind.scale.is_some() {
                resources.push(json!({
                    "name": format!("{}/scale", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                    "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
                }));
            }
        }
        Some(json!({
            "apiVersion": "v1", "kind": "APIResourceList", "groupVersion": api_version, "resources": resources,
        }))
    }
}
