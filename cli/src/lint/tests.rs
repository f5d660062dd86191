use super::*;

/// Returns the problems of `text`, without the name of the file.
fn lint(text: &str) -> Vec<String> {
    let (documents, unreadable) = document::read(text.as_bytes());
    let file = File {
        name: "f".to_owned(),
        objects: documents.into_iter().flat_map(object::flatten).collect(),
        unreadable,
    };
    let config = file.objects.iter().filter_map(Object::config).next_back();
    lines(&file, &config.unwrap_or_default())
        .iter()
        .map(|line| line.strip_prefix("f: ").unwrap().to_owned())
        .collect()
}

/// Returns a manifest that begins with `head`. Its template has `annotations`, with values in quotes.
fn templated(head: &str, annotations: &[(&str, &str)]) -> String {
    let annotations: String = annotations
        .iter()
        .map(|(key, value)| format!("        {key}: {value:?}\n"))
        .collect();
    format!(
        "{head}\nmetadata:\n  name: shop\nspec:\n  template:\n    metadata:\n      annotations:\n{annotations}"
    )
}

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment";
const SERVICE: &str = "apiVersion: serving.knative.dev/v1\nkind: Service";

#[test]
fn what_is_right_is_silent() {
    let annotations = [
        ("autoscaling.knative.dev/class", "ebb.dev"),
        ("autoscaling.knative.dev/target", "10"),
        ("prometheus.io/scrape", "true"),
    ];
    for head in [DEPLOYMENT, SERVICE] {
        assert_eq!(lint(&templated(head, &annotations)), [""; 0]);
    }
    assert_eq!(
        lint("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"),
        [""; 0]
    );
    assert_eq!(lint("# nothing\n"), [""; 0]);
}

#[test]
fn ten_mistakes_are_ten_lines_in_a_deployment_and_in_a_service() {
    let annotations = [
        (
            "autoscaling.knative.dev/class",
            "mpa.autoscaling.knative.dev",
        ),
        ("autoscaling.knative.dev/target", "0"),
        ("autoscaling.knative.dev/window", "60"),
        ("autoscaling.knative.dev/min-scale", "-1"),
        ("autoscaling.knative.dev/panic-window-percentage", "NaN"),
        ("autoscaling.knative.dev/panic-threshold-percentage", "50"),
        ("autoscaling.knative.dev/scale-down-delay", "1.5s"),
        ("autoscaling.knative.dev/maxscale", "5"),
        ("autoscaling.knative.dev/activation-scale", "1"),
        ("ebb.dev/ports", "0"),
    ];
    for (head, name) in [(DEPLOYMENT, "Deployment/shop"), (SERVICE, "Service/shop")] {
        let lines = lint(&templated(head, &annotations));
        assert_eq!(lines.len(), 10, "{lines:#?}");
        for (key, value) in annotations {
            let line = lines
                .iter()
                .find(|line| line.starts_with(&format!("{name}: {key}: ")))
                .unwrap_or_else(|| panic!("{key}: {lines:#?}"));
            assert!(line.contains(value), "{line}");
        }
    }
}

/// What the agent cannot count, `ebb lint` reports.
#[test]
fn ports_and_paths_have_the_limits_of_the_agent() {
    let ports: Vec<_> = (8000..8017).map(|port| port.to_string()).collect();
    let ports = ports.join(",");
    let path = format!("/{}", "x".repeat(40));
    let annotations = [("ebb.dev/ports", &*ports), ("ebb.dev/exclude-paths", &path)];
    assert_eq!(
        lint(&templated(DEPLOYMENT, &annotations)),
        [
            format!(
                "Deployment/shop: ebb.dev/exclude-paths: invalid path {path:?}: must start with /, have at most 40 \
                 bytes, and contain only visible ASCII characters other than ?"
            ),
            format!(
                "Deployment/shop: ebb.dev/ports: invalid value {ports:?}: 17 ports; at most 16 are allowed"
            ),
        ]
    );
}

