//! Recorded conversations of a client and a server of the `h2` crate, and the expected counts.
//!
//! Client and server run in memory on one thread, so that the same plan gives the same bytes each time. A tap between
//! client and server records the bytes of each side, in the order in which the bytes pass.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use bytes::Bytes;
use ebb_abi::ended;
use ebb_parser::direction::Side;
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{
        AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf,
        WriteHalf, duplex, split,
    },
    runtime,
    sync::{Notify, Semaphore},
    task::{JoinSet, yield_now},
};

use super::beside::Script;

/// Maximum number of bytes in transit between client and server. The number is small, so that they wait for each other.
const PIPE: usize = 2048;

/// The way in which a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The request ends with its response.
    Answered,
    /// The client resets the stream before the response.
    ClientResets,
    /// The client resets the stream in the middle of the response.
    ClientResetsInBody,
    /// The server resets the stream instead of answering.
    ServerResets,
    /// The server resets the stream in the middle of its response.
    ServerResetsInBody,
}

/// One request and its response.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Path of the request.
    pub path: String,
    /// Further fields of the request's head.
    pub fields: Vec<(String, String)>,
    /// The request's body, in pieces of these lengths.
    pub asks: Vec<usize>,
    /// True if an interim response (1xx) comes before the final one.
    pub interim: bool,
    /// Status of the response.
    pub status: u16,
    /// Further fields of the response's head.
    pub answer_fields: Vec<(String, String)>,
    /// The response's body, in pieces of these lengths.
    pub answers: Vec<usize>,
    /// True if trailers follow the response's body.
    pub trailers: bool,
    /// The way in which the request ends.
    pub end: End,
    /// True if the pod excludes the request.
    pub excluded: bool,
}

impl Plan {
    /// Returns the way in which the request has to be counted: one of [`ended`].
    fn way(&self) -> usize {
        match self.end {
            _ if self.excluded => ended::EXCLUDED,
            End::Answered => usize::from(self.status / 100),
            _ => ended::ABORTED,
        }
    }

    fn body_length(&self) -> usize {
        self.answers.iter().sum()
    }
}

/// A recorded conversation.
#[derive(Debug)]
pub struct Talk {
    /// The bytes that the client and the server have sent.
    pub script: Script,
    /// Number of requests that the server accepted.
    pub accepted: u64,
    /// Number of requests by the way in which they have to be counted ([`ended`]).
    pub ended: [u64; ended::WAYS],
}

/// Lets a client of the crate `h2` send these requests to a server of the same crate, at most `at_once` requests at a
/// time.
pub fn talk(plans: Vec<Plan>, at_once: usize) -> Talk {
    let mut ended = [0; ended::WAYS];
    for plan in &plans {
        ended[plan.way()] += 1;
    }
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without I/O and timers can always be built");
    let script = Arc::new(Mutex::new(Script::new()));
    let accepted = runtime.block_on(async {
        let (client_end, tap_in) = duplex(PIPE);
        let (tap_out, server_end) = duplex(PIPE);
        let (from_client, to_client) = split(tap_in);
        let (from_server, to_server) = split(tap_out);
        let mut taps = JoinSet::new();
        taps.spawn(tap(Side::Requests, from_client, to_server, script.clone()));
        taps.spawn(tap(Side::Responses, from_server, to_client, script.clone()));
        let plans: Arc<Vec<(Plan, Notify)>> = Arc::new(
            plans
                .into_iter()
                .map(|plan| (plan, Notify::new()))
                .collect(),
        );
        let server = tokio::spawn(serve(server_end, plans.clone()));
        ask_all(client_end, plans, at_once).await;
        let accepted = server.await.expect("the server lives");
        taps.join_all().await;
        accepted
    });
    let script = std::mem::take(&mut *script.lock().expect("nobody panics under it"));
    Talk {
        script,
        accepted,
        ended,
    }
}

/// The reaction of an `h2` server to a client that does not use `h2`.
#[derive(Debug)]
pub struct Served {
    /// The bytes of the client, and the bytes of the server in response.
    pub script: Script,
    /// Number of requests that the server accepted.
    pub accepted: u64,
    /// True if the server kept the connection open to the end of the client's bytes.
    pub content: bool,
}

/// Lets an `h2` server respond to the client's part of a script. The server answers each request immediately.
pub fn served(told: &Script) -> Served {
    /// Capacity of the pipe in bytes. Every script is shorter, so neither side ever waits for the other one to read.
    const ROOM: usize = 1 << 24;
    /// If the server has run this number of times without output, it has nothing more to send.
    const PATIENCE: usize = 3;
    let runtime = runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without I/O and timers can always be built");
    runtime.block_on(async {
        let (mut client_end, server_end) = duplex(ROOM);
        let server = tokio::spawn(answer_all(server_end));
        let mut script = Script::new();
        let mut bytes = vec![0; PIPE];
        let asked = told.iter().filter(|(side, _)| *side == Side::Requests);
        for (side, said) in asked {
            if client_end.write_all(said).await.is_err() {
                break;
            }
            script.push((*side, said.clone()));
            let mut quiet = 0;
            while quiet < PATIENCE {
                yield_now().await;
                let read = poll_fn(|context| {
                    let mut buffer = ReadBuf::new(&mut bytes);
                    let read = Pin::new(&mut client_end).poll_read(context, &mut buffer);
                    let count = buffer.filled().len();
                    Poll::Ready(if read.is_ready() { count } else { 0 })
                });
                let count = read.await;
                if count == 0 {
                    quiet += 1;
                } else {
                    quiet = 0;
                    script.push((Side::Responses, bytes[..count].to_vec()));
                }
            }
        }
        let open = !server.is_finished();
        drop(client_end);
        let accepted = server.await.expect("the server lives");
        Served {
            script,
            accepted,
            content: open,
        }
    })
}

