//! The life of one replica, from the creation of its cgroup to the removal of the cgroup.
//!
//! The kernel counter is attached before the process exists, so no connection is missed. The activator stops sending
//! requests to the replica before the process gets SIGTERM, so no request is aborted.
//!
//! Failure mode: whatever goes wrong, the processes in the cgroup are killed and the cgroup is removed before the end
//! is reported to the supervisor.

use std::{net::SocketAddr, process::ExitStatus, sync::Arc, time::Duration};

use ebb_proxy::Pool;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::{
    io::AsyncRead,
    process::Child,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{self, Instant},
};
use tracing::warn;

use super::{
    failure::Failure,
    listener::ListenerCheck,
    output,
    ready::Readiness,
    spawn::{CommandLine, Spawner},
};
use crate::run::{
    cgroup::{Tree, group::Group},
    meter::Meter,
    port::{self, Ports},
    report::console::Console,
};

/// Number of attempts to start a replica, each with a new port. An attempt is repeated if another program takes the
/// port before the replica listens on it.
const PORT_ATTEMPTS: u32 = 3;
/// Time limit for reading the last output of a replica whose processes have ended. If the output pipes are still open
/// after this time, a process that left the cgroup holds them open.
const LAST_LINES: Duration = Duration::from_millis(100);

/// The parts that all replicas of a run share.
#[derive(Debug)]
pub(crate) struct RunContext {
    pub(crate) tree: Tree,
    pub(crate) spawner: Spawner,
    pub(crate) command: CommandLine,
    pub(crate) readiness: Readiness,
    pub(crate) start_timeout: Duration,
    pub(crate) stop_grace: Duration,
    pub(crate) pool: Pool,
    pub(crate) meter: Arc<Meter>,
    pub(crate) console: Console,
    pub(crate) ports: std::sync::Mutex<Ports>,
    pub(crate) listeners: Arc<ListenerCheck>,
}

/// An order of the supervisor to a replica. A later variant overrides an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Start and serve requests.
    Serve,
    /// End when the requests in flight are answered, or after this time.
    Stop(Duration),
    /// End at once.
    Kill,
}

/// A message of a replica to the supervisor.
#[derive(Debug)]
pub(crate) enum ReplicaMessage {
    /// The process of the replica runs.
    Started {
        /// The process id; `None` if the process has ended already.
        pid: Option<u32>,
    },
    /// The replica is ready, and the activator sends requests to it.
    Ready {
        /// Time from the spawn of the process until the replica was ready.
        start: Duration,
        /// How long the oldest queued request had waited when the replica became ready; `None` if no request was
        /// queued.
        waited: Option<Duration>,
    },
    /// The replica has ended. Its cgroup was removed, or the failure to remove it was logged.
    Ended(Result<(), Failure>),
}

/// A running replica and its channels to and from the supervisor.
struct Replica<'a> {
    context: &'a RunContext,
    number: u64,
    group: &'a Group,
    order: watch::Receiver<Order>,
    messages: mpsc::UnboundedSender<(u64, ReplicaMessage)>,
}

/// Runs a replica until the supervisor orders it to end, or its process ends. The last message is
/// [`ReplicaMessage::Ended`].
pub(crate) async fn live(
    context: Arc<RunContext>,
    number: u64,
    order: watch::Receiver<Order>,
    messages: mpsc::UnboundedSender<(u64, ReplicaMessage)>,
) {
    let end = match context.tree.add_replica(number) {
        Ok(group) => {
            let replica = Replica {
                context: &context,
                number,
                group: &group,
                order,
                messages: messages.clone(),
            };
            let end = replica.run().await;
            context.pool.remove(number);
            let removed = group.kill_and_remove().await;
            if let Err(error) = removed {
                warn!(replica = number, %error, "cannot remove the cgroup of a replica");
            }
            end
        }
        Err(error) => Err(error.into()),
    };
    // An error is ignored: it means that the supervisor has ended, and the run is over.
    let _ = messages.send((number, ReplicaMessage::Ended(end)));
}

