//! The HTTP server of the API double.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::audit::Audit;
use super::pages::{self, Pages};
use super::refusal::Refusal;
use super::selector::Selector;
use super::store::Store;
use super::tokens::Tokens;
use super::verbs::{Call, carry_out};
use super::watching;

/// Maximum size of a request body, bytes (`MaxRequestBodyBytes`):
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/staging/src/k8s.io/apiserver/pkg/server/config.go>
const BODY: usize = 3 << 20;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The server's state, from which it answers requests.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: Arc<Store>,
    pub(super) tokens: Tokens,
    pub(super) pages: Pages,
    pub(super) audit: Audit,
    pub(super) refused: Refused,
    pub(super) admin: String,
    /// Whether the server is up and answers requests. When the value becomes false, connections are aborted.
    pub(super) up: watch::Receiver<bool>,
}

impl Server {
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (method, uri) = (request.method().as_str().to_owned(), request.uri().clone());
        let header = request.headers().get(AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.unwrap_or_default().to_owned();
        let user = match token == self.admin {
            true => Some("admin".to_owned()),
            false => self.tokens.opens_api(&token),
        };
        let answer = match (&user, uri.path()) {
            (_, "/readyz") => Ok(json_answer(200, &json!("ok"))),
            (None, _) => Err(Refusal::Unauthorized),
            (Some(_), path) => match self.refused.status(path).filter(|_| token != self.admin) {
                Some(403) => Err(Refusal::Forbidden(format!("{path} is forbidden"), "")),
                Some(status) => Err(Refusal::Broken(status)),
                None => self.try_to_answer(request).await,
            },
        };
        let answer = answer.unwrap_or_else(|refusal| match refusal {
            Refusal::NoSuchPath => no_such_path(),
            refusal => json_answer(refusal.code(), &refusal.status()),
        });
        if let Some(user) = user.filter(|user| user != "admin") {
            let (uri, code) = (uri.to_string(), answer.status().as_u16());
            self.audit.keep((&user, &token), &method, &uri, code);
        }
        answer
    }

