//! Starts and stops replicas to keep the desired number.
//!
//! One task owns the set of replicas: it sends orders to them, receives their messages, and publishes a [`Status`]. A
//! replica that is draining does not count: it finishes its requests, and new replicas start without waiting for its
//! end.
//!
//! Failure mode: a failure before any replica has been ready ends the run, because the command does not work. A later
//! failure is reported, and the next start is delayed by a pause that grows with each failure.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ebb_autoscaler_local::Phase;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tracing::warn;

use super::{
    event::{ColdStart, Event, ReplicaEvent, ReplicaState},
    pause::Pause,
    replica::{
        failure::Failure,
        life::{self, Order, ReplicaMessage, RunContext},
    },
    report::Reporter,
};

/// How long a replica may take to finish its requests after a scale-down. 300 s is the default limit for one request in
/// a Knative revision (`timeoutSeconds`).
const DRAIN_LIMIT: Duration = Duration::from_secs(300);

/// The published state of all replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The phases of the replicas that are alive, including those that are leaving, by the number of the replica.
    alive: BTreeMap<u64, Phase>,
    /// Whether any replica has ever been ready.
    pub(crate) proven: bool,
}

impl Status {
    /// Returns the number of replicas that are alive, including those that are leaving.
    pub(crate) fn alive(&self) -> usize {
        self.alive.len()
    }

    /// Returns the number of replicas that are ready, without those that are leaving.
    pub(crate) fn ready(&self) -> usize {
        let phases = self.alive.values();
        phases.filter(|phase| **phase == Phase::Ready).count()
    }

    /// Returns the phase of a replica that has a counter. A replica that has a counter but is no longer alive is
    /// leaving.
    pub(crate) fn phase(&self, replica: u64) -> Phase {
        self.alive.get(&replica).copied().unwrap_or(Phase::Leaving)
    }
}

/// The desired state of all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DesiredState {
    /// Keep this many replicas.
    Replicas(u32),
    /// Stop all replicas. Requests in flight that take longer than this time are aborted.
    End(Duration),
    /// Kill all replicas at once.
    Kill,
}

/// The supervisor's state of one replica.
#[derive(Debug)]
struct Replica {
    state: ReplicaState,
    /// The time at which the replica became ready.
    ready: Option<Instant>,
    order: watch::Sender<Order>,
}

/// The set of replicas, and the channels to and from them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    context: Arc<RunContext>,
    reporter: Reporter,
    desired: watch::Receiver<DesiredState>,
    status: watch::Sender<Status>,
    replicas: BTreeMap<u64, Replica>,
    /// The number of the replica started last.
    last: u64,
    messages: mpsc::UnboundedSender<(u64, ReplicaMessage)>,
    tasks: JoinSet<()>,
    proven: bool,
    pause: Pause,
}

impl Supervisor {
    /// Creates a supervisor without replicas, which publishes its state to `status`. Also returns the receiver of the
    /// replicas' messages, for [`Supervisor::run`].
    pub(crate) fn new(
        context: Arc<RunContext>,
        reporter: Reporter,
        desired: watch::Receiver<DesiredState>,
        status: watch::Sender<Status>,
    ) -> (Supervisor, mpsc::UnboundedReceiver<(u64, ReplicaMessage)>) {
        let (messages, received) = mpsc::unbounded_channel();
        let supervisor = Supervisor {
            context,
            reporter,
            desired,
            status,
            replicas: BTreeMap::new(),
            last: 0,
            messages,
            tasks: JoinSet::new(),
            proven: false,
            pause: Pause::default(),
        };
        (supervisor, received)
    }

    /// Runs until the desired state is [`DesiredState::End`] or [`DesiredState::Kill`] and all replicas have ended.
    ///
    /// # Errors
    ///
    /// Returns the failure of a replica if no replica has ever been ready. The other replicas are killed first.
    pub(crate) async fn run(
        mut self,
        mut received: mpsc::UnboundedReceiver<(u64, ReplicaMessage)>,
    ) -> Result<(), Failure> {
        let mut fatal = None;
        loop {
            let desired = match fatal {
                Some(_) => DesiredState::Kill,
                None => *self.desired.borrow_and_update(),
            };
            self.match_up(desired);
            if !matches!(desired, DesiredState::Replicas(_)) && self.replicas.is_empty() {
                break;
            }
            tokio::select! {
                Some((number, message)) = received.recv() => {
                    if let Err(failure) = self.handle(number, message) {
                        fatal.get_or_insert(failure);
                    }
                }
                changed = self.desired.changed(), if fatal.is_none() => if changed.is_err() { break },
                () = self.pause.over() => {}
                // Removes tasks that have ended from the set.
                Some(_) = self.tasks.join_next() => {}
            }
        }
        while self.tasks.join_next().await.is_some() {}
        fatal.map_or(Ok(()), Err)
    }

    /// Starts replicas, or orders replicas to stop, so that the number of replicas becomes the desired number.
    fn match_up(&mut self, desired: DesiredState) {
        match desired {
            DesiredState::Replicas(desired) => {
                self.scale(usize::try_from(desired).unwrap_or(usize::MAX))
            }
            DesiredState::End(limit) => self.order_all(Order::Stop(limit)),
            DesiredState::Kill => self.order_all(Order::Kill),
        }
        self.publish();
    }

    fn scale(&mut self, desired: usize) {
        let staying = self.staying();
        if staying.len() < desired && !self.pause.is_on() {
            for _ in staying.len()..desired {
                self.start();
            }
        }
        for number in leavers(staying, desired) {
            self.order(number, Order::Stop(DRAIN_LIMIT));
        }
    }

