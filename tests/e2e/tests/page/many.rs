//! Ten thousand workloads: scrapes are fast, the live page is usable, and decisions are not delayed.

use std::thread;
use std::time::{Duration, Instant};

use ebb_e2e::{Autoscaler, Cluster, SOON};
use ebb_fixtures::browser::Browser;
use ebb_fixtures::{eventually, note};
use serde_json::Value;

use crate::cost;
use crate::size::objects;

const WORKLOADS: usize = 10_000;
/// Time limit until the replica is ready, long because it first reads all objects from the API server double.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// The promised maximum duration of a scrape of `/metrics`.
const SCRAPE: Duration = Duration::from_millis(100);
/// Factor for the promised duration. The promise is for the release profile on an idle machine; the tests have neither.
const UNOPTIMISED: u32 = 4;
/// The number of timed scrapes. The test checks the median of their durations, because other tests use the machine too.
const TIMES: usize = 15;
/// Maximum time from an input to its result on the page.
const TYPED: Duration = Duration::from_secs(2);

pub(super) fn many() {
    let cluster = Cluster::large(objects(340, WORKLOADS));
    let replica = Autoscaler::launch(&cluster, "many", &[]);
    eventually("ready", READY_WITHIN, || {
        (replica.get("/readyz")?.0 == 200).then_some(())
    });
    replica.await_leading();
    eventually("all of them decided", READY_WITHIN, || {
        let text = replica.get("/metrics")?.1;
        let decided = text
            .lines()
            .filter(|line| line.starts_with("ebb_workload_ready_replicas{"));
        (decided.count() == WORKLOADS).then_some(())
    });
    let mut times: Vec<_> = (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            let (status, text) = replica.get("/metrics").unwrap();
            assert_eq!(status, 200);
            (begun.elapsed(), text.len())
        })
        .collect();
    times.sort_unstable();
    let (median, bytes) = times[TIMES / 2];
    note(format!(
        "scrape of /metrics with {WORKLOADS} workloads: minimum {:.0} ms, median {:.0} ms, {:.1} MB",
        times[0].0.as_secs_f64() * 1e3,
        median.as_secs_f64() * 1e3,
        bytes as f64 / 1e6
    ));

    let mut browser = Browser::open(&format!("http://{}/", replica.status()), (1300, 1000));
    browser.await_true(
        "the list shows 200 workloads",
        SOON,
        "document.querySelectorAll('#list tbody tr').length === 200",
    );
    let begun = Instant::now();
    browser.eval(
        "const filter = document.getElementById('filter'); filter.value = 'web-9876'; \
         filter.dispatchEvent(new Event('input'))",
    );
    browser.await_true(
        "the filter leaves one workload",
        TYPED,
        "document.querySelectorAll('#list tbody tr').length === 1",
    );
    let filtered = begun.elapsed();
    browser.eval("document.querySelector('#list a').click()");
    browser.await_true(
        "the page shows the selected workload",
        TYPED,
        "document.getElementById('name').textContent === 'large/web-9876' && !document.getElementById('shown').hidden",
    );
    note(format!(
        "live page with {WORKLOADS} workloads: list filtered to one workload in {} ms, \
         the workload shown {} ms after its selection",
        filtered.as_millis(),
        (begun.elapsed() - filtered).as_millis()
    ));
    decisions_go_on(&replica);
    note(format!(
        "autoscaler with {WORKLOADS} workloads and an open live page: {:.0} MiB resident memory",
        cost::resident(replica.pid())
    ));
    assert!(median < SCRAPE * UNOPTIMISED, "{median:?}");
}

/// Checks that decisions are almost as frequent (at least 80 %) while two clients scrape `/metrics` without a pause.
fn decisions_go_on(replica: &Autoscaler) {
    let count = || -> f64 {
        let text = replica.get("/metrics").unwrap().1;
        let of = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("ebb_autoscaler_decisions_total{")?;
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        of.sum()
    };
    let rate = |scrapers: usize| {
        let time = Duration::from_secs(6);
        let (before, begun) = (count(), Instant::now());
        thread::scope(|scope| {
            for _ in 0..scrapers {
                scope.spawn(|| {
                    while begun.elapsed() < time {
                        replica.get("/metrics").unwrap();
                    }
                });
            }
            thread::sleep(time);
        });
        (count() - before) / begun.elapsed().as_secs_f64()
    };
    let (calm, scraped) = (rate(0), rate(2));
    note(format!(
        "decisions for {WORKLOADS} workloads: {calm:.0}/s, and {scraped:.0}/s while two clients scrape without a pause"
    ));
    assert!(scraped > calm * 0.8, "{calm} {scraped}");
    let view = replica.workload("large", "web-1");
    assert_ne!(view["decided_at"], Value::Null);
}