    async fn try_to_answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let header = |name| {
            let value = request.headers().get(name);
            let value = value.and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (accept, content_type) = (header(ACCEPT), header(CONTENT_TYPE));
        let (method, uri) = (request.method().as_str().to_owned(), request.uri().clone());
        let query = Query::new(uri.query().unwrap_or_default());
        let bytes = request
            .into_body()
            .collect()
            .await
            .map_err(|error| Refusal::BadRequest(error.to_string()))?
            .to_bytes();
        if bytes.len() > BODY {
            return Err(Refusal::TooLarge(format!(
                "Request entity is too large: limit is {BODY}"
            )));
        }
        let body: Value = match bytes.is_empty() {
            true => Value::Null,
            // The content type of apply patches is YAML, but clients send JSON, which is valid YAML.
            false => serde_json::from_slice(&bytes)
                .map_err(|error| Refusal::BadRequest(error.to_string()))?,
        };
        let path: Vec<&str> = uri
            .path()
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        let (group, version, rest) = match &path[..] {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            ["apis"] => {
                let groups = self.store.with(|inner| inner.kinds.groups());
                return Ok(json_answer(200, &groups));
            }
            ["version"] => {
                return Ok(json_answer(
                    200,
                    &json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0-double"}),
                ));
            }
            _ => return Err(Refusal::NoSuchPath),
        };
        if rest.is_empty() {
            let resources = self
                .store
                .with(|inner| inner.kinds.resources(group, version));
            return resources
                .map(|list| json_answer(200, &list))
                .ok_or(Refusal::NoSuchPath);
        }
        if group == "authentication.k8s.io" && rest == ["tokenreviews"] {
            let mut review = body.clone();
            review["status"] = self.tokens.review(&body["spec"]);
            return Ok(json_answer(201, &review));
        }
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest[0] != "status" => {
                (*namespace, rest)
            }
            rest => ("", rest),
        };
        let found = self.store.with(|inner| {
            let kind = inner.kinds.find(group, version, rest[0]).cloned();
            // In a built-in API group, only the resource is unknown, and the response is a `Status`. In any other
            // group, the path is unknown, and the response is plain text.
            kind.ok_or(match inner.kinds.is_builtin(group, version) {
                true => Refusal::NoSuchResource,
                false => Refusal::NoSuchPath,
            })
        });
        let kind = found?;
        let call = Call {
            method: &method,
            namespace: namespace.to_owned(),
            name: rest.get(1).unwrap_or(&"").to_string(),
            subresource: rest.get(2).unwrap_or(&"").to_string(),
            content_type: &content_type,
            body,
            manager: query.get("fieldManager").unwrap_or_default().to_owned(),
            kind,
        };
        let metadata_only = accept.contains("as=PartialObjectMetadata");
        if method == "GET" && call.name.is_empty() {
            return self.many(&call, &query, metadata_only);
        }
        let (status, object) = carry_out(&self.store, &self.tokens, call)?;
        let object = match metadata_only {
            true => metadata_of(&object),
            false => object,
        };
        Ok(json_answer(status, &object))
    }

    /// Answers a list request or a watch request.
    fn many(
        &self,
        call: &Call<'_>,
        query: &Query,
        metadata_only: bool,
    ) -> Result<Response<Body>, Refusal> {
        let selector = Selector::new(
            &call.kind.resource(),
            &call.namespace,
            query.get("fieldSelector"),
            query.get("labelSelector"),
        )?;
        let version = query.get("resourceVersion").filter(|it| !it.is_empty());
        if matches!(query.get("watch"), Some("true" | "1")) {
            let from = version.map(|version| {
                version.parse::<u64>().map_err(|_| {
                    Refusal::BadRequest(format!("Invalid value: {version:?}: resource version"))
                })
            });
            let timeout = query
                .number("timeoutSeconds")
                .filter(|seconds| *seconds > 0);
            let parameters = watching::WatchParameters {
                from: from.transpose()?,
                bookmarks: query.get("allowWatchBookmarks") == Some("true"),
                timeout: timeout.map(Duration::from_secs),
                metadata_only,
            };
            let up = self.up.clone();
            return Ok(watching::answer(
                &self.store,
                up,
                &call.kind,
                &selector,
                &parameters,
            ));
        }
        let limit = query.number("limit").unwrap_or(0);
        let parameters = pages::PageParameters {
            // A list at resource version 0 ignores the limit: the real API server returns it as a whole from memory.
            limit: if version == Some("0") {
                0
            } else {
                usize::try_from(limit).unwrap_or(0)
            },
            token: query.get("continue").unwrap_or_default().to_owned(),
        };
        let mut list = self
            .pages
            .list(&self.store, &call.kind, &selector, &parameters)?;
        if metadata_only {
            list["apiVersion"] = "meta.k8s.io/v1".into();
            list["kind"] = "PartialObjectMetadataList".into();
            for item in list["items"].as_array_mut().into_iter().flatten() {
                *item = metadata_of(item);
            }
        }
        Ok(json_answer(200, &list))
    }
}

/// Refusals that a test has set: fragments of the request path, each with the status of the response.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<String, u16>>);

impl Refused {
    pub(super) fn set(&self, fragment: &str, status: u16) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if status == 0 {
            refused.remove(fragment);
        } else {
            refused.insert(fragment.to_owned(), status);
        }
    }

    fn status(&self, path: &str) -> Option<u16> {
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = refused.iter();
        let found = refused.find(|(fragment, _)| path.contains(&***fragment));
        found.map(|(_, status)| *status)
    }
}

/// The query parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn new(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|value| value.parse().ok())
    }
}

/// Returns only an object's metadata, as a `PartialObjectMetadata`.
pub(super) fn metadata_of(object: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
    })
}

/// Returns the response of Go's `http.NotFound`: status 404 and plain text.
fn no_such_path() -> Response<Body> {
    let mut answer = Response::new(Full::from("404 page not found\n").boxed_unsync());
    *answer.status_mut() = StatusCode::NOT_FOUND;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, text);
    answer
}

fn json_answer(status: u16, body: &Value) -> Response<Body> {
    let mut answer = Response::new(Full::from(body.to_string()).boxed_unsync());
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
