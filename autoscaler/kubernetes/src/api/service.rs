//! One request to the API server, from the leader's permit to the head of the answer.

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
    body::{Answer, NoAnswer, Outgoing},
    pools::{Pools, Waiting},
};
use crate::leadership::Leadership;

/// Sends requests. Clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pools: Arc<Pools>,
    /// If present, writes are sent only while this replica leads. If `None`, writes are always sent.
    leadership: Option<Arc<Leadership>>,
}

impl Requests {
    pub(super) fn new(pools: Arc<Pools>, leadership: Option<Arc<Leadership>>) -> Self {
        Self { pools, leadership }
    }
}

type Answered = Pin<Box<dyn Future<Output = Result<Response<Answer>, BoxError>> + Send>>;

impl Service<Request<kube::client::Body>> for Requests {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Answered {
        let this = self.clone();
        Box::pin(async move { this.send(request).await })
    }
}

impl Requests {
    async fn send(
        self,
        request: Request<kube::client::Body>,
    ) -> Result<Response<Answer>, BoxError> {
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
        let mut waiting = Waiting::new(self.pools, number);
        let request = request.map(|body| Outgoing::new(body, permit.clone()));
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
        Ok(answer.map(|body| Answer::new(body, waiting, limits, permit)))
    }
}

fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .any(|part| matches!(part, "watch=true" | "watch=1"))
}
