//! One request's way: a backend, a connection, the answer.
//!
//! Sent again is only what is provably unsent (the backend took no connection, or hyper hands the
//! request back), with one exception that RFC 9110 section 9.2.2 and Go's client make too: a
//! request with a safe method and no body whose kept connection ends without an answer, because
//! its server was closing it just then. It goes again once, on a connection of its own.

use hyper::body::{Body, Incoming};
use hyper::{Request, Response, StatusCode};

use crate::backend::Connection;
use crate::body::{Answer, Exchange, Outgoing};
use crate::headers::{prepare_request, prepare_response};
use crate::pool::{Permit, Place};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::tunnel::Tunnel;

/// Answers one request, by a backend or, with the reason, by itself.
pub(crate) async fn forward(session: &Session, request: Request<Incoming>) -> Response<Answer> {
    match pass_on(session, request).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::debug!(%refusal, "refused");
            refusal.into_response()
        }
    }
}

async fn pass_on(
    session: &Session,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Refusal> {
    let upgrades = prepare_request(&mut request, &session.client)?;
    let client_upgrade = upgrades.then(|| hyper::upgrade::on(&mut request));
    let (mut response, exchange) = send(session, request.map(Some).map(Outgoing)).await?;

    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(client), Some(permit)) = (client_upgrade, exchange.into_permit()) else {
            return Err(Refusal::BrokeOff); // it switches to what nobody asked for
        };
        let backend = hyper::upgrade::on(&mut response);
        session.set_tunnel(Tunnel::new(client, backend, permit));
        prepare_response(&mut response);
        return Ok(response.map(|_| Answer::Own(http_body_util::Full::default())));
    }
    prepare_response(&mut response);
    Ok(response.map(|body| Answer::from_backend(body, exchange)))
}

/// Sends a request to one backend after the other until one has it, and waits for the response.
async fn send(
    session: &Session,
    mut request: Request<Outgoing>,
) -> Result<(Response<Incoming>, Exchange), Refusal> {
    let mut place = None;
    let mut only_new = false;
    loop {
        let permit = acquire(session, &request, &mut place).await?;
        let spare = if only_new {
            None
        } else {
            permit.backend().spare_connection()
        };
        let is_new = spare.is_none();
        let Some(mut connection) = connect(spare, &permit).await else {
            permit.set_aside();
            continue;
        };
        let copy = if is_new { None } else { copy_of_safe(&request) };
        match connection.sender.try_send_request(request).await {
            Ok(response) => return Ok((response, Exchange::new(connection, permit))),
            Err(mut error) => {
                tracing::debug!(
                    backend = permit.backend().id(),
                    is_new,
                    error = %error.error(),
                    "no answer"
                );
                request = match (error.take_message(), copy) {
                    (Some(unsent), _) => {
                        if is_new {
                            permit.set_aside();
                        }
                        unsent
                    }
                    (None, Some(copy)) if broke_off(error.error()) => {
                        only_new = true;
                        copy
                    }
                    (None, _) if error.error().is_user() => return Err(Refusal::BodyBrokeOff),
                    (None, _) => return Err(Refusal::BrokeOff),
                };
            }
        }
    }
}

/// A permit: at once where there is a backend, else after a wait that ends when the client goes.
async fn acquire(
    session: &Session,
    request: &Request<Outgoing>,
    place: &mut Option<Place>,
) -> Result<Permit, Refusal> {
    if let Some(permit) = session.pool.take() {
        return Ok(permit);
    }
    // hyper itself sees a client go unless there is a body, which nobody reads yet.
    let unread = !request.body().is_end_stream();
    tokio::select! {
        biased;
        permit = session.pool.wait(place) => permit,
        () = session.stopping() => Err(Refusal::Stopping),
        () = session.socket.gone(), if unread => Err(Refusal::BodyBrokeOff),
    }
}

async fn connect(spare: Option<Connection>, permit: &Permit) -> Option<Connection> {
    if spare.is_some() {
        return spare;
    }
    match permit.backend().connect().await {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!(backend = permit.backend().id(), %error, "takes no connection");
            None
        }
    }
}

/// The same request again, if sending it twice can do no harm.
fn copy_of_safe(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !request.method().is_safe() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Outgoing(None));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The connection ended before there was an answer, as opposed to an answer that made no sense.
fn broke_off(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}
