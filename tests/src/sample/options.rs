//! The command line of `ebb-sample`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A small HTTP server (HTTP/1.1, and HTTP/2 by prior knowledge) that knows exactly how many requests it has in flight.
///
/// `GET /?burn=MS&sleep=MS&bytes=N&status=S&chunked=1&drip=MS`: answers with status S (200) after
/// MS milliseconds of CPU time and MS milliseconds of rest, with N bytes (3), with `chunked=1` in
/// chunked coding, with `drip=MS` resting that long between pieces of 16 KiB. `GET /stats` answers
/// its own counts as JSON.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "ebb-sample")]
pub struct Options {
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,

    /// Port to listen on.
    #[arg(long, env = "PORT", value_name = "P")]
    pub port: u16,

    /// Wait this long before listening, as a server with work to do at its start would.
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub start_delay: Duration,
}
