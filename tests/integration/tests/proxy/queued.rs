//! Queued requests: their number, their memory, and what happens to them when the activator or the server is killed.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use ebb_fixtures::proxy::{SOON, TestProxy};
use ebb_fixtures::server::Sample;
use ebb_fixtures::{Case, Need, TestCgroup, Wire, eventually, note};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "proxy::memory_of_ten_thousand_queued",
        &[Need::Cgroup],
        memory,
    ),
    Case::new("proxy::t11_heads_of_60_kb", &[Need::Cgroup], t11_long_heads),
    Case::beside("proxy::queue_full_and_wait_too_long", &[], full_and_late),
    Case::beside(
        "proxy::killed_with_a_hundred_queued",
        &[Need::Cgroup],
        killed,
    ),
    Case::beside(
        "proxy::server_killed_in_mid_answer",
        &[Need::Cgroup],
        server_killed,
    ),
];

/// The promised number of queued requests. The test queues fewer if the system's limit of file descriptors is too low.
const HELD: u64 = 10_000;
/// The maximum memory of `ebb-test-proxy` with [`HELD`] queued requests, in MiB.
const MEMORY: f64 = 200.0;
/// The maximum memory of `ebb-test-proxy` after the queued requests were answered, in MiB.
const LEFT: f64 = 80.0;
/// File descriptors that this process needs besides its connections, with a margin.
const SPARE: u64 = 500;

fn ask(to: SocketAddr) -> Wire {
    let mut wire = Wire::connect(to);
    wire.get("/", "User-Agent: test\r\n");
    wire
}

