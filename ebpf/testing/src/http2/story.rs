//! HTTP/2 conversations that are unusual but allowed: frames of every type, on any stream, with header blocks cut and
//! encoded in every way.
//!
//! Such a conversation is called a story. It is generated from any bytes: those of a fuzzer or of a property test.

use std::ops::Range;

use arbitrary::{Arbitrary, Unstructured};
use ebb_parser::direction::Side;

use super::{
    PREFACE,
    beside::Script,
    frames::{
        END_HEADERS, END_STREAM, PADDED, PRIORITY, continued, data, frame, kind, padded, ping,
        reset, settings, settings_ack, window_update,
    },
    headers::{Field, HUFFMAN, INSERT, NEVER, PLAIN, STATIC, Sender},
};
use crate::EXCLUDED;

/// Names that header fields may have. The parser knows some of them. The other names only begin like known names.
const NAMES: [&str; 12] = [
    "user-agent",
    "k-network-probe",
    "k-kubelet-probe",
    "k-network",
    "k-kubelet-probes",
    ":path",
    "cookie",
    "x",
    "user-agen",
    "server",
    "k-network-probe-",
    "a-name-that-is-longer-than-forty-bytes-in-all",
];

/// Values that header fields may have.
const VALUES: [&str; 12] = [
    "kube-probe/1.30",
    "kube-probe/",
    "kube-probe",
    "curl/8.5.0",
    "",
    "/metrics",
    "/metrics?a=b",
    "/health/live",
    "/",
    "x",
    "a value that is longer than the forty bytes that are looked at",
    "\u{7f}\u{1}~^",
];

/// Values that have no meaning for Ebb. If the name of a field is an index into the sender's HPACK table, only these
/// values are used: the parser does not know all names in that table.
const PLAIN_VALUES: [&str; 4] = ["curl/8.5.0", "", "/index.html", "~^"];

/// Statuses for responses whose status is a literal field.
const STATUSES: [&str; 8] = ["200", "201", "302", "304", "418", "503", "599", "103"];

/// A header field. Its numbers select entries of the lists `NAMES` and `VALUES`, or of the HPACK tables.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum AnyField {
    Static(u8),
    Recent(u8),
    Named { name: u8, value: u8, how: u8 },
    NamedRecent { name: u8, value: u8, how: u8 },
    Literal { name: u8, value: u8, how: u8 },
    Long { length: u16, how: u8 },
}

/// The way in which a header block is cut into frames, and the padding and priority of its first frame.
#[derive(Arbitrary, Clone, Debug)]
struct Dress {
    cuts: Vec<u8>,
    padding: Option<u8>,
    priority: bool,
}

/// One event of a [`Story`].
#[derive(Arbitrary, Clone, Debug)]
enum Step {
    /// The client sends a request. `skip` stream identifiers are skipped.
    Ask {
        skip: u8,
        path: u8,
        fields: Vec<AnyField>,
        ends: bool,
        dress: Dress,
    },
    /// The server sends the head of a response.
    Answer {
        stream: u8,
        status: u8,
        how: u8,
        fields: Vec<AnyField>,
        ends: bool,
        dress: Dress,
    },
    /// The server sends the head of a response with an indexed status.
    AnswerShort { stream: u8, status: u8, ends: bool },
    /// Either side sends a part of a body.
    Body {
        server: bool,
        stream: u8,
        length: u16,
        padding: Option<u8>,
        ends: bool,
    },
    /// Either side sends trailers.
    Trailers {
        server: bool,
        stream: u8,
        fields: Vec<AnyField>,
        dress: Dress,
    },
    /// Either side resets a stream.
    Reset { server: bool, stream: u8 },
    /// The server promises a stream.
    Promise {
        stream: u8,
        fields: Vec<AnyField>,
        padding: Option<u8>,
    },
    /// One side changes the size of its HPACK table.
    Resize { server: bool, size: u16 },
    /// Either side sends a frame of another type that HTTP/2 defines. Only a GOAWAY of the server changes the counts.
    Other { server: bool, which: u8, stream: u8 },
    /// Either side sends a frame of an unknown type.
    Unknown {
        server: bool,
        kind: u8,
        flags: u8,
        stream: u8,
        length: u8,
    },
}

/// A conversation of a client and a server on one connection, from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Story(Vec<Step>);

impl<'a> Arbitrary<'a> for Story {
    /// Generates steps until all bytes are used. One more byte makes one more step, or a longer step.
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut steps = Vec::new();
        while !bytes.is_empty() {
            steps.push(bytes.arbitrary()?);
        }
        Ok(Self(steps))
    }
}

