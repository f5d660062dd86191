//! A pod from the API server, and the counting rules in its annotations.
//!
//! Only the used fields are parsed: an agent runs on every node, and a whole pod object has about 10 KiB.
//!
//! Bias: a pod is counted only if its annotations are valid. Failure mode: a pod with invalid annotations is not
//! counted, and is reported as rejected.

use std::collections::BTreeMap;

use ebb_agent::Rules;
use ebb_autoscaler_core::{Annotations, Config, annotations::KNATIVE};
use ebb_contract::{CountedAt, opt_in};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use super::{container::Container, hop::Choice, kubelet::Qos};

/// The annotations that the agent reads. The autoscaler validates all others.
const READ: [&str; 4] = [
    opt_in::CLASS_KEY,
    "ebb.dev/ports",
    "ebb.dev/hop",
    "ebb.dev/exclude-paths",
];

/// Knative's default target utilisation in per cent, for the annotation `target-utilization-percentage` and the
/// ConfigMap key `container-concurrency-target-percentage`.
const UTILIZATION: f64 = 70.0;

/// Assumed target of a pod without a target annotation, in requests in flight. It is a tenth of Knative's default,
/// because the default in the cluster's ConfigMap may be smaller than Knative's.
const DEFAULT_TARGET: u64 = 10;

/// Maximum lengths of an object's name and kind in bytes: those of a DNS subdomain and a DNS label
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>). Name and kind become metric labels.
const LONGEST_NAME: usize = ebb_contract::LONGEST;
const LONGEST_KIND: usize = 63;

/// Maximum length of the reason why a pod is not counted, in bytes. The reason quotes annotations, which can have 256
/// KiB.
const LONGEST_REASON: usize = 1_000;

/// The label with the hash that a Deployment's controller appends to the name of a ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Parts of the names of runtime classes whose pods run on their own kernel, as the runtimes' documents name them
/// (gVisor's handler is `runsc`). The node's kernel does not see the connections of these pods. Their count would be
/// zero, and Ebb would scale down a workload that serves traffic.
const OWN_KERNEL: [&str; 3] = ["gvisor", "runsc", "kata"];

/// The fields of a pod that the agent parses.
#[derive(Clone, Debug, Default, Deserialize, Resource)]
#[resource(inherit = k8s_openapi::api::core::v1::Pod)]
pub(crate) struct Pod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    runtime_class_name: Option<String>,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    qos_class: String,
}

/// A pod that opted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodSpec {
    /// `metadata.uid`, which is also in the name of the pod's cgroup.
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Kind and name of the workload that owns the pod.
    pub(crate) workload: (String, String),
    /// The quality of service class, needed to locate the cgroup. `None` if the pod's status has no class.
    pub(crate) qos: Option<Qos>,
    pub(crate) rules: Rules,
    /// The hop at which the pod is counted, and the reason. Its ports are also in `rules`.
    pub(crate) counted_at: CountedAt<'static>,
    /// The pod's target in requests in flight. A burst does not begin below the target.
    pub(crate) target: u64,
}

/// The opt-in of a pod, from its annotations.
#[derive(Debug)]
pub(crate) enum OptIn {
    /// The pod did not opt in, has ended, or has an invalid uid.
    Nothing,
    /// The pod opted in and can be counted.
    Count(PodSpec),
    /// The pod opted in but cannot be counted. The string is the reason.
    Rejected(PodSpec, String),
}