fn memory() {
    let (soft, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits");
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .expect("the limit of file descriptors is raised");
    // `ebb-test-proxy` needs two file descriptors per request: one for the client, and one for the connection to the
    // server.
    let count = HELD.min(most / 2 - SPARE);
    let mut proxy = TestProxy::start(&[]);
    let before = proxy.memory();
    let mut wires: Vec<_> = (0..count).map(|_| ask(proxy.address())).collect();
    proxy.holds(count);
    let held = proxy.memory();
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    proxy.add(1, sample.address());
    for wire in &mut wires {
        assert_eq!(wire.response(), 200);
    }
    let answered = proxy.memory();
    drop(wires);
    let after = eventually("memory returned", SOON, || {
        let now = proxy.memory();
        (now < LEFT).then_some(now)
    });
    setrlimit(Resource::RLIMIT_NOFILE, soft, most)
        .expect("the limit of file descriptors is restored");
    note(format!(
        "memory of ebb-test-proxy: {before:.0} MiB at start, {held:.0} MiB with {count} queued requests, \
         {answered:.0} MiB when all are answered, {after:.0} MiB when all connections are closed"
    ));
    let each = (held - before) / count as f64;
    assert!(
        before + each * (HELD as f64) < MEMORY,
        "{held} MiB with {count} queued requests"
    );
}

/// Sends 6 000 requests with 60 KB of headers each. Without a budget, `ebb-test-proxy` would use 658 MB for them.
fn t11_long_heads() {
    /// The budget for queued requests, in MiB: three fifths of 600 MiB, the memory limit in the deployment.
    const BUDGET: usize = 360;
    /// Memory that `ebb-test-proxy` needs besides the budget, in MiB: the program itself, refusals in flight, and the
    /// allocator's overhead.
    const FIXED: f64 = 60.0;
    const CLIENTS: u64 = 6_000;
    let (soft, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits");
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .expect("the limit of file descriptors is raised");
    let count = CLIENTS.min(most / 2 - SPARE);
    let bytes = (BUDGET << 20).to_string();
    let mut proxy = TestProxy::start(&["--queue-bytes", &bytes, "--max-wait", "300s"]);
    let field = "y".repeat(6_000);
    let fields: String = (0..10).map(|n| format!("X-{n}: {field}\r\n")).collect();
    let mut wires: Vec<_> = (0..count)
        .map(|_| {
            let mut wire = Wire::connect(proxy.address());
            wire.get("/", &fields);
            wire
        })
        .collect();
    let refused = eventually("each request is queued or refused", SOON, || {
        let state = proxy.state();
        let refused = state.refused["bytes-full"];
        (state.held + refused == count).then_some(refused)
    });
    let memory = proxy.memory();
    let held = count - refused;
    note(format!(
        "{count} requests with 60 KB of headers: {held} queued, {refused} refused; {memory:.0} MiB used, \
         with a budget of {BUDGET} MiB for the queue"
    ));
    assert!(
        refused > 0 && held > 1_500,
        "{held} queued, {refused} refused"
    );
    assert!(memory < BUDGET as f64 + FIXED, "{memory} MiB");
    // The server is added only after all requests have arrived and the refused requests have got their responses. From
    // now on, every queued request must be answered.
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    proxy.add(1, sample.address());
    let mut statuses = [0u64; 2];
    for wire in &mut wires {
        match wire.response() {
            200 => statuses[0] += 1,
            503 => statuses[1] += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(statuses, [held, refused]);
    setrlimit(Resource::RLIMIT_NOFILE, soft, most)
        .expect("the limit of file descriptors is restored");
}

fn full_and_late() {
    let mut proxy = TestProxy::start(&["--max-queued", "1", "--max-wait", "500ms"]);
    let mut first = ask(proxy.address());
    proxy.holds(1);
    let (status, body) = ask(proxy.address()).response_with_body();
    assert_eq!(status, 503);
    assert!(
        body.starts_with(b"ebb: 1 requests are queued already"),
        "{body:?}"
    );
    let (status, body) = first.response_with_body();
    assert_eq!(status, 504);
    assert_eq!(
        body,
        b"ebb: nothing was ready to serve the request within 500ms\n"
    );
    let refused = proxy.state().refused;
    assert_eq!((refused["queue-full"], refused["waited-too-long"]), (1, 1));
}

fn killed() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let mut dies = TestProxy::start(&[]);
    let lives = TestProxy::of(sample.address(), &[]);
    let mut wires: Vec<_> = (0..100).map(|_| ask(dies.address())).collect();
    dies.holds(100);
    let going_on = thread::spawn({
        let to = lives.address();
        move || {
            for _ in 0..50 {
                assert_eq!(ask(to).response(), 200);
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    dies.kill();
    for wire in &mut wires {
        assert_eq!(
            wire.drain(),
            0,
            "a killed ebb-test-proxy must send no response"
        );
    }
    going_on
        .join()
        .expect("the ebb-test-proxy that was not killed answers all requests");
    // A new `ebb-test-proxy` must be able to listen at the address of the killed one, and to forward requests.
    let again = TestProxy::of(sample.address(), &["--listen", &dies.address().to_string()]);
    assert_eq!(ask(again.address()).response(), 200);
}

fn server_killed() {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let mut proxy = TestProxy::of(sample.address(), &["--max-wait", "500ms"]);
    let mut before = Wire::connect(proxy.address());
    before.get("/?sleep=60000", "");
    let mut within = Wire::connect(proxy.address());
    within.get("/?bytes=1000000&drip=50", "");
    assert!(within.header().starts_with("HTTP/1.1 200"));
    // Waits until the server has received both requests: `ebb-test-proxy` would send a request that the server has not
    // received to another server.
    eventually("the server has received both requests", SOON, || {
        (sample.stats().in_flight == 2).then_some(())
    });
    sample.kill();
    let (status, body) = before.response_with_body();
    assert_eq!(status, 502);
    assert!(body.starts_with(b"ebb: the server aborted"), "{body:?}");
    assert!(
        within.drain() < 1_000_000,
        "the response must be incomplete, because the server was killed"
    );
    // The server no longer listens: a new request waits for another server until `--max-wait` is over.
    eventually("the killed server refuses connections", SOON, || {
        TcpStream::connect(sample.address()).err()
    });
    assert_eq!(ask(proxy.address()).response(), 504);
    assert_eq!(proxy.state().refused["backend-broke-off"], 1);
}
