use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::*;
use crate::{
    boot::BootClock,
    testing::{Answer, client, refusal},
};

const DURATION: Duration = Duration::from_secs(15);

/// A simulated API server with one Lease. It can be slow or hang.
struct Server {
    lease: Mutex<Value>,
    version: Mutex<u64>,
    hangs: AtomicBool,
    slow: Mutex<Duration>,
}

impl Server {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lease: Mutex::new(Value::Null),
            version: Mutex::new(0),
            hangs: AtomicBool::new(false),
            slow: Mutex::default(),
        })
    }

    fn answer(&self, method: &str, body: &Value) -> Answer {
        if self.hangs.load(Ordering::Relaxed) {
            return Answer::Never;
        }
        let answer = self.decide(method, body);
        let slow = *self.slow.lock().unwrap();
        match slow.is_zero() {
            true => answer,
            false => Answer::Late(slow, Box::new(answer)),
        }
    }

    fn decide(&self, method: &str, body: &Value) -> Answer {
        let mut lease = self.lease.lock().unwrap();
        if method == "GET" {
            return match lease.is_null() {
                true => refusal(404, "NotFound"),
                false => Answer::Json(200, lease.clone()),
            };
        }
        let meant = &body["metadata"]["resourceVersion"];
        if !lease.is_null() && *meant != lease["metadata"]["resourceVersion"] {
            return refusal(409, "Conflict");
        }
        let mut version = self.version.lock().unwrap();
        *version += 1;
        *lease = body.clone();
        lease["metadata"]["resourceVersion"] = json!(version.to_string());
        Answer::Json(200, lease.clone())
    }

    fn holder(&self) -> Value {
        self.lease.lock().unwrap()["spec"]["holderIdentity"].clone()
    }
}

fn stand(server: &Arc<Server>, identity: &str) -> (Arc<Leadership>, watch::Sender<bool>) {
    let leadership = Leadership::new(BootClock::of_tokio());
    let client = client({
        let server = Arc::clone(server);
        move |method, _, body| server.answer(method, body)
    });
    let candidate = Candidate::new(
        client,
        "ebb-system",
        "ebb-autoscaler",
        identity,
        DURATION,
        Arc::clone(&leadership),
    );
    let (end, ending) = watch::channel(false);
    tokio::spawn(candidate.run(ending));
    (leadership, end)
}

async fn seconds(number: u64) {
    time::sleep(Duration::from_secs(number)).await;
}

#[tokio::test(start_paused = true)]
async fn p5_a_holder_whose_requests_hang_steps_down_before_another_may_lead() {
    let server = Server::new();
    let (first, _end) = stand(&server, "first");
    seconds(5).await;
    assert!(first.leads());
    server.hangs.store(true, Ordering::Relaxed);
    seconds(8).await;
    assert!(
        first.leads(),
        "the leadership survives requests that hang for a short time"
    );
    seconds(3).await;
    assert!(!first.leads());
    assert!(
        !*first.changes().borrow(),
        "the receivers of `changes` see that the leadership has ended"
    );
    server.hangs.store(false, Ordering::Relaxed);
    seconds(6).await;
    assert!(first.leads(), "the holder takes the Lease again");
}

/// An API server that takes three seconds for each answer.
#[tokio::test(start_paused = true)]
async fn p5_a_slow_server_does_not_cost_the_leadership() {
    let server = Server::new();
    *server.slow.lock().unwrap() = Duration::from_secs(3);
    let (first, _end) = stand(&server, "first");
    seconds(10).await;
    for _ in 0..60 {
        assert!(first.leads());
        seconds(1).await;
    }
}

/// Each request to renew the Lease has a time limit. So after a request that hangs, there is time for another one
/// before the Lease expires.
#[tokio::test(start_paused = true)]
async fn p5_one_request_that_hangs_does_not_cost_the_leadership() {
    let server = Server::new();
    let (first, _end) = stand(&server, "first");
    seconds(5).await;
    server.hangs.store(true, Ordering::Relaxed);
    seconds(2).await;
    // The server never answers the request that is under way, but it answers later requests.
    server.hangs.store(false, Ordering::Relaxed);
    for _ in 0..20 {
        seconds(1).await;
        assert!(first.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn p6_the_lease_is_given_up_when_the_writes_under_way_are_over() {
    let server = Server::new();
    let (first, end) = stand(&server, "first");
    let (second, _end) = stand(&server, "second");
    seconds(5).await;
    assert!(first.leads() && !second.leads());
    let permit = first.permit().unwrap();
    end.send_replace(true);
    seconds(1).await;
    assert!(first.permit().is_err(), "no new write begins");
    assert_eq!(
        server.holder(),
        "first",
        "the Lease is not released before the write is over"
    );
    assert!(!second.leads());
    drop(permit);
    seconds(3).await;
    assert!(
        second.leads(),
        "the released Lease is taken before it would expire"
    );
}

#[tokio::test(start_paused = true)]
async fn p6_a_write_that_never_ends_is_not_waited_for() {
    let server = Server::new();
    let (first, end) = stand(&server, "first");
    seconds(5).await;
    let _permit = first.permit().unwrap();
    end.send_replace(true);
    seconds(4).await;
    assert_eq!(server.holder(), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn p5_an_end_while_the_server_hangs_does_not_wait_for_ever() {
    let server = Server::new();
    let leadership = Leadership::new(BootClock::of_tokio());
    let client = client({
        let server = Arc::clone(&server);
        move |method, _, body| server.answer(method, body)
    });
    let candidate = Candidate::new(
        client,
        "ebb-system",
        "ebb-autoscaler",
        "first",
        DURATION,
        Arc::clone(&leadership),
    );
    let (end, ending) = watch::channel(false);
    let standing = tokio::spawn(candidate.run(ending));
    seconds(5).await;
    server.hangs.store(true, Ordering::Relaxed);
    end.send_replace(true);
    let ended = time::timeout(Duration::from_secs(10), standing).await;
    assert!(ended.is_ok());
}