impl Pod {
    /// Returns `metadata.uid`; empty if the pod has none.
    pub(crate) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Returns the pod's opt-in, from its annotations.
    pub(crate) fn opt_in(&self) -> OptIn {
        let given = self.metadata.annotations.as_ref();
        let read = given.into_iter().flatten().filter_map(|(key, text)| {
            READ.contains(&key.as_str())
                .then_some((key.as_str(), text.as_str()))
        });
        let class = given.and_then(|given| given.get(opt_in::CLASS_KEY));
        let opted_in = opt_in::is_opted_in(class.map(String::as_str));
        let ended = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        if !opted_in || ended || !is_name(self.uid()) {
            return OptIn::Nothing;
        }
        let pod_spec = |rules, counted_at| PodSpec {
            uid: self.uid().to_owned(),
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            name: self.metadata.name.clone().unwrap_or_default(),
            workload: self.workload(),
            qos: Qos::parse(&self.status.qos_class),
            rules,
            counted_at,
            target: self.target(),
        };
        let rejected = |why| {
            let spec = pod_spec(Rules::default(), CountedAt::default());
            OptIn::Rejected(spec, cut(why))
        };
        if let Some(class) = self.own_kernel() {
            return rejected(format!(
                "spec.runtimeClassName: {class:?}: a pod with its own kernel (gVisor, Kata Containers) cannot be \
                 counted from the node; use a runtime class that runs on the node's kernel"
            ));
        }
        let annotations = match Annotations::parse(&Config::default(), read) {
            Ok(annotations) => annotations,
            Err(problems) => return rejected(problems.to_string()),
        };
        let none = BTreeMap::new();
        let choice = Choice {
            ports: annotations.ports,
            hop: annotations.hop,
            annotations: given.unwrap_or(&none),
            containers: &self.spec.containers,
            init_containers: &self.spec.init_containers,
        };
        let counted_at = match choice.make() {
            Ok(counted_at) => counted_at,
            Err(why) => return rejected(why),
        };
        let mut exclude_paths = annotations.exclude_paths;
        // The paths are sorted, so that the rules can be compared with rules that are read back from the kernel.
        exclude_paths.sort();
        exclude_paths.dedup();
        let rules = Rules {
            ports: counted_at.ports.clone(),
            only_inside: counted_at.only_inside,
            exclude_paths,
        };
        OptIn::Count(pod_spec(rules, counted_at))
    }

    /// Returns the runtime class if its name says that the pod has its own kernel.
    fn own_kernel(&self) -> Option<&str> {
        let class = self.spec.runtime_class_name.as_deref()?;
        let lower = class.to_ascii_lowercase();
        OWN_KERNEL
            .iter()
            .any(|name| lower.contains(name))
            .then_some(class)
    }

    /// Returns the target from the pod's annotations. Invalid annotations are ignored here, because the target only
    /// decides how early a burst is detected.
    fn target(&self) -> u64 {
        let given = self.metadata.annotations.as_ref();
        let number = |name: &str| {
            let text = given?.get(&format!("{KNATIVE}{name}"))?;
            text.parse::<f64>().ok().filter(|number| *number > 0.0)
        };
        match number("target") {
            Some(target) => {
                let share = number("target-utilization-percentage").unwrap_or(UTILIZATION) / 100.0;
                // The conversion saturates for a target above `u64::MAX`.
                (target * share).ceil() as u64
            }
            None => DEFAULT_TARGET,
        }
    }

    fn workload(&self) -> (String, String) {
        let owner = self
            .metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            // The owner reference is not trusted, because the creator of the pod wrote it. An owner whose kind or name
            // is longer than that of any object is ignored.
            .filter(|owner| owner.kind.len() <= LONGEST_KIND && owner.name.len() <= LONGEST_NAME);
        let Some(owner) = owner else {
            return (
                "Pod".to_owned(),
                self.metadata.name.clone().unwrap_or_default(),
            );
        };
        // An API request for the owner of the ReplicaSet is avoided: the Deployment's name can be derived from the
        // ReplicaSet's name
        // (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label>).
        let of_deployment = self
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(TEMPLATE_HASH))
            .filter(|_| owner.kind == "ReplicaSet")
            .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        match of_deployment {
            Some(name) => ("Deployment".to_owned(), name.to_owned()),
            None => (owner.kind.clone(), owner.name.clone()),
        }
    }
}

/// Shortens a reason to [`LONGEST_REASON`].
fn cut(mut why: String) -> String {
    if why.len() > LONGEST_REASON {
        why.truncate(why.floor_char_boundary(LONGEST_REASON));
        why.push('…');
        why.shrink_to_fit();
    }
    why
}

