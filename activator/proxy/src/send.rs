//! Sends a request to a backend, and sends it again where a repetition does no harm.
//!
//! A request is sent again only in these cases:
//! - It was certainly not sent: the backend accepted no connection, or hyper returns the request.
//! - The backend has certainly not seen it: see [`Connection::saw_nothing`].
//! - RFC 9110 section 9.2.2 allows it, and Go's client does it too: the request has a safe method and no body, and its
//!   idle connection ended without a response.
//!
//! A request is sent at most [`MOST_TRIES`] times.

use std::pin::pin;

use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use hyper::{Request, Response};

use crate::backend::{ClientProtocol, ConnectError, Connection};
use crate::body::Exchange;
use crate::budget::Account;
use crate::headers::{for_http1, for_http2};
use crate::pool::{Permit, QueuePosition};
use crate::refusal::Refusal;
use crate::replayable_body::{ReplayableBody, ReturnedBody};
use crate::session::Session;

/// Maximum number of times that a request is sent. A backend that refuses this many streams has no room.
const MOST_TRIES: u32 = 4;

/// Sends a request to the backend of `permit` and waits for the response. If that fails, tries other backends.
pub(crate) async fn send(
    session: &Session,
    mut request: Request<ReplayableBody>,
    client_protocol: ClientProtocol,
    permit: Permit,
    mut position: Option<QueuePosition>,
) -> Result<(Response<Incoming>, Exchange), Refusal> {
    let mut only_new = false;
    let mut tries = 1;
    let mut first = Some(permit);
    loop {
        let mut permit = match first.take() {
            Some(permit) => permit,
            None => acquire(session, !request.body().is_end_stream(), &mut position).await?,
        };
        let (mut connection, is_new) = match connect(&permit, client_protocol, only_new).await {
            Ok(connection) => connection,
            Err(error) => {
                tracing::debug!(backend = permit.backend().id(), %error, "takes no connection");
                permit.set_aside();
                continue;
            }
        };
        match connection {
            Connection::Http1(_) => for_http1(&mut request),
            Connection::Http2(_) => for_http2(&mut request),
        }
        // A request on a new connection is not sent again, because a new connection cannot be closing already. The
        // exception is HTTP/2, where a server can refuse a stream at any time.
        let may_go_again =
            tries < MOST_TRIES && (!is_new || matches!(connection, Connection::Http2(_)));
        let memory = &session.pool.limits().memory;
        let spare_copy = may_go_again.then(|| RequestCopy::of(&mut request, memory));
        let mark = connection.mark();
        if !is_new {
            permit.opened();
        }
        let result = try_send(&mut connection, request, &mut permit).await;
        let mut error = match result {
            Ok(response) => {
                permit.opened();
                return Ok((response, Exchange::new(connection, permit)));
            }
            Err(error) => error,
        };
        tracing::debug!(
            backend = permit.backend().id(),
            is_new,
            error = %error.error(),
            "no answer"
        );
        if let Some(unsent) = error.take_message() {
            if is_new {
                permit.set_aside();
            }
            request = unsent;
            continue;
        }
        let error = error.error();
        if error.is_user() {
            return Err(Refusal::BodyBrokeOff);
        }
        let unseen = connection.saw_nothing(mark, error);
        let copy = spare_copy.filter(|copy| unseen || (copy.is_harmless() && broke_off(error)));
        let Some(copy) = copy else {
            return Err(Refusal::BrokeOff);
        };
        // The failed connection still holds the request's body. The drop of the connection returns the body.
        drop(connection);
        request = copy.whole().await.ok_or(Refusal::BrokeOff)?;
        session.pool.counters().resent();
        only_new = true;
        tries += 1;
    }
}

/// Sends a request. When the backend accepts the connection, records this in the request's permit (its right to use the
/// backend).
async fn try_send(
    connection: &mut Connection,
    request: Request<ReplayableBody>,
    permit: &mut Permit,
) -> Result<Response<Incoming>, TrySendError<Request<ReplayableBody>>> {
    if !permit.is_opening() {
        return connection.try_send(request).await;
    }
    let taken = connection.taken();
    let mut sending = pin!(connection.try_send(request));
    tokio::select! {
        biased;
        result = &mut sending => result,
        () = taken => {
            permit.opened();
            sending.await
        }
    }
}

async fn connect(
    permit: &Permit,
    client_protocol: ClientProtocol,
    only_new: bool,
) -> Result<(Connection, bool), ConnectError> {
    let backend = permit.backend();
    let http2 = backend.wants_http2(client_protocol).await?;
    backend.connection(http2, only_new).await
}

/// Returns a permit: at once if a backend has room, otherwise after a wait. The wait ends early if the client
/// disconnects.
///
/// If the request has no `unread` body, hyper detects the disconnection, and drops this future.
pub(crate) async fn acquire(
    session: &Session,
    unread: bool,
    position: &mut Option<QueuePosition>,
) -> Result<Permit, Refusal> {
    if let Some(permit) = session.pool.take() {
        return Ok(permit);
    }
    tokio::select! {
        biased;
        permit = session.pool.wait(position) => permit,
        () = session.stopping() => Err(Refusal::Stopping),
        () = session.socket.gone(), if unread => Err(Refusal::BodyBrokeOff),
    }
}

/// A copy of a client's request, kept because the proxy may have to send the request again.
struct RequestCopy {
    head: Request<()>,
    /// Receives the body back after a failed attempt to send the request. `None` if the request has no body.
    body: Option<ReturnedBody>,
}

impl RequestCopy {
    fn of(request: &mut Request<ReplayableBody>, memory: &Account) -> Self {
        let mut head = Request::new(());
        *head.method_mut() = request.method().clone();
        *head.uri_mut() = request.uri().clone();
        *head.version_mut() = request.version();
        *head.headers_mut() = request.headers().clone();
        let has_body = !request.body().is_end_stream();
        RequestCopy {
            head,
            body: has_body.then(|| request.body_mut().keep(memory)),
        }
    }

    /// Returns whether the request can be sent again without harm.
    fn is_harmless(&self) -> bool {
        self.head.method().is_safe() && self.body.is_none()
    }

    /// Returns the original request, to send it again. `None` if more bytes of its body were sent than the proxy keeps.
    async fn whole(self) -> Option<Request<ReplayableBody>> {
        let body = match self.body {
            Some(returned) => returned.body().await?,
            None => ReplayableBody::none(),
        };
        Some(self.head.map(|()| body))
    }
}

/// Returns true if the connection ended before a response, and false if the response was invalid.
fn broke_off(error: &hyper::Error) -> bool {
    !error.is_parse() && !error.is_user()
}