#[test]
fn an_application_behind_a_sidecar_needs_a_port() {
    let template = |keys: &str, container: &str| {
        format!(
            "{DEPLOYMENT}\nmetadata: {{name: a}}\nspec:\n  template:\n    metadata:\n      annotations:\n        \
             autoscaling.knative.dev/class: ebb.dev\n{keys}    spec:\n      containers:\n      - name: \
             web\n{container}"
        )
    };
    let linkerd = "        linkerd.io/inject: enabled\n";
    let port = "        ports: [{containerPort: 8080}]\n";
    let udp = "        ports: [{containerPort: 53, protocol: UDP}]\n";
    let istio_label = "      labels:\n        sidecar.istio.io/inject: \"true\"\n";
    for (keys, container) in [
        ("", ""),
        (linkerd, port),
        ("        linkerd.io/inject: disabled\n", ""),
        (
            "        linkerd.io/inject: enabled\n        ebb.dev/hop: edge\n",
            "",
        ),
        (
            "        linkerd.io/inject: enabled\n        ebb.dev/ports: \"80\"\n",
            "",
        ),
        (
            "        dapr.io/enabled: \"true\"\n        dapr.io/app-port: \"80\"\n",
            "",
        ),
        (istio_label, port),
    ] {
        assert_eq!(
            lint(&template(keys, container)),
            [""; 0],
            "{keys}{container}"
        );
    }
    for (keys, container) in [(linkerd, ""), (linkerd, udp), (istio_label, "")] {
        let lines = lint(&template(keys, container));
        assert_eq!(lines.len(), 1, "{keys}{container}");
        assert!(
            lines[0].starts_with(
                "Deployment/a: containerPort: missing; the template asks for a sidecar ("
            ),
            "{lines:?}"
        );
    }
    let ports: Vec<_> = (8000..8017)
        .map(|port| format!("{{containerPort: {port}}}"))
        .collect();
    let many = format!("        ports: [{}]\n", ports.join(", "));
    let lines = lint(&template(linkerd, &many));
    assert!(
        lines[0].contains("17 TCP ports") && lines[0].contains("16 ports at most"),
        "{lines:?}"
    );
    // A workload that did not opt in is not checked.
    let other = template(linkerd, "").replace("ebb.dev\n", "other.example\n");
    assert_eq!(lint(&other), [""; 0]);
}

#[test]
fn a_key_in_the_wrong_place_says_where_it_belongs() {
    let deployment = format!(
        "{DEPLOYMENT}\nmetadata:\n  name: shop\n  annotations:\n    autoscaling.knative.dev/target: \"10\"\n\
         spec:\n  template:\n    metadata:\n      labels:\n        ebb.dev/mode: recommend\n"
    );
    let lines = lint(&deployment);
    assert_eq!(
        lines,
        [
            "Deployment/shop: autoscaling.knative.dev/target: value \"10\" has no effect here: autoscaling annotations \
             must be put under \"spec.template.metadata.annotations\" to work",
            "Deployment/shop: ebb.dev/mode: value \"recommend\" has no effect here: autoscaling annotations must be put \
             under \"spec.template.metadata.annotations\" to work",
        ]
    );
    // Objects that Knative creates for a revision have copies of the revision's annotations.
    let made = deployment.replace(
        "  name: shop\n",
        "  name: shop\n  ownerReferences: [{kind: Revision}]\n",
    );
    assert_eq!(lint(&made), [""; 0]);
}

#[test]
fn our_own_manifests_have_no_misplaced_keys() {
    // The first manifest has one of Ebb's labels in the selector of a NetworkPolicy. The second one has one of Ebb's
    // annotations on a Service.
    for manifest in [
        "kind: NetworkPolicy\nmetadata: {name: a}\nspec: {ingress: [{from: [{namespaceSelector: {matchLabels: \
         {ebb.dev/metrics: \"true\"}}}]}]}\n",
        "kind: Service\nmetadata: {name: a, annotations: {ebb.dev/pods-of: b}}\n",
        // Labels and annotations that Ebb itself writes.
        "kind: ConfigMap\nmetadata: {name: ebb-ports.shop, labels: {ebb.dev/allotments: \"true\"}}\n",
        "kind: EndpointSlice\nmetadata: {name: a-ebb, annotations: {ebb.dev/scaled-to-zero: \"true\", ebb.dev/workload: \
         apps/Deployment/a}}\n",
        include_str!("../../../deploy/ebb.yaml"),
    ] {
        assert_eq!(lint(manifest), [""; 0]);
    }
}

#[test]
fn the_hard_limit_is_a_revisions() {
    let service = |spec: &str| format!("{SERVICE}\nmetadata: {{name: shop}}\nspec: {spec}\n");
    let limit = |value: &str| {
        service(&format!(
            "{{template: {{spec: {{containerConcurrency: {value}}}}}}}"
        ))
    };
    for right in ["0", "10", "1000", "null"] {
        assert_eq!(lint(&limit(right)), [""; 0], "{right}");
    }
    for (wrong, part) in [
        ("1001", "expected 0 <= 1001 <= 1000"),
        ("-1", "expected 0 <= -1 <= 1000"),
        ("1.5", "expected 0 <= 1.5 <= 1000"),
        ("\"10\"", "invalid value \"10\": must be a whole number"),
    ] {
        let lines = lint(&limit(wrong));
        assert_eq!(lines.len(), 1, "{wrong}");
        assert!(
            lines[0].starts_with("Service/shop: containerConcurrency: ") && lines[0].contains(part),
            "{}",
            lines[0]
        );
    }
    let lines = lint(&service("{containerConcurrency: 10}"));
    assert!(
        lines[0].contains("must be put under \"spec.template.spec\""),
        "{lines:?}"
    );
    let deployment = format!(
        "{DEPLOYMENT}\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{containerConcurrency: 10}}}}}}\n"
    );
    assert!(
        lint(&deployment)[0].contains("use the annotation"),
        "{:?}",
        lint(&deployment)
    );
}

