//! What the autoscalers are told, once a second and at once when somebody waits.

use std::time::Duration;

use ebb_report::doors::{Door, Doors as Report};
use hyper::body::Bytes;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::error;

use super::doors::{Doors, Seen};

/// As the agents.
const EVERY: Duration = Duration::from_secs(1);
/// After a wake-up the next reports follow each other so fast: what waits grows while the decision is made.
const BURST_EVERY: Duration = Duration::from_millis(50);
const BURST: u32 = 6;

/// Who reports.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    pub(super) activator: String,
    pub(super) address: String,
    /// New with each start.
    pub(super) boot: String,
    /// When this program began to count, ns.
    pub(super) since: u64,
}

impl Sender {
    fn report(&self, doors: &Doors, leaving: bool) -> Report {
        Report {
            activator: self.activator.clone(),
            address: self.address.clone(),
            boot: self.boot.clone(),
            leaving,
            doors: doors.seen().iter().map(|seen| self.door(seen)).collect(),
        }
    }

    fn door(&self, seen: &Seen) -> Door {
        let (held, counts) = (seen.pool.held(), seen.pool.counts());
        Door {
            namespace: seen.key.service.namespace.clone(),
            service: seen.key.service.name.clone(),
            port: seen.key.port.clone(),
            number: seen.number,
            in_path: seen.in_path,
            since: self.since,
            at: monotonic(),
            // Wraps after 2^64 ns, as the interface says.
            held_integral: held.integral.as_nanos() as u64,
            held: held.now,
            held_ever: held.total,
            in_flight: seen.pool.all_in_flight() as u64,
            answered: counts.answered,
        }
    }
}

/// `CLOCK_MONOTONIC`, ns.
pub(super) fn monotonic() -> u64 {
    // It is there since Linux 2.6; without it all times are the same, and nothing is taken from reports.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_nanos()).unwrap_or(0)
    })
}

/// Puts a report into `out` when it is time to, for ever.
pub(super) async fn run(
    sender: Sender,
    doors: Doors,
    mut leaving: watch::Receiver<bool>,
    out: watch::Sender<Bytes>,
) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let write = |leaving: bool| match serde_json::to_vec(&sender.report(&doors, leaving)) {
        Ok(body) => {
            out.send_replace(body.into());
        }
        Err(error) => error!(%error, "a report cannot be written"),
    };
    loop {
        let leaves = *leaving.borrow_and_update();
        write(leaves);
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = leaving.changed() => {}
            () = doors.wanted.notified() => {
                for _ in 0..BURST {
                    write(leaves);
                    sleep(BURST_EVERY).await;
                }
            }
        }
    }
}
