//! Handles one report: authenticates the sender, parses the body, and passes the report to the engine.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ebb_contract::{ActivatorReport, Receipt, Report, activator_report};
use ebb_engine::Scope;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Bytes, Incoming},
    header::{self, HeaderValue},
};
use tokio::time::{self, Instant};
use tracing::warn;

use super::{
    connection_limiter::AdmittedConnection,
    identity::{Identities, Identity, Refusal},
};
use crate::{metrics::Metrics, shared::Shared};

/// Time limit for the body of a report. It is enough for 1 MiB over a slow connection.
const BODY: Duration = Duration::from_secs(10);
/// Minimum time between two log messages about the same kind of failure of the same peer.
const LOGGED_AGAIN: Duration = Duration::from_secs(60);
/// Maximum number of remembered pairs of peer and kind of failure, each with the time of its last log message. If all
/// places are taken, failures of other pairs are not logged.
const COMPLAINTS: usize = 1_000;

type Answer = Response<Full<Bytes>>;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) shared: Arc<Shared>,
    pub(crate) identities: Identities,
    pub(crate) metrics: Arc<Metrics>,
    complaints: Mutex<HashMap<String, Instant>>,
}

/// Why a report was not accepted.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(
        "no such path; reports go to POST {} and {}",
        ebb_contract::PATH,
        activator_report::PATH
    )]
    NotFound,
    #[error("only POST is allowed")]
    Method,
    #[error(transparent)]
    Identity(#[from] Refusal),
    #[error("body longer than {0} bytes")]
    TooLong(usize),
    #[error("body not complete within {BODY:?}")]
    TooSlow,
    #[error("body aborted: {0}")]
    Broken(String),
    #[error("not a report: {0}")]
    Unreadable(#[from] serde_json::Error),
    #[error(
        "agent of node {agent:?} reports for node {report:?}; an agent may report only its own node"
    )]
    OtherNode { agent: String, report: String },
    #[error("activator {activator:?} reports for {report:?}; an activator may report only itself")]
    OtherActivator { activator: String, report: String },
    #[error("only {0} may send reports to this path")]
    OtherSender(&'static str),
}

impl Failure {
    /// Returns (status of the answer, outcome in the metric).
    fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "not_found"),
            Self::Identity(Refusal::NoToken | Refusal::BadToken(_)) => {
                (StatusCode::UNAUTHORIZED, "bad_token")
            }
            Self::Identity(Refusal::OtherAccount(_) | Refusal::NotBound) => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
            Self::Identity(Refusal::Unchecked(_)) => (StatusCode::SERVICE_UNAVAILABLE, "unchecked"),
            Self::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_long"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "broken"),
            Self::Broken(_) => (StatusCode::BAD_REQUEST, "broken"),
            Self::Unreadable(_) => (StatusCode::BAD_REQUEST, "unreadable"),
            Self::OtherNode { .. } | Self::OtherActivator { .. } | Self::OtherSender(_) => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
        }
    }
}

impl Handler {
    pub(crate) fn new(shared: Arc<Shared>, identities: Identities, metrics: Arc<Metrics>) -> Self {
        Self {
            shared,
            identities,
            metrics,
            complaints: Mutex::default(),
        }
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        admitted: &AdmittedConnection,
    ) -> Answer {
        match self.take(request, admitted).await {
            Ok(receipt) => {
                let mut answer = Response::new(Full::new(receipt));
                let json = HeaderValue::from_static("application/json");
                answer.headers_mut().insert(header::CONTENT_TYPE, json);
                answer
            }
            Err(failure) => self.refuse(&failure, peer),
        }
    }

    async fn take(
        &self,
        request: Request<Incoming>,
        admitted: &AdmittedConnection,
    ) -> Result<Bytes, Failure> {
        let longest = match request.uri().path() {
            ebb_contract::PATH => ebb_contract::MAX_BODY,
            activator_report::PATH => activator_report::MAX_BODY,
            _ => return Err(Failure::NotFound),
        };
        if request.method() != Method::POST {
            return Err(Failure::Method);
        }
        let authorization = request.headers().get(header::AUTHORIZATION);
        let token = authorization
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let identity = self.identities.of(token.unwrap_or_default().trim()).await?;
        admitted.authenticated();
        let of_activator = request.uri().path() == activator_report::PATH;
        let body = body(request.into_body(), longest).await?;
        let arrived = Instant::now();
        let receipt = match of_activator {
            true => self.activator_report(&identity, &body)?,
            false => self.report(&identity, &body)?,
        };
        // An activator's report contains proxied Service ports, not pods.
        let pods = if of_activator {
            Receipt::default()
        } else {
            receipt
        };
        self.metrics.reported(pods, arrived.elapsed());
        Ok(serde_json::to_vec(&receipt)?.into())
    }

    /// Handles a report about pods, from an agent or another source.
    fn report(&self, identity: &Identity, body: &[u8]) -> Result<Receipt, Failure> {
        let report: Report<'_> = serde_json::from_slice(body)?;
        let (scope, sender) = match identity {
            Identity::Agent(node) if **node == *report.node => (Scope::Node(node), &**node),
            Identity::Agent(node) => {
                return Err(Failure::OtherNode {
                    agent: node.to_string(),
                    report: report.node.into_owned(),
                });
            }
            Identity::Source(account) => (Scope::Cluster, &**account),
            Identity::Activator(_) => return Err(Failure::OtherSender("agents and other sources")),
        };
        let shared = &self.shared;
        Ok(shared.with(|engine, now| engine.report(now, scope, sender, &report)))
    }

    /// Handles an activator's report about queued requests.
    fn activator_report(&self, identity: &Identity, body: &[u8]) -> Result<Receipt, Failure> {
        let Identity::Activator(name) = identity else {
            return Err(Failure::OtherSender("activators"));
        };
        let report: ActivatorReport = serde_json::from_slice(body)?;
        if **name != *report.activator {
            return Err(Failure::OtherActivator {
                activator: name.to_string(),
                report: report.activator,
            });
        }
        Ok(self
            .shared
            .with(|engine, now| engine.activator_report(now, &report)))
    }

    fn refuse(&self, failure: &Failure, peer: SocketAddr) -> Answer {
        let (status, kind) = failure.kind();
        self.metrics.refused(kind);
        if self.is_new(format!("{} {kind}", peer.ip())) {
            warn!(%peer, status = status.as_u16(), "report refused: {failure}");
        }
        let mut answer = Response::new(Full::new(format!("{failure}\n").into()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        // The connection is closed, because the rest of the body is not read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    /// Returns whether a failure has not been logged recently, and records that it is logged now.
    fn is_new(&self, complaint: String) -> bool {
        let mut complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complaints.len() >= COMPLAINTS {
            complaints.retain(|_, at| at.elapsed() < LOGGED_AGAIN);
        }
        let lately = complaints
            .get(&complaint)
            .is_some_and(|at| at.elapsed() < LOGGED_AGAIN);
        let room = complaints.len() < COMPLAINTS || complaints.contains_key(&complaint);
        if !lately && room {
            complaints.insert(complaint, Instant::now());
        }
        !lately && room
    }
}

async fn body(body: Incoming, longest: usize) -> Result<Bytes, Failure> {
    // The length is checked before any part of the body is read.
    if body.size_hint().lower() > longest as u64 {
        return Err(Failure::TooLong(longest));
    }
    let whole = Limited::new(body, longest).collect();
    match time::timeout(BODY, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::TooLong(longest)),
        Ok(Err(error)) => Err(Failure::Broken(error.to_string())),
        Err(_) => Err(Failure::TooSlow),
    }
}
