//! Tests of the loop with simulated replicas. Tokio's time is paused, so the tests do not wait.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use ebb_autoscaler_core::{Annotations, Config};
use tokio::sync::Notify;

use super::*;
use crate::host::Queue;

/// The simulated host, with the orders and decisions of the loop. All requests are in flight at the oldest replica.
#[derive(Debug)]
struct World {
    start: Instant,
    /// Requests in flight, queued ones included.
    concurrency: f64,
    at: Instant,
    readable: bool,
    queue: f64,
    /// The replicas, oldest first, as (number, start, request-seconds).
    replicas: Vec<(u64, Instant, f64)>,
    gone: Vec<(u64, Instant, f64)>,
    last: u64,
    /// The numbers of replicas that the loop has requested, in order.
    orders: Vec<u32>,
    decisions: usize,
}

#[derive(Debug, Clone)]
struct Fake {
    world: Arc<Mutex<World>>,
    wake: Arc<Notify>,
    engine: SharedEngine,
}

#[derive(Debug)]
struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreadable")
    }
}

impl std::error::Error for Unreadable {}

impl World {
    /// Returns the load of a replica.
    fn load(&self, (number, since, integral): (u64, Instant, f64), phase: Phase) -> ReplicaLoad {
        let is_first = self.replicas.first().is_some_and(|it| it.0 == number);
        ReplicaLoad {
            number,
            phase,
            since: since - self.start,
            at: self.at - self.start,
            integral: (integral * 1e9) as u64,
            in_flight: if is_first { self.concurrency as u64 } else { 0 },
            opaque: 0,
            started: 0,
        }
    }
}

impl Fake {
    fn new() -> Fake {
        let now = Instant::now();
        let world = World {
            start: now,
            concurrency: 0.0,
            at: now,
            readable: true,
            queue: 0.0,
            replicas: Vec::new(),
            gone: Vec::new(),
            last: 0,
            orders: Vec::new(),
            decisions: 0,
        };
        Fake {
            world: Arc::new(Mutex::new(world)),
            wake: Arc::new(Notify::new()),
            engine: SharedEngine::default(),
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world.lock().unwrap();
        let now = Instant::now();
        let served = world.concurrency * (now - world.at).as_secs_f64();
        match world.replicas.first_mut() {
            Some((_, _, integral)) => *integral += served,
            None => world.queue += served,
        }
        world.at = now;
        change(&mut world)
    }

    fn load(&self, concurrency: f64) {
        self.with(|world| world.concurrency = concurrency);
    }

    fn orders(&self) -> Vec<u32> {
        self.with(|world| world.orders.clone())
    }

    fn replicas(&self) -> usize {
        self.with(|world| world.replicas.len())
    }
}

impl LoadSource for Fake {
    type Error = Unreadable;

    async fn load(&mut self) -> Result<Load, Unreadable> {
        self.with(|world| {
            if !world.readable {
                return Err(Unreadable);
            }
            let gone = std::mem::take(&mut world.gone).into_iter();
            let gone = gone.map(|it| world.load(it, Phase::Gone));
            let there = world.replicas.iter();
            let there = there.map(|&it| world.load(it, Phase::Ready));
            Ok(Load {
                replicas: gone.chain(there).collect(),
                queue: Queue {
                    now: if world.replicas.is_empty() {
                        world.concurrency as u64
                    } else {
                        0
                    },
                    integral: Duration::from_secs_f64(world.queue),
                    total: 0,
                },
            })
        })
    }

    async fn woken(&mut self) {
        self.wake.notified().await;
    }
}

impl ScaleTarget for Fake {
    type Error = Infallible;

    async fn scale(&mut self, replicas: u32) -> Result<(), Infallible> {
        self.with(|world| {
            if world.replicas.len() != replicas as usize {
                world.orders.push(replicas);
            }
            while world.replicas.len() > replicas as usize {
                world.gone.extend(world.replicas.pop());
            }
            while world.replicas.len() < replicas as usize {
                world.last += 1;
                world.replicas.push((world.last, world.at, 0.0));
            }
        });
        Ok(())
    }
}

impl Observer for Fake {
    fn second(&mut self, _concurrency: f64) {}

