//! Whole kinds of traffic: every length of blanks, every token, every status, every way in which a response ends, and a
//! GOAWAY at every point. The server follows a script, so the right counts are known for each message.

mod ambiguous;
mod blanks;
mod ends;
mod goaway;
mod methods;
mod statuses;

use std::cell::RefCell;
use std::ops::Range;

use ebb_fixtures::server::{Step, Steps};
use ebb_fixtures::watch::{Ends, Watch};
use ebb_fixtures::{Case, Wire};

use super::watched;

pub(super) fn cases() -> Vec<Case> {
    [
        ambiguous::CASES,
        blanks::CASES,
        ends::CASES,
        goaway::CASES,
        methods::CASES,
        statuses::CASES,
    ]
    .concat()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// One write of one side.
#[derive(Clone)]
enum Turn {
    Client(Vec<u8>),
    Server(Vec<u8>),
}

/// A part of a conversation, with the number of requests in it.
#[derive(Clone)]
struct Item {
    /// Name of the item, for the message of a failed test.
    name: String,
    turns: Vec<Turn>,
    /// How the requests end.
    ends: Ends,
    /// True if the server closes the connection after the item.
    closes: bool,
}

impl Item {
    /// Returns one request and its response.
    fn exchange(
        name: impl Into<String>,
        request: impl AsRef<[u8]>,
        response: impl AsRef<[u8]>,
    ) -> Self {
        Self {
            name: name.into(),
            turns: vec![
                Turn::Client(request.as_ref().to_vec()),
                Turn::Server(response.as_ref().to_vec()),
            ],
            ends: Ends::answered(1),
            closes: false,
        }
    }

    /// Returns an ordinary request and its response.
    fn ordinary() -> Self {
        Self::exchange("an ordinary request", GET, OK)
    }

    /// Returns the item with a close of the connection by the server after it.
    fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }
}

/// Sends each conversation on a connection of its own, one after the other. The connections stay open until the counts
/// have been compared. If a count is wrong, the test names the first wrong conversation.
#[track_caller]
fn all_exact(conversations: &[Vec<Item>]) {
    watched(
        |cgroup| RefCell::new(Steps::start(cgroup)),
        |server, watch| {
            let mut server = server.borrow_mut();
            let Err(all) = check(conversations, &mut server, watch) else {
                return;
            };
            // The first wrong conversation is the last one of the shortest wrong beginning of the list.
            let Range { mut start, mut end } = 0..conversations.len();
            while end - start > 1 {
                let middle = start.midpoint(end);
                match check(&conversations[start..middle], &mut server, watch) {
                    Ok(()) => start = middle,
                    Err(_) => end = middle,
                }
            }
            let conversation = &conversations[start];
            let wrong = check(&conversations[start..end], &mut server, watch);
            let single = conversation.iter().find_map(|item| {
                let alone = [item.clone(), Item::ordinary()];
                let alone = if item.closes { &alone[..1] } else { &alone[..] };
                let found = check(&[alone.to_vec()], &mut server, watch);
                found.err().map(|why| format!("{:?}: {why}", item.name))
            });
            let names: Vec<_> = conversation.iter().map(|item| &item.name).take(4).collect();
            panic!(
                "all conversations: {all}\nnumber {start}, {names:?}…: {}\nits first wrong item alone: {}",
                wrong.err().unwrap_or_else(|| "exact alone".to_owned()),
                single.unwrap_or_else(|| "none".to_owned())
            );
        },
    );
}

/// Sends the conversations, and compares the counts. Returns what is wrong.
fn check(conversations: &[Vec<Item>], server: &mut Steps, watch: &mut Watch) -> Result<(), String> {
    watch.begin();
    let mut right = Ends::default();
    let mut wires = Vec::new();
    for conversation in conversations {
        for Item { ends, .. } in conversation {
            right.answered += ends.answered;
            right.aborted += ends.aborted;
        }
        wires.extend(converse(conversation, server));
    }
    let open = wires.len() as u64;
    let line = watch.until("nothing happens for a whole interval", |_, line| {
        line.connections == open && (line.requests, line.completed) == (0, 0)
    });
    let ends = watch.totals().ends();
    drop(wires);
    watch.until("all connections closed", |_, line| line.connections == 0);
    if (line.in_flight, ends) == (0, right) {
        Ok(())
    } else {
        Err(format!("{line:?}, {ends:?} is not {right:?}"))
    }
}

/// Takes the client's part in a conversation. Returns the connection if the server keeps it open.
#[track_caller]
fn converse(conversation: &[Item], server: &mut Steps) -> Option<Wire> {
    let closes = conversation.last().is_some_and(|item| item.closes);
    let turns = || conversation.iter().flat_map(|item| &item.turns);
    let mut steps: Vec<_> = turns()
        .map(|turn| match turn {
            Turn::Client(bytes) => Step::Read(bytes.len()),
            Turn::Server(bytes) => Step::Write(bytes.clone()),
        })
        .collect();
    if closes {
        steps.push(Step::Close);
    }
    server.script(&steps);
    let mut wire = Wire::connect(server.address());
    for turn in turns() {
        match turn {
            Turn::Client(bytes) => wire.send(bytes),
            Turn::Server(bytes) => assert_eq!(wire.take(bytes.len()), *bytes),
        }
    }
    let writes = turns().filter(|turn| matches!(turn, Turn::Server(_)));
    assert_eq!(server.writes(), writes.count() as u64, "writes");
    if closes {
        wire.drain();
    }
    (!closes).then_some(wire)
}
