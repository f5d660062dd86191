//! The pods of a node share the out-of-order buffer: no pod can use all of it.

use std::io::{BufRead as _, BufReader, PipeWriter};
use std::process::{Command, Stdio};

use ebb_agent::Rules;
use ebb_agent::counter::Counter;
use ebb_fixtures::server::Sample;
use ebb_fixtures::watch::SOON;
use ebb_fixtures::{Case, Need, Process, TestCgroup, eventually, note};

pub(super) const CASES: &[Case] = &[Case::beside(
    "exact::t7_a_pod_that_leaves_gaps_takes_no_room_from_others",
    &[Need::Kernel, Need::Tool("python3")],
    t7_gaps,
)];

/// A running `gaps.py`. The process ends when this value is dropped.
struct Clients {
    _process: Process,
    _stdin: PipeWriter,
}

impl Clients {
    fn start(how: &str, server: &Sample, count: u64) -> Self {
        let (stdout, writer) = std::io::pipe().expect("a pipe");
        let (reader, stdin) = std::io::pipe().expect("a pipe");
        let mut command = Command::new("python3");
        command
            .args(["-c", include_str!("gaps.py"), how])
            .args([server.address().port().to_string(), count.to_string()])
            .stdin(reader)
            .stdout(writer)
            .stderr(Stdio::inherit());
        let process = Process::start(command, None);
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said).expect("a line");
        assert_eq!(said, "sent\n");
        Self {
            _process: process,
            _stdin: stdin,
        }
    }
}

fn t7_gaps() {
    const HOSTILE: u64 = 10;
    const OTHERS: u64 = 20;
    let (hostile, other) = (TestCgroup::new(), TestCgroup::new());
    let mut counter = Counter::load().expect("the programs");
    let mut attach = |cgroup: &TestCgroup| {
        let pod = counter.attach(cgroup.path(), &Rules::default());
        pod.expect("the cgroup is there")
    };
    let (hostile_pod, other_pod) = (attach(&hostile), attach(&other));
    let (hostile_server, other_server) = (Sample::start(&hostile), Sample::start(&other));

    let clients = Clients::start("hold", &hostile_server, HOSTILE);
    let events = eventually(
        "the hostile pod has used up its share of the out-of-order buffer",
        SOON,
        || {
            let events = counter.events().expect("they are there");
            (events.out_of_order_share_full > 0).then_some(events)
        },
    );
    let opaque = counter.read(hostile_pod).expect("it is counted").opaque;
    note(format!(
        "{HOSTILE} connections with 480 gaps in the data of each: {opaque} are opaque, {events:?}"
    ));
    assert_eq!(events.out_of_order_full, 0, "{events:?}");

    let others = Clients::start("swap", &other_server, OTHERS);
    let seen = eventually(
        "all requests to the pod that is not hostile are counted",
        SOON,
        || {
            let seen = counter.read(other_pod).expect("it is counted");
            (seen.started == OTHERS).then_some(seen)
        },
    );
    assert_eq!(seen.opaque, 0, "{seen:?}");
    drop(others);

    // When connections close, their part of the out-of-order buffer is freed. Their pod can use its share of the buffer
    // again, but no more than its share.
    drop(clients);
    eventually("the connections have closed", SOON, || {
        (counter
            .read(hostile_pod)
            .expect("it is counted")
            .connections
            == 0)
            .then_some(())
    });
    let before = counter
        .events()
        .expect("they are there")
        .out_of_order_share_full;
    let clients = Clients::start("hold", &hostile_server, 3);
    let now = counter.read(hostile_pod).expect("it is counted");
    assert_eq!((now.connections, now.opaque), (3, 0), "{now:?}");
    let after = counter
        .events()
        .expect("they are there")
        .out_of_order_share_full;
    assert_eq!(after, before);
    drop(clients);
}