/// Returns whether a uid is safe as a part of a path.
fn is_name(uid: &str) -> bool {
    (1..=LONGEST_NAME).contains(&uid.len())
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: impl FnOnce(&mut Value)) -> OptIn {
        let mut pod = json!({
            "metadata": {
                "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                "namespace": "shop",
                "name": "web-7d4b9c6f5-x2x9q",
                "labels": {"pod-template-hash": "7d4b9c6f5"},
                "annotations": {"autoscaling.knative.dev/class": "ebb.dev"},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9c6f5",
                    "uid": "u", "controller": true,
                }],
            },
            "spec": {"containers": [{"name": "web"}]},
            "status": {"phase": "Running", "qosClass": "Burstable", "podIP": "10.0.0.1"},
        });
        change(&mut pod);
        serde_json::from_value::<Pod>(pod).unwrap().opt_in()
    }

    fn annotated(annotations: Value) -> OptIn {
        pod(|pod| pod["metadata"]["annotations"] = annotations)
    }

    #[track_caller]
    fn counted(opt_in: OptIn) -> PodSpec {
        match opt_in {
            OptIn::Count(spec) => spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pod_that_opted_in_is_counted() {
        let spec = counted(pod(|_| {}));
        assert_eq!(spec.workload, ("Deployment".into(), "web".into()));
        assert_eq!(spec.qos, Some(Qos::Burstable));
        assert_eq!(spec.rules, Rules::default());
        assert_eq!(
            (&*spec.namespace, &*spec.name),
            ("shop", "web-7d4b9c6f5-x2x9q")
        );
    }

    #[test]
    fn t4_what_a_tenant_wrote_is_bounded() {
        for (field, length) in [("name", 900_000), ("name", 254), ("kind", 64)] {
            let spec = counted(pod(|pod| {
                pod["metadata"]["ownerReferences"][0][field] = json!("n".repeat(length));
            }));
            let itself = ("Pod".to_owned(), "web-7d4b9c6f5-x2x9q".to_owned());
            assert_eq!(spec.workload, itself, "{field} of {length}");
        }
        let OptIn::Rejected(_, why) = annotated(json!({
            "autoscaling.knative.dev/class": "ebb.dev",
            "ebb.dev/ports": "é".repeat(100_000),
        })) else {
            panic!("its ports are none");
        };
        assert!(
            why.ends_with('…') && why.len() < LONGEST_REASON + 10,
            "{why}"
        );
        let strange = pod(|pod| pod["metadata"]["uid"] = json!("u".repeat(900_000)));
        assert!(matches!(strange, OptIn::Nothing));
    }

    #[test]
    fn others_are_left_alone() {
        for annotations in [
            json!({}),
            json!({"autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev"}),
            json!({"autoscaling.knative.dev/class": "ebb.dev "}),
            json!({"ebb.dev/ports": "80"}),
        ] {
            assert!(
                matches!(annotated(annotations.clone()), OptIn::Nothing),
                "{annotations}"
            );
        }
        for phase in ["Succeeded", "Failed"] {
            let ended = pod(|pod| pod["status"]["phase"] = json!(phase));
            assert!(matches!(ended, OptIn::Nothing), "{phase}");
        }
        for uid in ["", "../../other", "a/b"] {
            let strange = pod(|pod| pod["metadata"]["uid"] = json!(uid));
            assert!(matches!(strange, OptIn::Nothing), "{uid}");
        }
    }

    #[test]
    fn rules_come_from_the_annotations() {
        let spec = counted(annotated(json!({
            "autoscaling.knative.dev/class": "ebb.dev",
            "ebb.dev/ports": "80, 8080",
            "ebb.dev/exclude-paths": "/metrics,/healthz,/metrics",
            // The autoscaler reports the invalid target. Counting does not depend on the target.
            "autoscaling.knative.dev/target": "many",
        })));
        assert_eq!(spec.rules.ports, [80, 8080]);
        assert_eq!(spec.rules.exclude_paths, ["/healthz", "/metrics"]);
    }

    #[test]
    fn a_mesh_sidecar_moves_counting_to_the_application() {
        let mesh = json!([
            {"name": "web", "ports": [{"containerPort": 8080}]},
            {"name": "istio-proxy", "ports": [{"containerPort": 15090}]},
        ]);
        let with = |annotations: Value| {
            pod(|pod| {
                pod["spec"]["containers"] = mesh.clone();
                pod["metadata"]["annotations"] = annotations;
            })
        };
        let class = "autoscaling.knative.dev/class";
        let ports = |annotations| counted(with(annotations)).rules.ports;
        assert_eq!(ports(json!({class: "ebb.dev"})), [8080]);
        let spec = counted(with(json!({class: "ebb.dev"})));
        assert_eq!(
            spec.counted_at.to_string(),
            "counted at the application (istio), port 8080"
        );
        assert_eq!(
            ports(json!({class: "ebb.dev", "ebb.dev/ports": "81"})),
            [81]
        );
        assert!(ports(json!({class: "ebb.dev", "ebb.dev/hop": "edge"})).is_empty());
        let OptIn::Rejected(_, why) = with(json!({class: "ebb.dev", "ebb.dev/hop": "inner"}))
        else {
            panic!("`inner` is no hop");
        };
        assert!(
            why.contains("ebb.dev/hop") && why.contains("edge or app"),
            "{why}"
        );
    }

    #[test]
    fn a_burst_begins_above_the_target() {
        let target = |annotations: &[(&str, &str)]| {
            let mut all = json!({"autoscaling.knative.dev/class": "ebb.dev"});
            for (key, text) in annotations {
                all[format!("{KNATIVE}{key}")] = json!(text);
            }
            counted(annotated(all)).target
        };
        assert_eq!(target(&[]), DEFAULT_TARGET);
        assert_eq!(target(&[("target", "10")]), 7);
        assert_eq!(
            target(&[("target", "10"), ("target-utilization-percentage", "100")]),
            10
        );
        assert_eq!(target(&[("target", "0.01")]), 1);
        assert_eq!(target(&[("target", "many")]), DEFAULT_TARGET);
    }

    #[test]
    fn rules_that_cannot_be_followed_are_refused() {
        let asked = annotated(json!({
            "autoscaling.knative.dev/class": "ebb.dev",
            "ebb.dev/ports": "http",
        }));
        let OptIn::Rejected(spec, why) = asked else {
            panic!("{asked:?}");
        };
        assert_eq!(spec.name, "web-7d4b9c6f5-x2x9q");
        assert!(
            why.contains("ebb.dev/ports") && why.contains("http"),
            "{why}"
        );
    }

    #[test]
    fn pods_with_a_kernel_of_their_own_are_refused() {
        let of_class = |class: &str| pod(|pod| pod["spec"]["runtimeClassName"] = json!(class));
        for class in ["gvisor", "kata-qemu", "my-Kata", "runsc"] {
            let OptIn::Rejected(_, why) = of_class(class) else {
                panic!("{class}");
            };
            assert!(
                why.contains("spec.runtimeClassName") && why.contains(class),
                "{why}"
            );
        }
        for class in ["nvidia", "crun", "wasmtime"] {
            assert!(matches!(of_class(class), OptIn::Count(_)), "{class}");
        }
    }

    #[test]
    fn a_workload_is_what_the_pod_is_a_copy_of() {
        let owner = |kind: &str, name: &str| {
            counted(pod(|pod| {
                let owner = &mut pod["metadata"]["ownerReferences"][0];
                owner["kind"] = json!(kind);
                owner["name"] = json!(name);
            }))
            .workload
        };
        assert_eq!(
            owner("StatefulSet", "db"),
            ("StatefulSet".into(), "db".into())
        );
        assert_eq!(
            owner("ReplicaSet", "by-hand"),
            ("ReplicaSet".into(), "by-hand".into())
        );
        let alone = counted(pod(|pod| pod["metadata"]["ownerReferences"] = json!([])));
        assert_eq!(alone.workload, ("Pod".into(), "web-7d4b9c6f5-x2x9q".into()));
    }

    #[test]
    fn a_pod_that_is_just_bound_has_no_status_yet() {
        let spec = counted(pod(|pod| pod["status"] = json!({})));
        assert_eq!(spec.qos, None);
    }
}
