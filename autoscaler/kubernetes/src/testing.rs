//! An API server for unit tests: a function from requests to answers.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ebb_engine::{Effect, Engine, Queueing, TargetFacts, TargetKey};
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame},
};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

use super::shared::Shared;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The answer of the API server to a request.
pub(super) enum Answer {
    /// Answers with this status and body.
    Json(u16, Value),
    /// Answers with these lines, then keeps the answer open without sending anything.
    Lines(Vec<Value>),
    /// Answers with these lines and ends the answer.
    Ends(Vec<Value>),
    /// Answers with an empty body that ends after this time.
    EndsAfter(Duration),
    /// Waits for this time, then gives the answer in the box.
    Late(Duration, Box<Self>),
    /// Never answers.
    Never,
}

/// Returns a client whose API server is the function `answer`. The function's arguments are the method, the path with
/// the query, and the body.
pub(super) fn client(
    answer: impl Fn(&str, &str, &Value) -> Answer + Send + Sync + 'static,
) -> Client {
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
            let forever = Duration::from_secs(u32::MAX.into());
            let mut answer = answer(parts.method.as_str(), path, &body);
            while let Answer::Late(by, then) = answer {
                time::sleep(by).await;
                answer = *then;
            }
            let (status, lines, goes_on) = match answer {
                Answer::Json(status, value) => (status, vec![value], Duration::ZERO),
                Answer::Lines(lines) => (200, lines, forever),
                Answer::Ends(lines) => (200, lines, Duration::ZERO),
                Answer::EndsAfter(time) => (200, Vec::new(), time),
                Answer::Never | Answer::Late(..) => std::future::pending().await,
            };
            let lines = stream::iter(lines.into_iter().map(|line| format!("{line}\n").into()));
            let frames = lines.map(|line: Bytes| Ok::<_, Infallible>(Frame::data(line)));
            let end = stream::once(async move {
                time::sleep(goes_on).await;
                Ok(Frame::data(Bytes::new()))
            });
            let body: Body = StreamBody::new(frames.chain(end)).boxed_unsync();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, "default")
}

/// Returns a refusal in the format of the API server.
pub(super) fn refusal(code: u16, reason: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "reason": reason, "message": reason, "code": code,
    });
    Answer::Json(code, status)
}

/// Returns an engine, and the receiver of the actions that the engine returns.
pub(super) fn shared() -> (Arc<Shared>, mpsc::UnboundedReceiver<Effect>) {
    let (outbox, effects) = mpsc::unbounded_channel();
    let shared = Shared::new(Engine::new(Queueing::Nowhere), outbox);
    (Arc::new(shared), effects)
}

/// Returns the facts of a workload that has opted in, with one replica.
pub(super) fn opted_in(key: TargetKey, version: &str) -> TargetFacts {
    TargetFacts {
        key,
        uid: "u".into(),
        resource_version: version.into(),
        replicas: 1,
        annotations: [(
            "autoscaling.knative.dev/class".to_owned(),
            "ebb.dev".to_owned(),
        )]
        .into(),
        labels: [].into(),
        oversized: 0,
        owned: false,
        created: 0,
    }
}
