//! The path of one request through the proxy: it is validated, sent to a backend, and answered.

use hyper::body::{Body, Incoming};
use hyper::header::UPGRADE;
use hyper::{Request, Response, StatusCode, Version};

use crate::backend::ClientProtocol;
use crate::body::{Answer, Exchange};
use crate::budget;
use crate::guard::Flaw;
use crate::headers::{prepare_request, prepare_response};
use crate::refusal::Refusal;
use crate::replayable_body::ReplayableBody;
use crate::send::{acquire, send};
use crate::session::Session;
use crate::tunnel::Tunnel;
use crate::unread::UnreadBytes;

/// Answers one request with a backend's response or with a refusal.
pub(crate) async fn forward(session: &Session, request: Request<Incoming>) -> Response<Answer> {
    let version = request.version();
    // An HTTP/1.1 request with `Upgrade` asks for an upgrade. Until `decide` is called, the guard (the parser of the
    // client's bytes) does not pass on any bytes after such a request.
    let undecided = version == Version::HTTP_11 && request.headers().contains_key(UPGRADE);
    let result = match session.refusal() {
        Some(Flaw::NoMemory) => Err(Refusal::BytesFull),
        Some(flaw) => Err(Refusal::Malformed(flaw)),
        None => pass_on(session, request).await,
    };
    let response = match result {
        Ok(response) => {
            session.pool.counters().answered();
            response
        }
        Err(refusal) => {
            tracing::debug!(%refusal, "refused");
            session.pool.counters().refused(refusal.reason());
            refusal.into_response(version)
        }
    };
    if undecided {
        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        session.guard.decide(upgraded);
    }
    response
}

async fn pass_on(
    session: &Session,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Refusal> {
    let client_protocol = if request.version() == Version::HTTP_2 {
        ClientProtocol::Http2
    } else {
        ClientProtocol::Http1
    };
    let has_body = !request.body().is_end_stream();
    let unread = session
        .unread
        .as_ref()
        .filter(|_| has_body)
        .map(UnreadBytes::begin);
    // The memory of the request is charged to the namespace's account until the response arrives.
    let memory = session.pool.limits().memory.take(budget::request(&request));
    let _memory = memory.ok_or(Refusal::BytesFull)?;
    let upgrades = prepare_request(&mut request, &session.client)?;
    let client_upgrade = upgrades.then(|| hyper::upgrade::on(&mut request));
    let client_protocol = if upgrades {
        ClientProtocol::Upgrade
    } else {
        client_protocol
    };
    let mut position = None;
    let permit = acquire(session, has_body, &mut position).await?;
    // `send` is boxed to keep the future of a queued request small: ten thousand requests may be queued.
    let request = request.map(|body| ReplayableBody::new(body, unread));
    let (mut response, exchange) =
        Box::pin(send(session, request, client_protocol, permit, position)).await?;

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return switch(session, response, client_upgrade, exchange);
    }
    prepare_response(&mut response);
    Ok(response.map(|body| Answer::from_backend(body, exchange)))
}

/// Turns the connection into a tunnel. After the response to the upgrade, the connection carries no HTTP.
fn switch(
    session: &Session,
    mut response: Response<Incoming>,
    client: Option<hyper::upgrade::OnUpgrade>,
    exchange: Exchange,
) -> Result<Response<Answer>, Refusal> {
    let (Some(client), Some(permit)) = (client, exchange.into_permit()) else {
        return Err(Refusal::BrokeOff); // the backend switches protocols without a request to do so
    };
    let backend = hyper::upgrade::on(&mut response);
    session.set_tunnel(Tunnel::new(client, backend, permit));
    prepare_response(&mut response);
    Ok(response.map(|_| Answer::Own(http_body_util::Full::default())))
}
