//! Random exchanges in the form of real clients and servers, each with its expected counts.

use std::ops::Range;

use ebb_abi::ended;
use ebb_parser_testing::EXCLUDED;
use proptest::{prelude::*, sample::select};

/// One request and its response.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) request: Message,
    pub(crate) response: Message,
    /// How the request ends if it is not aborted: one of [`ended`].
    pub(crate) way: usize,
    /// True if the response ends with the connection.
    pub(crate) closes: bool,
}

/// A message on the wire. Ranges count from the first byte of the message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    /// Ranges of all heads of the message, including those of interim responses.
    pub(crate) heads: Vec<Range<usize>>,
    /// Ranges in which packets can arrive out of order: the body, or the data of each chunk with the line end after it.
    pub(crate) bodies: Vec<Range<usize>>,
}

/// The framing of a body.
#[derive(Clone, Debug)]
enum Body {
    None,
    Length(usize),
    Chunks(Vec<usize>),
    /// The body ends with the connection. Used for responses only.
    UntilClose(usize),
}

type Field = (String, String);

/// Returns header fields that have no meaning for the parser.
fn fields() -> impl Strategy<Value = Vec<Field>> {
    let value = prop_oneof![8 => "[!-~]([ -~]{0,60}[!-~])?", 1 => "[!-~]{150,400}"];
    prop::collection::vec(
        (
            "(X-|Content-T|User-Agen|K-|Transfer)[A-Za-z0-9]{0,20}",
            value,
        ),
        0..6,
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::None),
        (0..600usize).prop_map(Body::Length),
        prop::collection::vec(1..300usize, 0..8).prop_map(Body::Chunks),
    ]
}

/// Returns a way to write a field: the case of its name, the blanks before its value, and the blanks after its value.
fn style() -> impl Strategy<Value = (u8, &'static str, &'static str)> {
    (
        0..3u8,
        select(vec!["", " ", "\t", "  "]),
        select(vec!["", " ", " \t"]),
    )
}

fn line(name: &str, value: &str, (case, before, behind): (u8, &str, &str)) -> String {
    let name = match case {
        0 => name.to_owned(),
        1 => name.to_lowercase(),
        _ => name.to_uppercase(),
    };
    format!("{name}:{before}{value}{behind}\r\n")
}