#[test]
fn annotations_are_held_against_the_config_map_beside_them() {
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-autoscaler\ndata:\n  _example: |\n    x: y\n  \
                  max-scale-limit: \"10\"\n  max-scale: \"5\"\n  allow-zero-initial-scale: \"true\"\n";
    let annotations = [
        ("autoscaling.knative.dev/max-scale", "11"),
        ("autoscaling.knative.dev/initial-scale", "0"),
    ];
    let file = format!("{}---\n{config}", templated(DEPLOYMENT, &annotations));
    assert_eq!(
        lint(&file),
        ["Deployment/shop: autoscaling.knative.dev/max-scale: expected 1 <= 11 <= 10"]
    );
}

#[test]
fn a_config_map_is_validated_key_by_key() {
    let file = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-autoscaler\nstable-window: 60s\ndata:\n  \
                stable-window: 1s\n  max-scale-up-rate: 1\n  max-scale: 5\n  panic-treshold-percentage: \"200\"\n";
    let lines = lint(file);
    let name = "ConfigMap/config-autoscaler: ";
    assert_eq!(
        lines,
        [
            "stable-window: value \"60s\" has no effect here: settings must be put under \"data\"",
            "max-scale-up-rate: invalid value \"1\": must be a number > 1.0 (and the value must be in quotes)",
            "panic-treshold-percentage: unknown key (value \"200\"); did you mean panic-threshold-percentage?",
            "stable-window: expected 6s <= 1s <= 1h0m0s",
            "max-scale: invalid value 5: must be a string, in quotes: \"5\"",
        ]
        .map(|line| format!("{name}{line}"))
    );
    // In a file for `--config` that contains bare keys, without a ConfigMap around them, values need no quotes.
    assert_eq!(lint("stable-window: 30s\nmax-scale: 3\n"), [""; 0]);
    assert_eq!(lint("stable-window: 3s\n").len(), 1);
    // A ConfigMap with another name is not checked.
    assert_eq!(
        lint("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {stable-window: 1s}\n"),
        [""; 0]
    );
}

#[test]
fn lists_pods_and_bare_templates_are_looked_into() {
    let bad = "annotations: {autoscaling.knative.dev/target: \"-11\"}";
    for (text, name) in [
        (
            format!("kind: Pod\napiVersion: v1\nmetadata: {{name: a, {bad}}}\n"),
            "Pod/a",
        ),
        (
            format!("metadata: {{{bad}}}\nspec: {{containers: []}}\n"),
            "PodTemplate/-",
        ),
        (
            format!(
                "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: a}}\ntemplate: {{metadata: {{{bad}}}}}\n"
            ),
            "PodTemplate/a",
        ),
        (
            format!(
                "apiVersion: serving.knative.dev/v1\nkind: Revision\nmetadata: {{name: a, {bad}}}\n"
            ),
            "Revision/a",
        ),
        (
            format!(
                "apiVersion: v1\nkind: List\nitems:\n- {DEPLOYMENT}\n",
                DEPLOYMENT = format_args!(
                    "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: a}}, spec: {{template: {{metadata: {{{bad}}}}}}}}}"
                )
            ),
            "StatefulSet/a",
        ),
        (
            format!(
                "{{\"kind\": \"Rollout\", \"metadata\": {{\"name\": \"a\"}}, \"spec\": {{\"template\": {{\"metadata\": {{{bad}}}}}}}}}"
            ),
            "Rollout/a",
        ),
    ] {
        assert_eq!(
            lint(&text),
            [format!(
                "{name}: autoscaling.knative.dev/target: target -11 should be at least 0.01"
            )],
            "{text}"
        );
    }
}

#[test]
fn what_is_no_object_is_told() {
    assert_eq!(lint("just text\n").len(), 1);
    assert_eq!(lint("a: {b: c}\n").len(), 1);
    let lines = lint("kind: Deployment\nmetadata:\n\tname: a\n");
    assert!(
        lines.len() == 1 && lines[0].starts_with("line 3 column "),
        "{lines:?}"
    );
}