impl Story {
    /// Returns the bytes of both sides, frame by frame.
    pub fn script(&self) -> Script {
        let mut teller = Teller {
            script: vec![
                (Side::Requests, PREFACE.to_vec()),
                (Side::Requests, settings()),
                (Side::Responses, settings()),
            ],
            senders: [Sender::new(), Sender::new()],
            sizes: [None, None],
            asked: Vec::new(),
        };
        for step in &self.0 {
            teller.tell(step);
        }
        teller.script
    }
}

/// The state of a conversation that is being written.
struct Teller {
    script: Script,
    senders: [Sender; 2],
    /// The table size that each side must send before its next header block.
    sizes: [Option<u32>; 2],
    /// The streams of all requests that have been written.
    asked: Vec<u32>,
}

/// A header block that is being written.
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    /// Ranges of the block that must not be cut into two frames.
    whole: Vec<Range<usize>>,
}

impl Block {
    /// Adds a field. If the field names a missing entry of the table, the field is skipped.
    fn write(&mut self, sender: &mut Sender, field: Field<'_>) {
        let start = self.bytes.len();
        if sender.write(field, &mut self.bytes).is_ok() && matters(field) {
            self.whole.push(start..self.bytes.len());
        }
    }

    /// Returns the lengths of the parts into which the block is cut. They are the lengths in `wished`, but each cut is
    /// moved to the next position at which a cut is possible.
    fn cuts(&self, wished: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        let mut at = 0;
        for wish in wished.iter().take(8) {
            let mut end = at + usize::from(*wish);
            if let Some(whole) = self.whole.iter().find(|whole| whole.contains(&end)) {
                end = whole.end;
            }
            lengths.push(end - at);
            at = end;
        }
        lengths
    }
}

/// Returns whether the parser examines a field.
fn matters(field: Field<'_>) -> bool {
    match field {
        Field::Named(index, ..) => !(15..=STATIC).contains(&index) || index == 58,
        Field::Literal(name, ..) => name.starts_with([':', 'k', 'u']),
        Field::Indexed(_) | Field::Resize(_) | Field::Best(..) => false,
    }
}

fn side(server: bool) -> Side {
    if server {
        Side::Responses
    } else {
        Side::Requests
    }
}

fn pick<T: Copy>(list: &[T], index: u8) -> T {
    list[usize::from(index) % list.len()]
}

fn how(how: u8) -> u8 {
    let form = [PLAIN, INSERT, NEVER, INSERT];
    pick(&form, how) | if how & 4 == 0 { PLAIN } else { HUFFMAN }
}

impl Teller {
    fn say(&mut self, side: Side, bytes: Vec<u8>) {
        self.script.push((side, bytes));
    }

    /// Returns one of the streams that have been requested, in flight or not.
    fn stream(&self, stream: u8) -> u32 {
        if self.asked.is_empty() {
            1
        } else {
            pick(&self.asked, stream)
        }
    }