    fn decided(&mut self, _decided: &ObservedDecision<'_>) {
        self.with(|world| world.decisions += 1);
    }
}

/// Runs the autoscaling of a run and the test's `story` concurrently, with a target of 10 requests per replica.
async fn play(annotations: &[(&str, &str)], story: impl AsyncFnOnce(&Fake)) -> Fake {
    let config =
        Config::from_map([("allow-zero-initial-scale", "true"), ("initial-scale", "0")]).unwrap();
    let always = [
        ("autoscaling.knative.dev/class", "ebb.dev"),
        ("autoscaling.knative.dev/target", "10"),
        (
            "autoscaling.knative.dev/target-utilization-percentage",
            "100",
        ),
    ];
    let given = always.iter().chain(annotations).copied();
    let annotations = Annotations::parse(&config, given.clone()).unwrap();
    let settings = Settings::resolve(&config, &annotations, 0);
    let run = Run {
        name: "serve".to_owned(),
        config,
        annotations: given
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        settings,
    };
    let fake = Fake::new();
    let engine = fake.engine.clone();
    // The clock starts 0.3 s after a full second: in reality, a run does not start at a full second either.
    let clock = Clock::new(
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_300),
        Instant::now().into_std(),
    );
    let autoscaler = Autoscaler::new(run, engine, clock, fake.clone(), fake.clone(), fake.clone());
    tokio::select! {
        ended = autoscaler.run() => ended.unwrap(),
        () = story(&fake) => {}
    }
    fake
}

/// Lets this number of seconds pass. The load must not change at the instant of a regular reading (every 50 ms): of two
/// readings at the same instant, only one counts.
async fn seconds(seconds: f64) {
    time::sleep(Duration::from_secs_f64(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_at_zero_copies_is_seen_at_once() {
    let fake = play(&[], async |fake| {
        seconds(100.01).await;
        fake.load(1.0);
        fake.wake.notify_one();
        seconds(0.001).await;
    })
    .await;
    assert_eq!(fake.orders(), [1]);
}

#[tokio::test(start_paused = true)]
async fn so_it_is_where_requests_a_second_are_what_counts() {
    let annotations = [("autoscaling.knative.dev/metric", "rps")];
    let fake = play(&annotations, async |fake| {
        seconds(30.57).await;
        fake.load(20.0);
        fake.wake.notify_one();
        seconds(0.001).await;
        assert_eq!(fake.orders(), [2], "20 requests, 10/s a replica");
    })
    .await;
    drop(fake);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_seen_before_the_next_decision_and_not_overdone() {
    let fake = play(&[], async |fake| {
        seconds(10.07).await;
        fake.load(50.0);
        fake.wake.notify_one();
        seconds(0.4).await;
        assert_eq!(fake.orders().last(), Some(&5));
        seconds(30.0).await;
    })
    .await;
    assert_eq!(fake.orders().iter().max(), Some(&5));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_goes_to_zero_after_window_and_grace() {
    let fake = play(&[("autoscaling.knative.dev/window", "6s")], async |fake| {
        fake.load(5.0);
        fake.wake.notify_one();
        seconds(10.0).await;
        fake.load(0.0);
        // The last replica is removed after about 36 s without load: 6 s of stable window and 30 s of grace period.
        // After 34 s it still exists.
        seconds(34.0).await;
        assert_eq!(fake.orders(), [1]);
        seconds(8.0).await;
    })
    .await;
    assert_eq!(fake.orders(), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_zero() {
    let fake = play(&[("autoscaling.knative.dev/window", "6s")], async |fake| {
        fake.load(45.0);
        fake.wake.notify_one();
        seconds(20.0).await;
        fake.with(|world| world.readable = false);
        seconds(300.0).await;
    })
    .await;
    assert_eq!(fake.replicas(), 5);
}

#[tokio::test(start_paused = true)]
async fn it_starts_with_min_scale() {
    let fake = play(&[("autoscaling.knative.dev/min-scale", "2")], async |_| {
        seconds(0.1).await
    })
    .await;
    assert_eq!(fake.orders(), [2]);
}

#[tokio::test(start_paused = true)]
async fn decisions_come_every_two_seconds() {
    let fake = play(&[("autoscaling.knative.dev/min-scale", "1")], async |_| {
        seconds(21.0).await
    })
    .await;
    // The first decision is made at once, then one every 2 s for 21 s: 1 + 10.
    assert_eq!(fake.with(|world| world.decisions), 11);
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_shown() {
    let fake = play(&[], async |fake| {
        seconds(10.57).await;
        fake.load(80.0);
        fake.wake.notify_one();
        seconds(0.001).await;
    })
    .await;
    fake.engine.with(|engine| {
        let shown = engine.views().next().unwrap();
        assert_eq!((shown.name.as_str(), shown.queued), ("serve", 80));
        assert_eq!((&*shown.mode, shown.desired_replicas), ("act", Some(8)));
        assert_eq!(shown.scaled.as_ref().map(|scaled| scaled.from), Some(0));
        let detail = engine.detail(&shown.id()).unwrap();
        assert!(!detail.history.is_empty());
        assert_eq!(detail.decisions.len(), 2, "nothing, then the burst");
    });
}
