//! The life of one replica, from the creation of its cgroup to the removal of the cgroup.
//!
//! The kernel counter is attached before the process exists, so no connection is missed. The replica gets no new requests
//! from the activator before it is ordered to end, so no request is aborted.
//!
//! Failure mode: whatever goes wrong, the processes in the cgroup are killed and the cgroup is removed before the end is
//! reported.

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

/// Attempts to find a port, if another program takes one between the choice and the replica's listen.
const PORT_ATTEMPTS: u32 = 3;
/// Time limit for the last lines of a replica that has been killed. Only a process that left the cgroup can still hold its
/// pipes then.
const LAST_LINES: Duration = Duration::from_millis(100);

/// The parts that all replicas of a run share.
#[derive(Debug)]
pub(crate) struct Frame {
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
}

/// An order of the supervisor to a replica. Later ones are stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Start and serve requests.
    Serve,
    /// End, when its requests are answered or this time is over.
    Stop(Duration),
    /// End at once.
    Kill,
}

/// A message of a replica to the supervisor.
#[derive(Debug)]
pub(crate) enum News {
    /// Its process runs.
    Started {
        /// Its process id.
        pid: Option<u32>,
    },
    /// It serves requests.
    Ready {
        /// Time from its spawn until it was ready.
        start: Duration,
        /// How long the oldest queued request had waited when it was handed over, if a request was queued.
        waited: Option<Duration>,
    },
    /// It has ended, and its cgroup is removed.
    Ended(Result<(), Failure>),
}

/// A replica at work.
struct Replica<'a> {
    frame: &'a Frame,
    number: u64,
    group: &'a Group,
    order: watch::Receiver<Order>,
    news: mpsc::UnboundedSender<(u64, News)>,
}

/// Runs a replica until it is ordered to end, or its process ends. The last message is [`News::Ended`].
pub(crate) async fn live(
    frame: Arc<Frame>,
    number: u64,
    order: watch::Receiver<Order>,
    news: mpsc::UnboundedSender<(u64, News)>,
) {
    let end = match frame.tree.add_replica(number) {
        Ok(group) => {
            let replica = Replica {
                frame: &frame,
                number,
                group: &group,
                order,
                news: news.clone(),
            };
            let end = replica.run().await;
            frame.pool.remove(number);
            let removed = group.kill_and_remove().await;
            if let Err(error) = removed {
                warn!(replica = number, %error, "something of a replica stays behind");
            }
            end
        }
        Err(error) => Err(error.into()),
    };
    // If nothing receives this, the run is over.
    let _ = news.send((number, News::Ended(end)));
}

impl Replica<'_> {
    async fn run(mut self) -> Result<(), Failure> {
        for _ in 1..PORT_ATTEMPTS {
            let port = self.take_port()?;
            match self.serve(port).await {
                // The command is not at fault: another program listens on its port.
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
        let ports = self.frame.ports.lock();
        Ok(ports
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()?)
    }

    async fn serve(&mut self, port: u16) -> Result<(), Failure> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let _metered = self.frame.meter.add(self.number, self.group.path(), port)?;
        let spawned = Instant::now();
        let mut child = self.spawn(port).await?;
        self.tell(News::Started { pid: child.id() });
        let lines = self.forward(&mut child);
        let end = match self.get_ready(&mut child, address).await {
            Ok(true) => {
                self.enter_door(address, spawned);
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
            .frame
            .spawner
            .spawn(&self.frame.command, port, entrance);
        spawned.await.map_err(|source| Failure::Spawn {
            program: self.program(),
            source,
        })
    }

    /// Returns whether it became ready before it was ordered to end.
    async fn get_ready(&mut self, child: &mut Child, address: SocketAddr) -> Result<bool, Failure> {
        let limit = self.frame.start_timeout;
        tokio::select! {
            ready = self.frame.readiness.wait(address, limit) => match ready {
                Ok(()) => Ok(true),
                Err(seen) => Err(Failure::NeverReady { program: self.program(), address, limit, seen }),
            },
            status = child.wait() => Err(Failure::EndedEarly { program: self.program(), status: status? }),
            () = leave(&mut self.order) => Ok(false),
        }
    }

    fn enter_door(&self, address: SocketAddr, spawned: Instant) {
        let start = spawned.elapsed();
        let oldest = self.frame.pool.held().oldest;
        self.frame.pool.add(self.number, address);
        let waited = oldest.map(|since| since.elapsed());
        self.tell(News::Ready { start, waited });
    }

    /// Serves until it is ordered to end and its requests are answered.
    async fn stay(&mut self, child: &mut Child) -> Result<(), Failure> {
        let ended = |status: ExitStatus| Failure::EndedServing {
            program: self.frame.command.program().to_owned(),
            status,
        };
        tokio::select! {
            status = child.wait() => return Err(ended(status?)),
            () = leave(&mut self.order) => {}
        }
        self.frame.pool.remove(self.number);
        let mut order = self.order.clone();
        tokio::select! {
            status = child.wait() => return Err(ended(status?)),
            () = self.frame.pool.drained(self.number) => {}
            () = drain_limit(&mut order) => {
                let cut = self.frame.pool.in_flight(self.number);
                warn!(replica = self.number, requests = cut, "draining took too long; these requests are cut");
            }
        }
        Ok(())
    }

    /// Sends SIGTERM and waits for the end. Returns an error if the time limit is over first.
    async fn terminate(&mut self, child: &mut Child) -> Result<(), time::error::Elapsed> {
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return Ok(());
        };
        // ESRCH: the process has just ended by itself.
        let _ = signal::killpg(Pid::from_raw(pid), Signal::SIGTERM);
        let mut order = self.order.clone();
        let grace = self.frame.stop_grace;
        let gone = async {
            // An error of either is ignored: the kill that follows in any case ends the processes.
            let _ = child.wait().await;
            let _ = self.group.emptied().await;
        };
        tokio::select! {
            done = time::timeout(grace, gone) => done,
            // No further signal is needed: removing the cgroup kills the processes.
            _ = order.wait_for(|order| *order == Order::Kill) => Ok(()),
        }
    }

    /// Starts to forward the output of the process.
    fn forward(&self, child: &mut Child) -> JoinSet<()> {
        let mut lines = JoinSet::new();
        let mut follow = |output: Option<Box<dyn AsyncRead + Unpin + Send>>| {
            if let Some(output) = output {
                lines.spawn(output::forward(
                    output,
                    self.number,
                    self.frame.console.clone(),
                ));
            }
        };
        follow(child.stdout.take().map(|out| Box::new(out) as _));
        follow(child.stderr.take().map(|err| Box::new(err) as _));
        lines
    }

    fn program(&self) -> String {
        self.frame.command.program().to_owned()
    }

    fn tell(&self, news: News) {
        // If nothing receives this, the run is over, and the order to end follows.
        let _ = self.news.send((self.number, news));
    }
}

/// Resolves when a replica is ordered to end.
async fn leave(order: &mut watch::Receiver<Order>) {
    // If the supervisor is gone, no replica is desired any more.
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

/// Waits for the last lines of a replica that has ended.
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