/// Responds to each request immediately, without reading it. Returns the number of requests.
async fn answer_all(io: DuplexStream) -> u64 {
    let mut accepted = 0;
    if let Ok(mut connection) = server::handshake(io).await {
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            accepted += 1;
            let _ = respond.send_response(Response::new(()), true);
        }
    }
    accepted
}

/// Forwards the bytes of one side, and records them.
async fn tap(
    side: Side,
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    script: Arc<Mutex<Script>>,
) {
    let mut bytes = vec![0; PIPE];
    loop {
        let count = from.read(&mut bytes).await.unwrap_or(0);
        if count == 0 {
            let _ = to.shutdown().await;
            return;
        }
        let said = (side, bytes[..count].to_vec());
        script.lock().expect("nobody panics under it").push(said);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn ask_all(io: DuplexStream, plans: Arc<Vec<(Plan, Notify)>>, at_once: usize) {
    let (mut sender, connection) = client::handshake(io)
        .await
        .expect("they understand each other");
    let connection = tokio::spawn(connection);
    let room = Arc::new(Semaphore::new(at_once));
    let mut asking = JoinSet::new();
    for index in 0..plans.len() {
        let permit = room
            .clone()
            .acquire_owned()
            .await
            .expect("it is not closed");
        sender = sender.ready().await.expect("the server takes more");
        let (plan, _) = &plans[index];
        let mut request =
            Request::get(format!("http://a.example{}", plan.path)).header("x-plan", index);
        for (name, value) in &plan.fields {
            request = request.header(name, value);
        }
        let request = request.body(()).expect("a plan makes a valid request");
        let (response, mut body) = sender
            .send_request(request, plan.asks.is_empty())
            .expect("the connection allows one more stream");
        let plans = plans.clone();
        asking.spawn(async move {
            let (plan, accepted) = &plans[index];
            send(&mut body, &plan.asks, true);
            if plan.end == End::ClientResets {
                accepted.notified().await;
                body.send_reset(Reason::CANCEL);
            } else if let Ok(response) = response.await {
                let mut answer = response.into_body();
                if plan.end == End::ClientResetsInBody {
                    receive(&mut answer, plan.body_length()).await;
                    body.send_reset(Reason::CANCEL);
                } else {
                    receive(&mut answer, usize::MAX).await;
                    let _ = answer.trailers().await;
                }
            }
            drop(permit);
        });
    }
    asking.join_all().await;
    drop(sender);
    let _ = connection.await;
}

/// Responds until the client closes the connection. Returns the number of requests.
async fn serve(io: DuplexStream, plans: Arc<Vec<(Plan, Notify)>>) -> u64 {
    let mut connection = server::handshake(io)
        .await
        .expect("they understand each other");
    let mut accepted = 0;
    let mut answering = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        accepted += 1;
        let index = request.headers()["x-plan"]
            .to_str()
            .map(str::parse::<usize>);
        let index = index.expect("text").expect("a number");
        let plans = plans.clone();
        answering.spawn(async move {
            let (plan, accepted) = &plans[index];
            accepted.notify_one();
            answer(plan, request.into_body(), respond).await;
        });
    }
    answering.join_all().await;
    accepted
}

async fn answer(plan: &Plan, mut asked: RecvStream, mut respond: server::SendResponse<Bytes>) {
    match plan.end {
        End::ServerResets => {
            respond.send_reset(Reason::INTERNAL_ERROR);
            return;
        }
        End::ClientResets => {
            let _ = poll_fn(|context| respond.poll_reset(context)).await;
            return;
        }
        _ => receive(&mut asked, usize::MAX).await,
    }
    if plan.interim {
        let hints = Response::builder().status(103).header("link", "</a.css>");
        let hints = hints.body(()).expect("it is a response");
        respond.send_informational(hints).expect("it may come here");
    }
    let mut response = Response::builder().status(plan.status);
    for (name, value) in &plan.answer_fields {
        response = response.header(name, value);
    }
    let response = response.body(()).expect("a plan makes a valid response");
    let all = plan.end == End::Answered && plan.answers.is_empty() && !plan.trailers;
    let mut body = respond
        .send_response(response, all)
        .expect("nobody has answered yet");
    match plan.end {
        End::Answered => {
            send(&mut body, &plan.answers, !plan.trailers);
            if plan.trailers {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", 0.into());
                body.send_trailers(trailers).expect("the body is open");
            }
        }
        End::ServerResetsInBody => {
            send(&mut body, &plan.answers, false);
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        _ => {
            send(&mut body, &plan.answers, false);
            let _ = poll_fn(|context| body.poll_reset(context)).await;
        }
    }
}

/// Sends a body. If `ends` is true, the stream ends with the body.
fn send(body: &mut SendStream<Bytes>, pieces: &[usize], ends: bool) {
    for (index, length) in pieces.iter().enumerate() {
        let last = ends && index + 1 == pieces.len();
        // An error is ignored: the other side has reset the stream, so the rest of the body is not needed.
        let _ = body.send_data(vec![b'x'; *length].into(), last);
    }
}

/// Reads a body until `enough` bytes have arrived, or to its end.
async fn receive(body: &mut RecvStream, enough: usize) {
    let mut taken = 0;
    while taken < enough
        && let Some(Ok(bytes)) = body.data().await
    {
        taken += bytes.len();
        let _ = body.flow_control().release_capacity(bytes.len());
    }
}
