//! Messages that the kernel programs send without a query: wake-ups at a threshold of requests in flight, and rare
//! events.

use std::io::{BufRead as _, BufReader, Write};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ebb_agent::Rules;
use ebb_agent::counter::{Counter, PodId, WakeUps};
use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::SOON;
use ebb_fixtures::{Case, Need, Process, TestCgroup, Wire, eventually};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::EBB;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::burst_wakes_once", EBB, wakes_once),
    Case::beside(
        "exact::rare_events_are_counted_and_logged",
        EBB,
        counted_and_logged,
    ),
    Case::beside("exact::bytes_not_seen_make_opaque_http1", UNSEEN, || {
        let half = "GET / HTTP/1.1\r\nHo";
        not_seen("GET / HTTP/1.1\r\n\r\n", half, "st: test\r\n\r\n");
    }),
    Case::beside("exact::bytes_not_seen_make_opaque_http2", UNSEEN, || {
        // The preface contains a SETTINGS frame. The two strings after the preface form a HEADERS frame for stream 1
        // with `:method: GET`.
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        not_seen(preface, "\0\0\x01\x01", "\x05\0\0\0\x01\x02");
    }),
];

const UNSEEN: &[Need] = &[Need::Kernel, Need::Tool("python3")];

fn counting(path: &Path) -> (Counter, PodId) {
    let mut counter = Counter::load().expect("the programs");
    let pod = counter
        .attach(path, &Rules::default())
        .expect("the cgroup is there");
    (counter, pod)
}

/// Waits for a wake-up and returns its pod, or `None` if no wake-up arrives `within` this time.
fn woken(wake_ups: &mut WakeUps, within: Duration) -> Option<PodId> {
    let mut ready = [PollFd::new(wake_ups.as_fd(), PollFlags::POLLIN)];
    let within = PollTimeout::try_from(within).expect("a short time");
    poll(&mut ready, within).expect("it can be polled");
    wake_ups.next_pod()
}

fn wakes_once() {
    let cgroup = TestCgroup::new();
    let (mut counter, pod) = counting(cgroup.path());
    let mut wake_ups = counter.wake_ups().expect("nobody has taken them");
    assert!(counter.wake_ups().is_err(), "for one taker");
    let server = Sample::start(&cgroup);
    let ask = |count: usize| -> Vec<Wire> {
        (0..count)
            .map(|_| {
                let mut wire = Wire::connect(server.address());
                wire.get("/?sleep=200", "");
                wire
            })
            .collect()
    };
    counter.wake_at(pod, 10);
    let mut wires = ask(9);
    eventually("nine are in flight", SOON, || {
        (counter.peek(pod) == 9).then_some(())
    });
    assert_eq!(woken(&mut wake_ups, Duration::ZERO), None, "one is missing");
    wires.extend(ask(1));
    assert_eq!(woken(&mut wake_ups, SOON), Some(pod));
    // However many requests follow, the kernel sends only one wake-up until the threshold is set again.
    wires.extend(ask(5));
    eventually("all are counted", SOON, || {
        (counter.read(pod).expect("it is counted").started >= 15).then_some(())
    });
    assert_eq!(woken(&mut wake_ups, Duration::ZERO), None, "not set again");
    for wire in &mut wires {
        assert_eq!(wire.response(), 200);
    }
    // When the threshold is set again, requests that are already in flight count, and requests that have ended do not.
    counter.wake_at(pod, 2);
    let _first = ask(1);
    assert_eq!(woken(&mut wake_ups, Duration::ZERO), None);
    let _second = ask(1);
    assert_eq!(woken(&mut wake_ups, SOON), Some(pod));
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn counted_and_logged() {
    let cgroup = TestCgroup::new();
    let (mut counter, _) = counting(cgroup.path());
    let server = Sample::start(&cgroup);
    assert_eq!(counter.events().expect("they are there").unreadable, 0);
    // Several connections carry bytes that are not HTTP. The log must not have a line for each of them.
    let wires: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = Wire::connect(server.address());
            wire.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n");
            wire
        })
        .collect();
    eventually("all 20 connections are counted as unreadable", SOON, || {
        (counter.events().expect("they are there").unreadable == 20).then_some(())
    });
    drop(wires);
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .finish();
    tracing::subscriber::with_default(subscriber, || counter.flush_log());
    let said = log.0.lock().expect("nobody panicked").clone();
    let said = String::from_utf8(said).expect("text");
    let lines = said.lines().count();
    assert!((1..=5).contains(&lines), "{said}");
    assert!(
        said.contains("WARN") && said.contains("a connection is opaque"),
        "{said}"
    );
}

/// A case that should not occur: TCP has accepted bytes, but the kernel programs have seen no packet with these bytes.
/// The connection must become opaque, and must not wait for the bytes forever.
fn not_seen(first: &str, unseen: &str, last: &str) {
    let cgroup = TestCgroup::new();
    let (mut counter, pod) = counting(cgroup.path());
    let (stdout, writer) = std::io::pipe().expect("a pipe");
    let (reader, stdin) = std::io::pipe().expect("a pipe");
    let mut command = Command::new("python3");
    let source = include_str!("unseen.py");
    command
        .args(["-c", source])
        .arg(cgroup.path())
        .args([first, unseen, last].map(hexadecimal))
        .stdin(reader)
        .stdout(writer)
        .stderr(Stdio::inherit());
    let mut process = Process::start(command, None);
    let mut said = String::new();
    BufReader::new(stdout).read_line(&mut said).expect("a line");
    assert_eq!(said, "received\n");
    let events = counter.events().expect("they are there");
    assert_eq!((events.bytes_missed, events.unreadable), (1, 1));
    let now = counter.read(pod).expect("it is counted");
    assert_eq!((now.in_flight, now.opaque), (1, 1));
    drop(stdin);
    assert!(process.wait(SOON).success());
    eventually("it has closed", SOON, || {
        let now = counter.read(pod).expect("it is counted");
        ((now.in_flight, now.opaque, now.connections) == (0, 0, 0)).then_some(())
    });
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}