    /// Returns the replicas that are not draining, as tuples (number, whether ready, requests in flight).
    fn staying(&self) -> Vec<(u64, bool, usize)> {
        self.replicas
            .iter()
            .filter(|(_, replica)| replica.state != ReplicaState::Draining)
            .map(|(number, replica)| {
                let ready = replica.state == ReplicaState::Ready;
                (*number, ready, self.context.pool.in_flight(*number))
            })
            .collect()
    }

    fn start(&mut self) {
        self.last += 1;
        let (order, orders) = watch::channel(Order::Serve);
        let state = ReplicaState::Started;
        let replica = Replica {
            state,
            ready: None,
            order,
        };
        self.replicas.insert(self.last, replica);
        let life = life::live(
            Arc::clone(&self.context),
            self.last,
            orders,
            self.messages.clone(),
        );
        self.tasks.spawn(life);
    }

    fn order_all(&mut self, order: Order) {
        let all: Vec<u64> = self.replicas.keys().copied().collect();
        for number in all {
            self.order(number, order);
        }
    }

    fn order(&mut self, number: u64, order: Order) {
        let Some(replica) = self.replicas.get_mut(&number) else {
            return;
        };
        replica
            .order
            .send_if_modified(|old| std::mem::replace(old, order) != order);
        if replica.state != ReplicaState::Draining {
            replica.state = ReplicaState::Draining;
            self.report_replica(number, ReplicaState::Draining, None);
        }
    }

    /// Handles a message of a replica. Returns an error if the message is a failure that ends the run.
    fn handle(&mut self, number: u64, message: ReplicaMessage) -> Result<(), Failure> {
        match message {
            ReplicaMessage::Started { pid } => {
                let detail = pid.map(|pid| format!("pid {pid}"));
                self.report_replica(number, ReplicaState::Started, detail);
            }
            ReplicaMessage::Ready { start, waited } => self.ready(number, start, waited),
            ReplicaMessage::Ended(end) => {
                let Some(left) = self.replicas.remove(&number) else {
                    return Ok(());
                };
                // The failure of a replica that is draining is reported as an ordinary end.
                let leaving = left.state == ReplicaState::Draining;
                match end {
                    Ok(()) => self.report_replica(number, ReplicaState::Stopped, None),
                    Err(failure) if leaving => {
                        self.report_replica(
                            number,
                            ReplicaState::Stopped,
                            Some(failure.to_string()),
                        );
                    }
                    Err(failure) => {
                        let served = left.ready.map_or(Duration::ZERO, |since| since.elapsed());
                        return self.failed(number, failure, served);
                    }
                }
            }
        }
        Ok(())
    }

    fn ready(&mut self, number: u64, start: Duration, waited: Option<Duration>) {
        let first = self.count_ready() == 0;
        self.proven = true;
        let Some(replica) = self.replicas.get_mut(&number) else {
            return;
        };
        // A replica that was ordered to stop while it became ready stays in the state `Draining`.
        if replica.state == ReplicaState::Started {
            replica.state = ReplicaState::Ready;
            replica.ready = Some(Instant::now());
            self.report_replica(
                number,
                ReplicaState::Ready,
                Some(format!("after {} ms", start.as_millis())),
            );
        }
        if let Some(waited) = waited.filter(|_| first) {
            self.reporter.report(&Event::ColdStart(ColdStart {
                t: self.reporter.seconds(),
                start_ms: milliseconds(start),
                waited_ms: milliseconds(waited),
                added_ms: milliseconds(waited) - milliseconds(start),
            }));
        }
    }

    fn failed(&mut self, number: u64, failure: Failure, served: Duration) -> Result<(), Failure> {
        self.report_replica(number, ReplicaState::Failed, Some(failure.to_string()));
        if !self.proven {
            return Err(failure);
        }
        let pause = self.pause.begin(served);
        warn!(replica = number, %failure, next_start_in = ?pause, "a replica failed");
        Ok(())
    }

    fn count_ready(&self) -> usize {
        let ready = |replica: &&Replica| replica.state == ReplicaState::Ready;
        self.replicas.values().filter(ready).count()
    }

    fn publish(&self) {
        let status = Status {
            alive: self
                .replicas
                .iter()
                .map(|(number, replica)| (*number, replica.state.phase()))
                .collect(),
            proven: self.proven,
        };
        self.status.send_if_modified(|old| {
            let changed = *old != status;
            *old = status;
            changed
        });
    }

    fn report_replica(&self, replica: u64, state: ReplicaState, detail: Option<String>) {
        self.reporter.report(&Event::Replica(ReplicaEvent {
            t: self.reporter.seconds(),
            replica,
            state,
            detail,
        }));
    }
}

/// Returns the numbers of the replicas to stop, so that `desired` replicas remain. `replicas` are tuples (number,
/// whether ready, requests in flight). Replicas that are not ready are stopped first, then replicas with the fewest
/// requests in flight; of equal replicas, the newest first.
fn leavers(mut replicas: Vec<(u64, bool, usize)>, desired: usize) -> Vec<u64> {
    replicas
        .sort_by_key(|&(number, ready, in_flight)| (ready, in_flight, std::cmp::Reverse(number)));
    let surplus = replicas.len().saturating_sub(desired);
    replicas
        .iter()
        .take(surplus)
        .map(|&(number, ..)| number)
        .collect()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_not_ready_go_first_then_those_with_the_least_in_flight_then_the_newest() {
        let replicas = vec![
            (1, true, 0),
            (2, true, 3),
            (3, true, 0),
            (4, false, 0),
            (5, false, 0),
        ];
        assert!(leavers(replicas.clone(), 5).is_empty());
        assert_eq!(leavers(replicas.clone(), 3), [5, 4]);
        assert_eq!(leavers(replicas.clone(), 1), [5, 4, 3, 1]);
        assert_eq!(leavers(replicas, 0), [5, 4, 3, 1, 2]);
    }
}
