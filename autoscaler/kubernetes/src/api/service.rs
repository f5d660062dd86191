//! Sends one request to the API server: obtains the leader's permit for a write, sends the request, and waits for the
//! head of the answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{Method, Request, Response};
use tokio::time;
use tower::{BoxError, Service};

use super::{
    ANSWER_WITHIN, PIECE_WITHIN, WHOLE_WITHIN,
    body::{CheckedBody, NoAnswer, ResponseBody},
    pools::{PendingRequest, Pools},
};
use crate::leadership::Leadership;

/// Sends requests. Clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pools: Arc<Pools>,
    /// If `Some`, writes are sent only while this replica leads. If `None`, writes are always sent.
    leadership: Option<Arc<Leadership>>,
}

impl Requests {
    pub(super) fn new(pools: Arc<Pools>, leadership: Option<Arc<Leadership>>) -> Self {
        Self { pools, leadership }
    }
}

type ResponseFuture =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, BoxError>> + Send>>;

impl Service<Request<kube::client::Body>> for Requests {
    type Response = Response<ResponseBody>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> ResponseFuture {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
    }
}

impl Requests {
    async fn send(
        self,
        request: Request<kube::client::Body>,
    ) -> Result<Response<ResponseBody>, BoxError> {
        let is_watch = is_watch(&request);
        let permit = match &self.leadership {
            Some(leadership) if request.method() != Method::GET => {
                Some(Arc::new(leadership.permit()?))
            }
            _ => None,
        };
        // A write, including the body of its answer, must be over within the time of its permit.
        let left = permit.as_ref().map(|permit| permit.left());
        let within = left.unwrap_or(ANSWER_WITHIN);
        let (number, send) = self.pools.current();
        let mut waiting = PendingRequest::new(self.pools, number);
        let request = request.map(|body| CheckedBody::new(body, permit.clone()));
        let Ok(answer) = time::timeout(within, send(request)).await else {
            return Err(NoAnswer(within).into());
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // The connection failed with an error, so hyper removes it from the pool. The rest of the pool stays in
                // use.
                waiting.over();
                return Err(error.into());
            }
        };
        let limits = match (is_watch, left) {
            (true, _) => None,
            (false, Some(left)) => Some((left, left)),
            (false, None) => Some((PIECE_WITHIN, WHOLE_WITHIN)),
        };
        Ok(answer.map(|body| ResponseBody::new(body, waiting, limits, permit)))
    }
}

fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .any(|part| matches!(part, "watch=true" | "watch=1"))
}
