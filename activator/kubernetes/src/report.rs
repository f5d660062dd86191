//! Writes the reports for the autoscalers. A report is written once a second, at short intervals during a burst, and
//! immediately when a request is queued and there is no pod.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ebb_contract::{ActivatorReport as Report, PortReport, burst};
use hyper::body::Bytes;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::error;

use crate::listeners::{Listeners, PortSnapshot};

/// The interval between reports. The agents use the same interval.
const EVERY: Duration = Duration::from_secs(1);
/// Minimum time between two reports: requests that are queued at many ports within this time share one report.
const LEAST: Duration = Duration::from_millis(5);

/// The identity of this activator in reports.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    activator: String,
    address: String,
    /// A text that is different after each start of this program.
    boot: String,
    /// Time when the counters of this program began at 0, in ns of `CLOCK_MONOTONIC`.
    since: u64,
}

impl Sender {
    /// Creates the identity of the activator in the pod `pod`. Its counters begin at the time of this call.
    pub(crate) fn new(pod: String, address: IpAddr) -> Self {
        Self {
            activator: pod,
            address: address.to_string(),
            boot: boot(),
            since: monotonic(),
        }
    }

    fn report(&self, listeners: &Listeners, leaving: bool) -> Report {
        Report {
            activator: self.activator.clone(),
            address: self.address.clone(),
            boot: self.boot.clone(),
            leaving,
            ports: listeners
                .snapshot()
                .iter()
                .map(|port| self.port_report(port))
                .collect(),
        }
    }

    fn port_report(&self, port: &PortSnapshot) -> PortReport {
        let (queued, counts) = (port.pool.queued(), port.pool.counts());
        PortReport {
            namespace: port.key.service.namespace.clone(),
            service: port.key.service.name.clone(),
            port: port.key.port.clone(),
            number: port.number,
            in_path: port.in_path,
            since: self.since,
            at: monotonic(),
            // The integral wraps after 2^64 ns, as the report's contract specifies.
            queued_integral: queued.integral.as_nanos() as u64,
            queued: queued.now,
            queued_ever: queued.total,
            in_flight: port.pool.all_in_flight() as u64,
            answered: counts.answered,
        }
    }
}

/// Returns a text that is different after each start of this program. The autoscaler needs it to recognise a restart,
/// after which all counters begin at 0.
fn boot() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0.0, |now| now.as_secs_f64());
    format!("{seconds:.6}-{}", std::process::id())
}

/// Returns `CLOCK_MONOTONIC` in ns.
fn monotonic() -> u64 {
    // Linux has this clock since 2.6, so the call does not fail. If the call failed, all times would be equal, and the
    // autoscaler would ignore the reports.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_nanos()).unwrap_or(0)
    })
}

/// Runs forever, and publishes each report on `out` when it is due.
pub(crate) async fn run(
    sender: Sender,
    listeners: Listeners,
    mut leaving: watch::Receiver<bool>,
    out: watch::Sender<Bytes>,
) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let write = |leaving: bool| match serde_json::to_vec(&sender.report(&listeners, leaving)) {
        Ok(body) => {
            out.send_replace(body.into());
        }
        Err(error) => error!(%error, "a report cannot be written"),
    };
    let mut burst_ends = Instant::now();
    loop {
        write(*leaving.borrow_and_update());
        let written = Instant::now();
        tokio::select! {
            _ = tick.tick() => {}
            Ok(()) = leaving.changed() => {}
            () = listeners.wake_ups.notified() => {
                burst_ends = Instant::now() + burst::LASTS;
                sleep_until(written + LEAST).await;
            }
            () = sleep_until(written + burst::INTERVAL), if written < burst_ends => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ebb_proxy::Limits;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_to_wait_is_told_of_at_once_in_a_burst_too() {
        let (_end, closing) = watch::channel(false);
        let (_leave, leaving) = watch::channel(false);
        let (out, mut reports) = watch::channel(Bytes::new());
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let listeners = Listeners::new(Limits::default(), here, here, closing);
        let wake_ups = listeners.wake_ups.clone();
        let sender = Sender {
            activator: "a".to_owned(),
            address: "127.0.0.1".to_owned(),
            boot: "b".to_owned(),
            since: 0,
        };
        let reporting = tokio::spawn(run(sender, listeners, leaving, out));
        // The test runs from 500 ms to 950 ms: between two regular reports, which are written once a second. So it
        // receives only the additional reports of a burst.
        sleep_until(Instant::now() + Duration::from_millis(500)).await;
        reports.mark_unchanged();
        let begun = Instant::now();
        let after = move |ms| begun + Duration::from_millis(ms);
        let wakings = tokio::spawn(async move {
            for ms in [0, 70, 71] {
                sleep_until(after(ms)).await;
                wake_ups.notify_one();
            }
        });
        let mut told = Vec::new();
        while tokio::time::timeout_at(after(450), reports.changed())
            .await
            .is_ok()
        {
            told.push(begun.elapsed().as_millis());
        }
        assert_eq!(told, [0, 50, 70, 75, 125, 175, 225, 275, 325, 375]);
        wakings.await.unwrap();
        reporting.abort();
    }
}