    /// Returns a header block, and the ranges of the block that must not be cut. The parser does not examine a string
    /// that continues in another frame, so a cut in a string that it examines would change the counts.
    fn block(&mut self, side: Side, first: &[Field<'_>], fields: &[AnyField]) -> Block {
        let mut block = Block::default();
        let sender = &mut self.senders[side as usize];
        if let Some(size) = self.sizes[side as usize].take() {
            block.write(sender, Field::Resize(size));
        }
        for field in first {
            block.write(sender, *field);
        }
        for field in fields {
            let long;
            let field = match *field {
                // The index is greater than those of the paths and statuses in the static table. A block has only one
                // path or status, as one of its first fields.
                AnyField::Static(index) => Field::Indexed(15 + u32::from(index) % (STATIC - 14)),
                AnyField::Recent(index) => Field::Indexed(STATIC + 1 + u32::from(index) % 64),
                AnyField::Named {
                    name,
                    value,
                    how: by,
                } => {
                    let name = 15 + u32::from(name) % (STATIC - 14);
                    Field::Named(name, pick(&VALUES, value), how(by))
                }
                AnyField::NamedRecent {
                    name,
                    value,
                    how: by,
                } => {
                    let name = STATIC + 1 + u32::from(name) % 64;
                    Field::Named(name, pick(&PLAIN_VALUES, value), how(by))
                }
                AnyField::Literal {
                    name,
                    value,
                    how: by,
                } => {
                    let value = pick(&VALUES, value);
                    // In the Huffman code, the parser cannot recognise a query after a path. So a value with a query is
                    // written in plain text.
                    let by = if value.contains('?') { by & 3 } else { by };
                    Field::Literal(pick(&NAMES, name), value, how(by))
                }
                AnyField::Long { length, how: by } => {
                    long = "v".repeat(usize::from(length % 600));
                    Field::Literal("x-long", &long, how(by))
                }
            };
            block.write(sender, field);
        }
        block
    }

    fn head(&mut self, side: Side, stream: u32, ends: bool, block: &Block, dress: &Dress) {
        let mut flags = if ends { END_STREAM } else { 0 };
        let mut frames = continued(stream, flags, &block.bytes, &block.cuts(&dress.cuts));
        // Only the first frame can have padding and a priority, so the first frame is built again with them.
        let mut payload = frames[0][9..].to_vec();
        flags |= frames[0][4];
        if dress.priority {
            payload.splice(0..0, [0, 0, 0, 1, 7]);
            flags |= PRIORITY;
        }
        if let Some(padding) = dress.padding {
            payload = padded(&payload, padding);
            flags |= PADDED;
        }
        frames[0] = frame(kind::HEADERS, flags, stream, payload);
        for frame in frames {
            self.say(side, frame);
        }
    }

    fn tell(&mut self, step: &Step) {
        match step {
            Step::Ask {
                skip,
                path,
                fields,
                ends,
                dress,
            } => {
                let paths = [
                    "/",
                    "/index.html",
                    EXCLUDED[0],
                    EXCLUDED[1],
                    EXCLUDED[2],
                    "/metrics?a",
                ];
                let path = Field::Named(
                    4,
                    pick(&paths, *path),
                    if *path < 128 { INSERT } else { PLAIN },
                );
                let first = [Field::Indexed(2), path, Field::Indexed(6)];
                let block = self.block(Side::Requests, &first, fields);
                let next = self.asked.last().map_or(1, |last| last + 2);
                let stream = next + u32::from(skip % 4) * 2;
                self.asked.push(stream);
                self.head(Side::Requests, stream, *ends, &block, dress);
            }
            Step::Answer {
                stream,
                status,
                how: by,
                fields,
                ends,
                dress,
            } => {
                let status = pick(&STATUSES, *status);
                let name = if by & 8 == 0 {
                    Field::Named(8 + u32::from(by >> 4) % 7, status, how(*by))
                } else {
                    Field::Literal(":status", status, how(*by))
                };
                let block = self.block(Side::Responses, &[name], fields);
                let ends = *ends && !status.starts_with('1');
                self.head(Side::Responses, self.stream(*stream), ends, &block, dress);
            }
            Step::AnswerShort {
                stream,
                status,
                ends,
            } => {
                let block = [0x80 | (8 + status % 7)];
                let flags = END_HEADERS | if *ends { END_STREAM } else { 0 };
                let head = frame(kind::HEADERS, flags, self.stream(*stream), block);
                self.say(Side::Responses, head);
            }
            Step::Body {
                server,
                stream,
                length,
                padding,
                ends,
            } => {
                let flags = if *ends { END_STREAM } else { 0 };
                let bytes = vec![0; usize::from(length % 600)];
                let stream = self.stream(*stream);
                let body = match padding {
                    Some(padding) => data(stream, flags | PADDED, padded(&bytes, *padding)),
                    None => data(stream, flags, bytes),
                };
                self.say(side(*server), body);
            }
            Step::Trailers {
                server,
                stream,
                fields,
                dress,
            } => {
                let block = self.block(
                    side(*server),
                    &[Field::Literal("grpc-status", "0", INSERT)],
                    fields,
                );
                self.head(side(*server), self.stream(*stream), true, &block, dress);
            }
            Step::Reset { server, stream } => self.say(side(*server), reset(self.stream(*stream))),
            Step::Promise {
                stream,
                fields,
                padding,
            } => {
                let block = self.block(Side::Responses, &[Field::Indexed(2)], fields);
                let mut payload = 2u32.to_be_bytes().to_vec();
                payload.extend(block.bytes);
                let stream = self.stream(*stream);
                let promise = match padding {
                    Some(padding) => {
                        let payload = padded(&payload, *padding);
                        frame(kind::PUSH_PROMISE, END_HEADERS | PADDED, stream, payload)
                    }
                    None => frame(kind::PUSH_PROMISE, END_HEADERS, stream, payload),
                };
                self.say(Side::Responses, promise);
            }
            Step::Resize { server, size } => {
                self.sizes[usize::from(*server)] = Some(u32::from(size % 4097));
            }
            Step::Other {
                server,
                which,
                stream,
            } => {
                let stream = self.stream(*stream);
                let other = match which % 6 {
                    0 => settings(),
                    1 => settings_ack(),
                    2 => ping(),
                    3 => window_update(stream),
                    4 => frame(kind::PRIORITY, 0, stream, [0, 0, 0, 1, 7]),
                    _ => frame(kind::GOAWAY, 0, 0, [stream.to_be_bytes(), [0; 4]].concat()),
                };
                self.say(side(*server), other);
            }
            Step::Unknown {
                server,
                kind,
                flags,
                stream,
                length,
            } => {
                let kind = (*kind).max(kind::CONTINUATION + 1);
                let payload = vec![0xff; usize::from(*length)];
                let other = frame(kind, *flags, self.stream(*stream), payload);
                self.say(side(*server), other);
            }
        }
    }
}
