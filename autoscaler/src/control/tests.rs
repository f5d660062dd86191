//! The control loop with a simulated workload of two numbers, in paused time.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex},
};

use ebb_autoscaler_core::{Annotations, Config};
use tokio::sync::Notify;

use super::*;

/// The simulated state, and the loop's decisions.
#[derive(Debug)]
struct World {
    /// Requests in flight, queued ones included.
    concurrency: f64,
    integral: f64,
    at: Instant,
    readable: bool,
    replicas: u32,
    /// All requested replicas, in order.
    orders: Vec<u32>,
    decisions: usize,
}

#[derive(Debug, Clone)]
struct Fake {
    world: Arc<Mutex<World>>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreadable")
    }
}

impl std::error::Error for Unreadable {}

impl Fake {
    fn new() -> Fake {
        let world = World {
            concurrency: 0.0,
            integral: 0.0,
            at: Instant::now(),
            readable: true,
            replicas: 0,
            orders: Vec::new(),
            decisions: 0,
        };
        Fake {
            world: Arc::new(Mutex::new(world)),
            wake: Arc::new(Notify::new()),
        }
    }

    fn with<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world.lock().unwrap();
        let now = Instant::now();
        world.integral += world.concurrency * (now - world.at).as_secs_f64();
        world.at = now;
        change(&mut world)
    }

    fn load(&self, concurrency: f64) {
        self.with(|world| world.concurrency = concurrency);
    }

    fn orders(&self) -> Vec<u32> {
        self.with(|world| world.orders.clone())
    }
}

impl LoadSource for Fake {
    type Error = Unreadable;

    async fn load(&mut self) -> Result<Load, Unreadable> {
        self.with(|world| {
            let held = if world.replicas == 0 {
                world.concurrency
            } else {
                0.0
            };
            world.readable.then_some(Load {
                at: world.at,
                integral: world.integral,
                requests: 0,
                in_flight: (world.concurrency - held) as u64,
                held: held as u64,
            })
        })
        .ok_or(Unreadable)
    }

    async fn woken(&mut self) {
        self.wake.notified().await;
    }
}

impl ScaleTarget for Fake {
    type Error = Infallible;

    async fn facts(&mut self) -> Result<Facts, Infallible> {
        Ok(self.with(|world| Facts::local(world.replicas, world.replicas)))
    }

    async fn scale(&mut self, replicas: u32) -> Result<(), Infallible> {
        self.with(|world| {
            if world.replicas != replicas {
                world.orders.push(replicas);
            }
            world.replicas = replicas;
        });
        Ok(())
    }
}

impl Observer for Fake {
    fn second(&mut self, _concurrency: f64) {}

    fn decided(&mut self, _decided: &Decided<'_>) {
        self.with(|world| world.decisions += 1);
    }
}

/// Runs the loop and `story` at the same time, with a target of 10 requests per replica.
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
    let annotations = Annotations::parse(&config, given).unwrap();
    let settings = Settings::resolve(&config, &annotations, 0);
    let fake = Fake::new();
    // The clock does not start on a full second, as in reality.
    let clock = Clock::starting_at(Duration::from_millis(1_000_300));
    let autoscaler = Autoscaler::new(settings, clock, fake.clone(), fake.clone(), fake.clone());
    tokio::select! {
        ended = autoscaler.run() => ended.unwrap(),
        () = story(&fake) => {}
    }
    fake
}

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
        seconds(30.5).await;
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
        seconds(10.0).await;
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
        // 6 s of stable window and 30 s of grace period.
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
    assert_eq!(fake.with(|world| world.replicas), 5);
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
    assert_eq!(fake.with(|world| world.decisions), 10);
}
