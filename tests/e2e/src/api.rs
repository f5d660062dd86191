//! A client of the API server for tests. Objects are JSON values, and each call blocks.

use std::time::Duration;

use ebb_fixtures::eventually;
use hyper::http;
use kube::{Client, Config, config::AuthInfo};
use serde_json::{Value, json};

use super::runtime;

/// A client with the URL of an API server and a bearer token.
#[derive(Clone)]
pub struct Api {
    client: Client,
    url: String,
    token: String,
}

/// An error response: HTTP status and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// HTTP status code; 0 if the server cannot be reached.
    pub code: u16,
    /// The server's message.
    pub message: String,
}

/// Kinds that are cluster-scoped.
const CLUSTER_WIDE: &[&str] = &[
    "Namespace",
    "Node",
    "PriorityClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// Returns the URL path of an object, or of the whole collection if `name` is empty.
#[must_use]
pub fn path(api_version: &str, kind: &str, namespace: &str, name: &str) -> String {
    let root = if api_version.contains('/') {
        "/apis"
    } else {
        "/api"
    };
    let lower = kind.to_lowercase();
    let plural = match lower.as_bytes() {
        [.., b'y'] => format!("{}ies", &lower[..lower.len() - 1]),
        [.., b's'] => format!("{lower}es"),
        _ => format!("{lower}s"),
    };
    let within = if CLUSTER_WIDE.contains(&kind) || namespace.is_empty() {
        String::new()
    } else {
        format!("/namespaces/{namespace}")
    };
    let name = if name.is_empty() {
        String::new()
    } else {
        format!("/{name}")
    };
    format!("{root}/{api_version}{within}/{plural}{name}")
}

/// Returns the URL path of an object that is given as JSON.
#[must_use]
pub fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    path(
        &text(&object["apiVersion"]),
        &text(&object["kind"]),
        namespace,
        &text(&metadata["name"]),
    )
}

impl Api {
    /// # Panics
    /// If `url` is not a URL.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        let mut config = Config::new(url.parse().expect("a URL"));
        // The API server's certificate is self-signed, so it cannot be verified.
        config.accept_invalid_certs = true;
        config.auth_info = AuthInfo {
            token: Some(token.to_owned().into()),
            ..AuthInfo::default()
        };
        let _within = runtime().enter();
        Self {
            client: Client::try_from(config).expect("a client"),
            url: url.to_owned(),
            token: token.to_owned(),
        }
    }

    /// Returns a client of the crate `kube` with the URL and token of this client, for watches.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The bearer token.
    #[must_use]
    pub fn token_text(&self) -> &str {
        &self.token
    }

    /// Returns the text of a kubeconfig file with the URL and token of this client.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "insecure-skip-tls-verify": true}}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        })
        .to_string()
    }

    /// Sends one request.
    ///
    /// # Errors
    /// If the server refuses the request, or cannot be reached (code 0).
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> Result<Value, Refused> {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content_type)
            .body(body)
            .expect("a request");
        runtime()
            .block_on(self.client.request(request))
            .map_err(|error| match error {
                kube::Error::Api(status) => Refused {
                    code: status.code,
                    message: status.message,
                },
                other => Refused {
                    code: 0,
                    message: other.to_string(),
                },
            })
    }

    /// # Errors
    /// If the object does not exist, or the server cannot be reached.
    pub fn get(&self, path: &str) -> Result<Value, Refused> {
        self.ask("GET", path, "application/json", &Value::Null)
    }

    /// Returns the items of a collection.
    ///
    /// # Panics
    /// If the server refuses the request.
    #[track_caller]
    #[must_use]
    pub fn list(&self, path: &str) -> Vec<Value> {
        let list = self
            .get(path)
            .unwrap_or_else(|refused| panic!("list {path}: {refused:?}"));
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Creates an object, or changes the fields of an existing object, by server-side apply.
    ///
    /// # Panics
    /// If the server refuses the request.
    #[track_caller]
    pub fn apply(&self, object: &Value) -> Value {
        let path = path_of(object);
        let patch = format!("{path}?fieldManager=ebb-e2e&force=true");
        self.ask("PATCH", &patch, "application/apply-patch+yaml", object)
            .unwrap_or_else(|refused| panic!("apply {path}: {refused:?}"))
    }

    /// Has the server validate an object, with a dry run and strict field validation. The object is not stored.
    ///
    /// # Panics
    /// If the server refuses the object, or does not know a field.
    #[track_caller]
    pub fn dry_run(&self, object: &Value) {
        let path = path_of(object);
        let patch =
            format!("{path}?fieldManager=ebb-e2e&force=true&dryRun=All&fieldValidation=Strict");
        self.ask("PATCH", &patch, "application/apply-patch+yaml", object)
            .unwrap_or_else(|refused| {
                panic!("the API server refuses {path} in a dry run: {refused:?}")
            });
    }

    /// # Errors
    /// If the server refuses the request.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, Refused> {
        self.ask("POST", path, "application/json", object)
    }

    /// Applies a merge patch.
    ///
    /// # Errors
    /// If the server refuses the request.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Value, Refused> {
        self.ask("PATCH", path, "application/merge-patch+json", patch)
    }

    /// # Errors
    /// If the server refuses the request.
    pub fn delete(&self, path: &str) -> Result<Value, Refused> {
        self.ask("DELETE", path, "application/json", &Value::Null)
    }

    /// Waits until `wanted` returns a value for an object.
    ///
    /// # Panics
    /// If `wanted` returns no value `within` this time.
    #[track_caller]
    pub fn await_object<T>(
        &self,
        what: &str,
        within: Duration,
        path: &str,
        mut wanted: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        eventually(what, within, || {
            self.get(path).ok().and_then(|object| wanted(&object))
        })
    }

    /// Requests a token of a service account, valid for an hour.
    ///
    /// # Panics
    /// If the server refuses the request.
    #[track_caller]
    #[must_use]
    pub fn token(
        &self,
        namespace: &str,
        account: &str,
        audience: Option<&str>,
        pod: Option<&Value>,
    ) -> String {
        self.token_for(3600, namespace, account, audience, pod)
    }

    /// Requests a token of a service account, valid for this number of seconds.
    ///
    /// # Panics
    /// If the server refuses the request.
    #[track_caller]
    pub fn token_for(
        &self,
        seconds: u64,
        namespace: &str,
        account: &str,
        audience: Option<&str>,
        pod: Option<&Value>,
    ) -> String {
        let mut spec = json!({"expirationSeconds": seconds});
        if let Some(audience) = audience {
            spec["audiences"] = json!([audience]);
        }
        if let Some(pod) = pod {
            spec["boundObjectRef"] = json!({
                "apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
            });
        }
        let path = format!("{}/token", path("v1", "ServiceAccount", namespace, account));
        let request =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let answer = self
            .create(&path, &request)
            .unwrap_or_else(|refused| panic!("{path}: {refused:?}"));
        answer["status"]["token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }
}
