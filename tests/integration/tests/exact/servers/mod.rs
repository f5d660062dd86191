//! A table of servers and cases: servers that people run in production answer every kind of request, and Ebb's count is
//! compared with what the client saw and with the server's own log.
//!
//! One test is one row of the table, for one server. The clients are in `cases/`: raw sockets, so that every byte is as
//! the case says. A server may refuse a request or close a connection as it likes. The case takes this from the
//! responses, so the same cases suit all servers and versions.

mod row;

use ebb_fixtures::server::Program;
use ebb_fixtures::{Case, Need};

pub(crate) use row::CLIENT;
use row::row;

pub(super) const CASES: &[Case] = &[
    Case::beside(
        "exact::servers::uvicorn_h11",
        &[Need::Ebb, Need::Python("uvicorn, h11")],
        || {
            row(
                Program::UvicornH11,
                "h1,empty_lines,chunked,slow,half,refuse",
            )
        },
    ),
    Case::beside(
        "exact::servers::uvicorn_httptools",
        &[Need::Ebb, Need::Python("uvicorn, httptools")],
        || {
            row(
                Program::UvicornHttptools,
                "h1,empty_lines,chunked,slow,half,refuse",
            )
        },
    ),
    Case::beside(
        "exact::servers::gunicorn_sync",
        &[Need::Ebb, Need::Python("gunicorn")],
        || {
            row(
                Program::GunicornSync,
                "h1,empty_lines,chunked,slow,half,refuse,one",
            )
        },
    ),
    Case::beside(
        "exact::servers::gunicorn_threads",
        &[Need::Ebb, Need::Python("gunicorn")],
        || {
            row(
                Program::GunicornThreads,
                "h1,empty_lines,chunked,slow,half,refuse",
            )
        },
    ),
    Case::beside(
        "exact::servers::hypercorn",
        &[Need::Ebb, Need::Python("hypercorn")],
        || {
            row(
                Program::Hypercorn,
                "h1,empty_lines,h2,chunked,slow,half,refuse,ws,early,lingers",
            );
        },
    ),
    Case::beside(
        "exact::servers::grpcio",
        &[Need::Ebb, Need::Python("grpc")],
        || row(Program::Grpcio, "grpc"),
    ),
    Case::beside(
        "exact::servers::node",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("node")],
        || {
            row(
                Program::Node,
                "h1,empty_lines,chunked,close,slow,half,refuse,ws,early,trailers",
            );
        },
    ),
    Case::beside(
        "exact::servers::node_http2",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("node")],
        || {
            row(
                Program::NodeHttp2,
                "h2,h2only,slow,half,early,trailers,leaks",
            );
        },
    ),
    Case::beside(
        "exact::servers::nginx",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("nginx")],
        || {
            row(
                Program::Nginx,
                "h1,empty_lines,h2,chunked,close,slow,half,refuse,ws,trailers,proxy,proxy_whole,logs_all,goaway,reload",
            );
        },
    ),
    Case::beside(
        "exact::servers::apache",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("apache2")],
        || {
            row(
                Program::Apache,
                "h1,empty_lines,h2,h2c,chunked,close,slow,half,refuse,ws,early,trailers,proxy,logs_all,logs_late",
            );
        },
    ),
    Case::beside(
        "exact::servers::haproxy",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("haproxy")],
        || {
            row(
                Program::HaProxy,
                "h1,empty_lines,h2,chunked,close,slow,half,refuse,ws,early,trailers,proxy,proxy_whole",
            );
        },
    ),
    // The source is compiled first, which takes a minute of one CPU with an empty cache.
    Case::beside(
        "exact::servers::go",
        &[
            Need::Full,
            Need::Ebb,
            Need::Tool("python3"),
            Need::Tool("go"),
        ],
        || {
            row(
                Program::Go,
                "h1,empty_lines,h2,chunked,slow,half,refuse,ws,early,trailers",
            );
        },
    ),
    Case::beside(
        "exact::servers::java",
        &[Need::Ebb, Need::Tool("python3"), Need::Tool("javac")],
        || row(Program::Java, "h1,empty_lines,chunked,slow,half,refuse"),
    ),
];