impl Message {
    /// Returns a message of a start line, fields and a body. The bytes of the body look like messages.
    fn write(
        start: &str,
        fields: &[Field],
        style: (u8, &str, &str),
        body: &Body,
        no_body: bool,
    ) -> Self {
        let mut text = format!("{start}\r\n");
        let (before, behind) = fields.split_at(fields.len() / 2);
        for (name, value) in before {
            text += &format!("{name}: {value}\r\n");
        }
        match body {
            Body::None | Body::UntilClose(_) => {}
            Body::Length(length) => text += &line("Content-Length", &length.to_string(), style),
            Body::Chunks(_) => text += &line("Transfer-Encoding", "chunked", style),
        }
        for (name, value) in behind {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let head = 0..text.len();
        let mut message = Self {
            bytes: text.into_bytes(),
            heads: Vec::from([head]),
            bodies: Vec::new(),
        };
        if !no_body {
            message.write_body(body);
        }
        message
    }

    fn write_body(&mut self, body: &Body) {
        let filler = |length: usize| {
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
                .iter()
                .cycle()
                .take(length)
        };
        match body {
            Body::None => {}
            Body::Length(length) | Body::UntilClose(length) => {
                let start = self.bytes.len();
                self.bytes.extend(filler(*length));
                self.bodies.push(start..self.bytes.len());
            }
            Body::Chunks(chunks) => {
                for (index, length) in chunks.iter().enumerate() {
                    let extension = if index % 3 == 1 { ";a=\"b\"" } else { "" };
                    self.bytes
                        .extend(format!("{length:x}{extension}\r\n").into_bytes());
                    let start = self.bytes.len();
                    self.bytes.extend(filler(*length));
                    self.bytes.extend(b"\r\n");
                    self.bodies.push(start..self.bytes.len());
                }
                self.bytes.extend(
                    if chunks.len() % 2 == 0 {
                        "0\r\n\r\n"
                    } else {
                        "0\r\nTrailer: x\r\n\r\n"
                    }
                    .bytes(),
                );
            }
        }
    }

    /// Puts an interim response before the message.
    fn after_interim(mut self) -> Self {
        const INTERIM: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n";
        let shift = |range: &Range<usize>| range.start + INTERIM.len()..range.end + INTERIM.len();
        self.bytes.splice(0..0, INTERIM.iter().copied());
        self.heads = std::iter::once(0..INTERIM.len())
            .chain(self.heads.iter().map(shift))
            .collect();
        self.bodies = self.bodies.iter().map(shift).collect();
        self
    }
}

/// Returns a request, whether the request is HEAD, and whether it is excluded.
fn request() -> impl Strategy<Value = (Message, bool, bool)> {
    let path = prop_oneof![
        6 => "/[a-z0-9/]{0,30}".prop_filter("excluded", |path| !EXCLUDED.contains(&path.as_str())),
        2 => "/[a-z0-9/]{60,300}",
        1 => select(EXCLUDED.to_vec()).prop_map(str::to_owned),
    ];
    let query = prop_oneof![2 => Just(String::new()), 1 => "\\?[a-z=&]{0,80}"];
    let method = select(vec![
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH",
    ]);
    let probe = prop_oneof![
        8 => Just(None),
        1 => Just(Some(("User-Agent", "kube-probe/1.30"))),
        1 => Just(Some(("K-Network-Probe", "queue"))),
        1 => Just(Some(("K-Kubelet-Probe", "queue"))),
    ];
    (
        method,
        path,
        query,
        probe,
        fields(),
        style(),
        body(),
        0..3usize,
    )
        .prop_map(
            |(method, path, query, probe, mut fields, style, body, empty_lines)| {
                let excluded = probe.is_some() || EXCLUDED.contains(&path.as_str());
                fields.extend(probe.map(|(name, value)| (name.to_owned(), value.to_owned())));
                let start = format!("{method} {path}{query} HTTP/1.1");
                let mut message = Message::write(&start, &fields, style, &body, false);
                if empty_lines == 2 && message.bodies.is_empty() {
                    // Old clients send an empty line after a request. The line belongs to no request.
                    message.bytes.extend(b"\r\n");
                }
                (message, method == "HEAD", excluded)
            },
        )
}

/// Returns an exchange. Its response may end with the connection only if `last` is true.
pub(crate) fn spoken(last: bool) -> impl Strategy<Value = Spoken> {
    let status = select(vec![200, 200, 200, 201, 204, 301, 304, 404, 500, 503]);
    let body = if last {
        prop_oneof![body(), (0..500usize).prop_map(Body::UntilClose)].boxed()
    } else {
        body().boxed()
    };
    (
        request(),
        status,
        "[ -~]{0,70}",
        fields(),
        style(),
        body,
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |((request, head, excluded), status, reason, fields, style, body, interim)| {
                let no_body = head || status == 204 || status == 304;
                // A response with neither Content-Length nor Transfer-Encoding would end with the connection.
                let body = if matches!(body, Body::None) && !no_body {
                    Body::Length(0)
                } else {
                    body
                };
                let closes = matches!(body, Body::UntilClose(_)) && !no_body;
                let start = format!("HTTP/1.1 {status} {reason}");
                let response = Message::write(&start, &fields, style, &body, no_body);
                let response = if interim {
                    response.after_interim()
                } else {
                    response
                };
                let way = if excluded {
                    ended::EXCLUDED
                } else {
                    status / 100
                };
                Spoken {
                    request,
                    response,
                    way,
                    closes,
                }
            },
        )
}

/// Returns the exchanges of one connection.
pub(crate) fn conversation() -> impl Strategy<Value = Vec<Spoken>> {
    (prop::collection::vec(spoken(false), 0..12), spoken(true)).prop_map(|(mut all, last)| {
        all.push(last);
        all
    })
}
