//! The command line of `ebb-sample`.

use std::time::Duration;

/// A small HTTP/1.1 server that knows exactly how many requests it has in flight.
///
/// `GET /?sleep=MS&bytes=N&status=S&chunked=1&drip=MS`: answers with status S (200) after MS
/// milliseconds, with N bytes (3), with `chunked=1` in chunked coding, with `drip=MS` resting
/// that long between pieces of 16 KiB. `GET /stats` answers its own counts as JSON.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "ebb-sample")]
pub struct Options {
    /// Port on 127.0.0.1 to listen on.
    #[arg(long, env = "PORT", value_name = "P")]
    pub port: u16,

    /// Wait this long before listening, as a server with work to do at its start would.
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub start_delay: Duration,
}
