//! A proxy in front of backends that are always ready: `fixed LISTEN BACKEND…`. All arguments are addresses like
//! `127.0.0.1:8080`.

use std::net::SocketAddr;

use ebb_proxy::{Limits, Pool, serve};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().ok_or("usage: fixed LISTEN BACKEND…")?;
    let pool = Pool::new(Limits::default());
    for (id, backend) in (1..).zip(arguments) {
        pool.add(id, backend.parse::<SocketAddr>()?);
    }
    let ctrl_c = async { drop(tokio::signal::ctrl_c().await) };
    serve(TcpListener::bind(listen).await?, pool, ctrl_c).await?;
    Ok(())
}