impl Replica<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        for _ in 1..PORT_ATTEMPTS {
            let port = self.take_port()?;
            match self.serve(port).await {
                // The command did not cause this failure: another program took the port first.
                Err(Failure::EndedEarly { .. }) if port::is_taken(port)? => {
                    warn!(
                        replica = self.number,
                        port, "another program took the port; trying the next one"
                    );
                }
                end => return end,
            }
        }
        let port = self.take_port()?;
        self.serve(port).await
    }

    fn take_port(&self) -> Result<u16, Failure> {
        let ports = self.context.ports.lock();
        Ok(ports
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()?)
    }

    async fn serve(&mut self, port: u16) -> Result<(), Failure> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let _metered = self
            .context
            .meter
            .add(self.number, self.group.path(), port)?;
        let spawned = Instant::now();
        let mut child = self.spawn(port).await?;
        self.send(ReplicaMessage::Started { pid: child.id() });
        let lines = self.forward(&mut child);
        let end = match self.get_ready(&mut child, address).await {
            Ok(true) => {
                self.add_to_pool(address, spawned);
                let cgroup = self.group.path().to_owned();
                self.context.listeners.check(self.number, port, cgroup);
                self.stay(&mut child).await
            }
            Ok(false) => Ok(()),
            Err(failure) => Err(failure),
        };
        if self.terminate(&mut child).await.is_err() || end.is_err() {
            self.group.kill()?;
        }
        finish(lines).await;
        end
    }

    async fn spawn(&self, port: u16) -> Result<Child, Failure> {
        let entrance = self.group.entrance()?;
        let spawned = self
            .context
            .spawner
            .spawn(&self.context.command, port, entrance);
        spawned.await.map_err(|source| Failure::Spawn {
            program: self.program(),
            source,
        })
    }

    /// Returns whether the replica became ready before the supervisor ordered it to end.
    async fn get_ready(&mut self, child: &mut Child, address: SocketAddr) -> Result<bool, Failure> {
        let limit = self.context.start_timeout;
        tokio::select! {
            ready = self.context.readiness.wait(address, limit) => match ready {
                Ok(()) => Ok(true),
                Err(seen) => Err(Failure::NeverReady { program: self.program(), address, limit, seen }),
            },
            status = child.wait() => Err(Failure::EndedEarly { program: self.program(), status: status? }),
            () = leave(&mut self.order) => Ok(false),
        }
    }

    fn add_to_pool(&self, address: SocketAddr, spawned: Instant) {
        let start = spawned.elapsed();
        let oldest = self.context.pool.queued().oldest;
        self.context.pool.add(self.number, address);
        let waited = oldest.map(|since| since.elapsed());
        self.send(ReplicaMessage::Ready { start, waited });
    }

    /// Waits until the supervisor orders the replica to end and its requests are answered, or the time limit is over.
    async fn stay(&mut self, child: &mut Child) -> Result<(), Failure> {
        let ended = |status: ExitStatus| Failure::EndedServing {
            program: self.context.command.program().to_owned(),
            status,
        };
        tokio::select! {
            status = child.wait() => return Err(ended(status?)),
            () = leave(&mut self.order) => {}
        }
        self.context.pool.remove(self.number);
        let mut order = self.order.clone();
        tokio::select! {
            status = child.wait() => return Err(ended(status?)),
            () = self.context.pool.drained(self.number) => {}
            () = drain_limit(&mut order) => {
                let cut = self.context.pool.in_flight(self.number);
                warn!(replica = self.number, requests = cut, "drain limit is over; requests in flight are aborted");
            }
        }
        Ok(())
    }

    /// Sends SIGTERM and waits until all processes of the replica have ended. Returns an error if `stop_grace` is over
    /// first.
    async fn terminate(&mut self, child: &mut Child) -> Result<(), time::error::Elapsed> {
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return Ok(());
        };
        // ESRCH: the process has just ended by itself.
        let _ = signal::killpg(Pid::from_raw(pid), Signal::SIGTERM);
        let mut order = self.order.clone();
        let grace = self.context.stop_grace;
        let gone = async {
            // If waiting for the process or for the empty cgroup fails, the error is ignored: the later removal of the
            // cgroup kills the remaining processes.
            let _ = child.wait().await;
            let _ = self.group.emptied().await;
        };
        tokio::select! {
            done = time::timeout(grace, gone) => done,
            // The supervisor ordered a kill. No signal is sent here, because removing the cgroup kills the processes.
            _ = order.wait_for(|order| *order == Order::Kill) => Ok(()),
        }
    }

    /// Starts tasks that forward stdout and stderr of the process to the console.
    fn forward(&self, child: &mut Child) -> JoinSet<()> {
        let mut lines = JoinSet::new();
        let mut follow = |output: Option<Box<dyn AsyncRead + Unpin + Send>>| {
            if let Some(output) = output {
                lines.spawn(output::forward(
                    output,
                    self.number,
                    self.context.console.clone(),
                ));
            }
        };
        follow(child.stdout.take().map(|out| Box::new(out) as _));
        follow(child.stderr.take().map(|err| Box::new(err) as _));
        lines
    }

    fn program(&self) -> String {
        self.context.command.program().to_owned()
    }

    fn send(&self, message: ReplicaMessage) {
        // An error is ignored: it means that the supervisor has ended, and [`leave`] then resolves.
        let _ = self.messages.send((self.number, message));
    }
}

/// Resolves when a replica is ordered to end.
async fn leave(order: &mut watch::Receiver<Order>) {
    // An error means that the supervisor has ended: then the replica ends too.
    let _ = order.wait_for(|order| *order > Order::Serve).await;
}

/// Resolves when the time limit of a draining replica is over; a later order may shorten the limit.
async fn drain_limit(order: &mut watch::Receiver<Order>) {
    let start = Instant::now();
    loop {
        let limit = match *order.borrow_and_update() {
            Order::Stop(limit) => limit,
            Order::Serve | Order::Kill => Duration::ZERO,
        };
        tokio::select! {
            () = time::sleep_until(start + limit) => return,
            changed = order.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits until the last output lines of a replica that has ended are forwarded.
async fn finish(mut lines: JoinSet<()>) {
    let all = async { while lines.join_next().await.is_some() {} };
    // Processes that hold the pipes open from outside the cgroup are not waited for.
    let _ = time::timeout(LAST_LINES, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_orders_are_stronger() {
        assert!(Order::Serve < Order::Stop(Duration::ZERO));
        assert!(Order::Stop(Duration::MAX) < Order::Kill);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_at_its_limit_and_a_later_order_shortens_it() {
        let start = Instant::now();
        let (orders, mut order) = watch::channel(Order::Stop(Duration::from_secs(300)));
        let shorten = async {
            time::sleep(Duration::from_secs(5)).await;
            orders.send_replace(Order::Stop(Duration::from_secs(10)));
        };
        tokio::join!(drain_limit(&mut order), shorten);
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }
}
