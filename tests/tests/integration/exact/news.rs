//! What the kernel says on its own: that requests are many, and what rarely happens.

use std::io::Write;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ebb_agent::Rules;
use ebb_agent::counter::{Counter, PodId, Wakes};
use ebb_tests::harness::server::Sample;
use ebb_tests::harness::watch::SOON;
use ebb_tests::harness::{Case, TestCgroup, Wire, eventually};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::EBB;

pub(super) const CASES: &[Case] = &[
    Case::beside("exact::burst_wakes_once", EBB, wakes_once),
    Case::beside("exact::rare_events_are_counted_and_said", EBB, said),
];

fn counting(path: &Path) -> (Counter, PodId) {
    let mut counter = Counter::load().expect("the programs");
    let pod = counter
        .attach(path, &Rules::default())
        .expect("the cgroup is there");
    (counter, pod)
}

/// The pod that the kernel wakes us for, if it does so in time.
fn woken(wakes: &mut Wakes, within: Duration) -> Option<PodId> {
    let mut ready = [PollFd::new(wakes.as_fd(), PollFlags::POLLIN)];
    let within = PollTimeout::try_from(within).expect("a short time");
    poll(&mut ready, within).expect("it can be polled");
    wakes.next_pod()
}

fn wakes_once() {
    let cgroup = TestCgroup::new();
    let (mut counter, pod) = counting(cgroup.path());
    let mut wakes = counter.wakes().expect("nobody has taken them");
    assert!(counter.wakes().is_err(), "for one taker");
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
    assert_eq!(woken(&mut wakes, Duration::ZERO), None, "one is missing");
    wires.extend(ask(1));
    assert_eq!(woken(&mut wakes, SOON), Some(pod));
    // However many more there are, once is enough.
    wires.extend(ask(5));
    eventually("all are counted", SOON, || {
        (counter.read(pod).expect("it is counted").started >= 15).then_some(())
    });
    assert_eq!(woken(&mut wakes, Duration::ZERO), None, "not set again");
    for wire in &mut wires {
        assert_eq!(wire.response(), 200);
    }
    // What was in flight when it was set again counts, and what has ended does not.
    counter.wake_at(pod, 2);
    let _first = ask(1);
    assert_eq!(woken(&mut wakes, Duration::ZERO), None);
    let _second = ask(1);
    assert_eq!(woken(&mut wakes, SOON), Some(pod));
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

fn said() {
    let cgroup = TestCgroup::new();
    let (mut counter, _) = counting(cgroup.path());
    let server = Sample::start(&cgroup);
    assert_eq!(counter.events().expect("they are there").unreadable, 0);
    // More than one, and not a line for each.
    let wires: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = Wire::connect(server.address());
            wire.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n");
            wire
        })
        .collect();
    eventually("all of them are counted", SOON, || {
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
