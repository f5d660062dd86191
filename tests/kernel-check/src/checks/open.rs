//! Connections that are attached mid-stream: they were open before the counting began. From the next request on, such a
//! connection is counted as any other, or is reported as opaque. It is never counted wrongly.

use std::time::Duration;

use ebb_agent::Rules;
use ebb_fixtures::{TestCgroup, Wire, server::Sample};

use super::Check;
use crate::{
    Verdict,
    counted::CountedCgroup,
    http2::{Http2, block_on},
};

pub(super) const CHECKS: &[Check] = &[
    ("open before: counted from the next request on", http1),
    (
        "HTTP/2, open before: counted from the next stream on",
        http2,
    ),
];

/// The path of a request whose response is in progress when the counting begins.
const LONG: &str = "/?sleep=500&bytes=100000";

fn http1() -> Verdict {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let mut idle = Wire::connect(sample.address());
    idle.get("/", "");
    assert_eq!(idle.response(), 200);
    let mut busy = Wire::connect(sample.address());
    busy.get(LONG, "");
    let counted = CountedCgroup::attach(cgroup, &Rules::default())?;
    assert_eq!(busy.response(), 200);
    for wire in [&mut idle, &mut busy] {
        for _ in 0..3 {
            wire.get("/", "");
            assert_eq!(wire.response(), 200);
        }
    }
    assert_eq!(counted.now().in_flight, 0);
    drop((idle, busy));
    let count = counted.until("all are counted", |count| count.started == 6);
    assert_eq!((count.completed, count.in_flight), (6, 0));
    Ok(())
}

fn http2() -> Verdict {
    let cgroup = TestCgroup::new();
    let sample = Sample::start(&cgroup);
    let counted = block_on(async {
        let client = Http2::connect(sample.address()).await;
        client.fetch("/", &[]).await;
        let busy = tokio::spawn({
            let client = client.clone();
            async move { client.fetch(LONG, &[]).await }
        });
        // Waits until the server has received the request: a request that was sent before the counting begins is not
        // counted.
        while sample.stats().in_flight == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let counted = CountedCgroup::attach(cgroup, &Rules::default())?;
        busy.await.expect("a request in flight");
        for _ in 0..5 {
            client.fetch("/", &[]).await;
        }
        Ok(counted)
    })?;
    // All handles of the client have been dropped, so the connection closes, and nothing remains in flight.
    let count = counted.until("nothing is in flight", |count| count.in_flight == 0);
    // If the client's next frame begins no stream, the connection is opaque until a stream begins.
    let opaque = count.started.saturating_sub(5);
    assert_eq!((count.started, count.completed), (5 + opaque, 5 + opaque));
    assert!(opaque <= 1, "{count:?}");
    Ok(())
}
