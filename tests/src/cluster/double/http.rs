//! The API double over HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::refusal::Refusal;
use super::store::{Change, Store};
use super::tokens::Tokens;
use super::verbs::{Call, Selector, carry_out};

/// A watch ends after this time and is begun again by its client, as with a real one (there: 5 to 10 minutes).
const WATCH: Duration = Duration::from_secs(60);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: Arc<Store>,
    pub(super) tokens: Tokens,
    pub(super) admin: String,
    /// Requests are answered as long as it is true; then connections break off.
    pub(super) up: watch::Receiver<bool>,
}

impl Server {
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        match self.try_to_answer(request).await {
            Ok(answer) => answer,
            Err(refusal) => json_answer(refusal.code(), &refusal.status()),
        }
    }

    async fn try_to_answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let header = |name| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let (accept, content_type, authorization) =
            (header(ACCEPT), header(CONTENT_TYPE), header(AUTHORIZATION));
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let (method, uri) = (request.method().as_str().to_owned(), request.uri().clone());
        if uri.path() == "/readyz" {
            return Ok(json_answer(200, &json!("ok")));
        }
        if token != self.admin && !self.tokens.opens_api(token) {
            return Err(Refusal::Unauthorized);
        }
        let query: Vec<(String, String)> =
            form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let asked = |key: &str| {
            query
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        let bytes = request
            .into_body()
            .collect()
            .await
            .map_err(|error| Refusal::BadRequest(error.to_string()))?
            .to_bytes();
        let body: Value = match bytes.is_empty() {
            true => Value::Null,
            // Apply patches are YAML in name; what clients send is JSON.
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
            ["version"] => {
                return Ok(json_answer(
                    200,
                    &json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0-double"}),
                ));
            }
            _ => return Err(Refusal::NotFound(uri.path().to_owned())),
        };
        if rest.is_empty() {
            let resources = self
                .store
                .with(|inner| inner.kinds.resources(group, version));
            return resources
                .map(|list| json_answer(200, &list))
                .ok_or_else(|| Refusal::NotFound(group.to_owned()));
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
        let kind = self
            .store
            .with(|inner| inner.kinds.find(group, version, rest[0]).cloned());
        let call = Call {
            method: &method,
            kind: kind.ok_or_else(|| Refusal::NotFound(rest[0].to_owned()))?,
            namespace: namespace.to_owned(),
            name: rest.get(1).unwrap_or(&"").to_string(),
            subresource: rest.get(2).unwrap_or(&"").to_string(),
            content_type: &content_type,
            body,
            selector: Selector {
                namespace: namespace.to_owned(),
                fields: pairs(asked("fieldSelector")),
                labels: pairs(asked("labelSelector")),
            },
        };
        if method == "GET" && matches!(asked("watch"), Some("true" | "1")) {
            let from = asked("resourceVersion")
                .and_then(|version| version.parse().ok())
                .unwrap_or(0);
            return self.watch(&call, from);
        }
        let (status, mut object) = carry_out(&self.store, &self.tokens, call)?;
        if accept.contains("as=PartialObjectMetadata;") {
            object = json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
            });
        }
        Ok(json_answer(status, &object))
    }

    fn watch(&self, call: &Call<'_>, from: u64) -> Result<Response<Body>, Refusal> {
        let resource = call.kind.resource();
        // Too old is told at once; later it cannot be, because the history is longer than a watch is slow.
        self.store
            .with(|inner| inner.since(from, &resource).map(drop))?;
        let selector = call.selector.clone();
        let state = Watching {
            store: Arc::clone(&self.store),
            changes: self.store.changes(),
            up: self.up.clone(),
            resource,
            seen: from,
            until: tokio::time::Instant::now() + WATCH,
        };
        let stream = futures_util::stream::unfold(state, move |mut state| {
            let selector = selector.clone();
            async move {
                loop {
                    let changes = state.next().await?;
                    let mut lines = Vec::new();
                    for change in changes {
                        state.seen = change.version;
                        if selector.selects(&change.object) {
                            serde_json::to_writer(
                                &mut lines,
                                &json!({"type": change.kind, "object": change.object}),
                            )
                            .ok()?;
                            lines.push(b'\n');
                        }
                    }
                    if !lines.is_empty() {
                        return Some((Ok(Frame::data(Bytes::from(lines))), state));
                    }
                }
            }
        });
        let mut answer = Response::new(StreamBody::new(stream).boxed_unsync());
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
    }
}

struct Watching {
    store: Arc<Store>,
    changes: watch::Receiver<u64>,
    up: watch::Receiver<bool>,
    resource: String,
    seen: u64,
    until: tokio::time::Instant,
}

impl Watching {
    /// The next changes; `None`: the watch is over.
    async fn next(&mut self) -> Option<Vec<Change>> {
        loop {
            self.changes.borrow_and_update();
            let changes = self
                .store
                .with(|inner| inner.since(self.seen, &self.resource))
                .ok()?;
            if !changes.is_empty() {
                return Some(changes);
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                _ = self.up.wait_for(|up| !up) => return None,
                () = tokio::time::sleep_until(self.until) => return None,
            }
        }
    }
}

fn pairs(selector: Option<&str>) -> Vec<(String, String)> {
    let selector = selector
        .unwrap_or_default()
        .split(',')
        .filter(|pair| !pair.is_empty());
    selector
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_start_matches('=').to_owned()))
        .collect()
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
