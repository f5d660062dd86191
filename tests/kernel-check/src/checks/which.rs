//! Checks which connections and which requests are counted.

use std::{
    env,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use ebb_agent::Rules;
use ebb_fixtures::{
    Process, Wire,
    server::{Scripted, Then},
};

use super::{Check, shapes::as_the_server_says};
use crate::{
    Verdict,
    counted::{Count, CountedCgroup},
};

pub(super) const CHECKS: &[Check] = &[
    ("IPv6", ipv6),
    ("IPv4 to a socket of IPv6", mapped),
    ("probes leave no trace", probes),
    ("an excluded path leaves no trace", excluded_path),
    ("from inside the cgroup: not counted", from_inside),
    (
        "from inside to a port that is named: counted",
        from_inside_by_port,
    ),
    ("a port that is not named: not counted", other_port),
    ("another cgroup: not counted", other_cgroup),
];

/// The first argument that makes this program an HTTP client: see [`fetch`].
pub(crate) const FETCH: &str = "fetch";

fn ipv6() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample_at(Ipv6Addr::LOCALHOST);
    get(sample.address(), 3);
    as_the_server_says(&counted, &sample, 3);
    Ok(())
}

fn mapped() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample_at(Ipv6Addr::UNSPECIFIED);
    get(
        SocketAddr::from((Ipv4Addr::LOCALHOST, sample.address().port())),
        3,
    );
    let count = counted.at_rest();
    assert_eq!(count, Count::of(3));
    Ok(())
}

/// Sends probes whose identifying header field, such as `User-Agent`, arrives late, when the request is already counted
/// as in flight.
fn probes() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    let before = counted.reading();
    let late = format!("X-Long: {}\r\n", "x".repeat(2048));
    for field in [
        "User-Agent: kube-probe/1.30",
        "K-Network-Probe: queue",
        "K-Kubelet-Probe: true",
    ] {
        let mut wire = Wire::connect(sample.address());
        wire.send(format!("GET /?sleep=20 HTTP/1.1\r\nHost: test\r\n{late}"));
        counted.until("the probe is counted at first", |now| now.in_flight == 1);
        wire.send(format!("{field}\r\n\r\n"));
        assert_eq!(wire.response(), 200);
    }
    no_trace(&counted, &before, 3);
    Ok(())
}

fn excluded_path() -> Verdict {
    let counted = CountedCgroup::with(&Rules {
        exclude_paths: vec!["/metrics".to_owned()],
        ..Rules::default()
    })?;
    let sample = counted.sample();
    let before = counted.reading();
    let mut wire = Wire::connect(sample.address());
    for path in ["/metrics", "/metrics?sleep=20"] {
        wire.get(path, "");
        assert_eq!(wire.response(), 200);
    }
    drop(wire);
    no_trace(&counted, &before, 2);
    Ok(())
}

#[track_caller]
fn no_trace(counted: &CountedCgroup, before: &ebb_agent::Reading, excluded: u64) {
    let count = counted.at_rest();
    let expected = Count {
        excluded,
        ..Count::default()
    };
    assert_eq!(count, expected);
    assert_eq!(
        counted.reading().integral_since(before),
        0.0,
        "the integral"
    );
}

fn from_inside() -> Verdict {
    let counted = CountedCgroup::new()?;
    let sample = counted.sample();
    fetch_inside(&counted, sample.address());
    assert_eq!(counted.at_rest(), Count::of(0));
    get(sample.address(), 1);
    assert_eq!(counted.at_rest(), Count::of(1));
    Ok(())
}

fn from_inside_by_port() -> Verdict {
    let server = |counted: &CountedCgroup, port: u16| {
        Scripted::at(
            counted.cgroup(),
            (Ipv4Addr::LOCALHOST, port).into(),
            Then::Close,
            &["HTTP/1.1 200 OK\r\n\r\n"],
        )
    };
    let port = ebb_fixtures::free_port();
    let counted = CountedCgroup::with(&Rules {
        ports: vec![port],
        ..Rules::default()
    })?;
    let server = server(&counted, port);
    fetch_inside(&counted, server.address());
    assert_eq!(counted.at_rest(), Count::of(1));
    Ok(())
}

fn other_port() -> Verdict {
    let counted = CountedCgroup::with(&Rules {
        ports: vec![ebb_fixtures::free_port()],
        ..Rules::default()
    })?;
    let sample = counted.sample();
    get(sample.address(), 3);
    assert_eq!(counted.at_rest(), Count::of(0));
    Ok(())
}

fn other_cgroup() -> Verdict {
    let (counted, other) = (CountedCgroup::new()?, CountedCgroup::new()?);
    let sample = counted.sample();
    get(sample.address(), 3);
    as_the_server_says(&counted, &sample, 3);
    assert_eq!(other.now(), Count::of(0));
    Ok(())
}

/// Sends this many requests on one connection.
#[track_caller]
fn get(address: SocketAddr, requests: u64) {
    let mut wire = Wire::connect(address);
    for _ in 0..requests {
        wire.get("/", "");
        assert_eq!(wire.response(), 200);
    }
}

/// Sends a request from a process in the counted cgroup.
fn fetch_inside(counted: &CountedCgroup, address: SocketAddr) {
    let mut command =
        Command::new(env::current_exe().expect("cannot find the path of this program"));
    command.args([FETCH, &address.to_string()]);
    let mut client = Process::start(command, Some(counted.cgroup()));
    // The time limit is generous: the client takes half a second on an emulated machine.
    assert!(client.wait(Duration::from_secs(30)).success());
}

/// Sends one request to the address in `arguments`. This is the main function of the process that `fetch_inside`
/// starts.
pub(crate) fn fetch(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let address = arguments.next().context("no address")?;
    let mut wire = Wire::connect(address.parse().with_context(|| address.clone())?);
    wire.get("/", "Connection: close\r\n");
    wire.drain();
    Ok(())
}
