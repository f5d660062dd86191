//! One run from its start to its end.
//!
//! The trial: a run that starts without replicas starts one replica and stops it again before it accepts requests. So a
//! command that does not work fails at once, and not at the first request.
//!
//! The end, in this order: the port accepts no more requests, and requests in flight are answered (for `--stop-grace`
//! at most); replicas get SIGTERM; processes that still run after `--stop-grace` get SIGKILL. A second signal skips the
//! waits.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use ebb_autoscaler_local::{Autoscaler, Clock, Run, SharedEngine};
use ebb_metrics::signals::Signals;
use ebb_proxy::{Pool, ServeError, serve};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{self, Instant},
};
use tracing::{info, warn};

use super::{
    event::{Event, Listening},
    meter::RunLoad,
    replica::{failure::Failure, life::RunContext},
    report::Reporter,
    scale::{Narrator, Replicas},
    supervisor::{DesiredState, Status, Supervisor},
};

/// Time limit for the end after a second signal. A killed replica usually ends within milliseconds.
const AT_ONCE: Duration = Duration::from_secs(1);

/// All components of one `ebb run`.
pub(crate) struct Session {
    pub(crate) context: Arc<RunContext>,
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) run: Run,
    pub(crate) engine: SharedEngine,
    /// The address of the live page.
    pub(crate) page_address: Option<SocketAddr>,
    pub(crate) trial: bool,
    pub(crate) reporter: Reporter,
    pub(crate) signals: Signals,
}

impl Session {
    /// Runs until a signal or an error, or until the reader of stdout closes the pipe.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let Session {
            context,
            listener,
            address,
            run,
            engine,
            page_address,
            trial,
            reporter,
            mut signals,
        } = self;
        let (want, desired) = watch::channel(DesiredState::Replicas(0));
        let (publish, status) = watch::channel(Status::default());
        let (supervisor, messages) =
            Supervisor::new(Arc::clone(&context), reporter.clone(), desired, publish);
        let mut supervisor = tokio::spawn(supervisor.run(messages));
        let trial = trial && run.initial_replicas() == 0;

        let mut server = None;
        let work = async {
            if trial {
                try_command(&want, status.clone()).await;
            }
            let opened = server.insert(ProxyServer::open(listener, context.pool.clone()));
            reporter.report(&Event::Listening(Listening {
                address,
                page: page_address,
            }));
            let load = RunLoad {
                meter: Arc::clone(&context.meter),
                status: status.clone(),
            };
            let replicas = Replicas::new(want.clone());
            let narrator = Narrator::new(reporter.clone(), status.clone());
            let clock = Clock::new(SystemTime::now(), Instant::now().into_std());
            let autoscaler = Autoscaler::new(run, engine, clock, load, replicas, narrator);
            tokio::select! {
                ended = autoscaler.run() => ended.context("cannot read the load"),
                ended = opened.ended() => ended,
            }
        };
        let result = tokio::select! {
            ended = &mut supervisor => {
                let result = flatten(ended);
                return result.and(context.tree.remove().await.map_err(Into::into));
            }
            result = work => result,
            signal = signals.next() => {
                info!(signal, "stopping; a second signal stops the run at once");
                Ok(())
            }
            () = reporter.reader_gone() => {
                warn!("the reader of stdout has closed the pipe; stopping");
                Ok(())
            }
        };

        let in_order = async {
            if let Some(server) = server {
                server.close(context.stop_grace).await;
            }
            want.send_replace(DesiredState::End(Duration::ZERO));
            flatten((&mut supervisor).await)
        };
        let ended = tokio::select! {
            ended = in_order => ended,
            signal = signals.next() => {
                warn!(signal, "stopping at once");
                want.send_replace(DesiredState::Kill);
                // Replicas that have not ended after `AT_ONCE` are killed when the cgroup tree is removed.
                time::timeout(AT_ONCE, supervisor).await.map_or(Ok(()), flatten)
            }
        };
        let removed = context.tree.remove().await;
        result.and(ended).and(removed.map_err(Into::into))
    }
}

/// Starts one replica and stops it when it is ready. If the replica fails, the supervisor ends the run.
async fn try_command(want: &watch::Sender<DesiredState>, mut status: watch::Receiver<Status>) {
    want.send_replace(DesiredState::Replicas(1));
    if status.wait_for(|status| status.proven).await.is_err() {
        // The supervisor has ended. The caller notices this too, and then drops this future.
        std::future::pending::<()>().await;
    }
    want.send_replace(DesiredState::Replicas(0));
}

fn flatten(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> anyhow::Result<()> {
    Ok(ended.context("the supervisor of the replicas failed")??)
}

/// The activator's server on the run's port.
struct ProxyServer {
    close: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl ProxyServer {
    fn open(listener: TcpListener, pool: Pool) -> ProxyServer {
        let (close, closing) = oneshot::channel();
        let shutdown = async {
            // An error means that `close` was dropped without a message; the server stops in this case too.
            let _ = closing.await;
        };
        ProxyServer {
            close,
            task: tokio::spawn(serve(listener, pool, shutdown)),
        }
    }

    /// Resolves when the server has ended. Returns its error, if any.
    async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.task).await.context("the activator failed")??;
        Ok(())
    }

    /// Stops accepting requests, and waits until the requests in flight are answered, for `limit` at most.
    async fn close(mut self, limit: Duration) {
        // An error is ignored: it means that the server has already ended.
        let _ = self.close.send(());
        if self.task.is_finished() {
            return;
        }
        if time::timeout(limit, &mut self.task).await.is_err() {
            warn!(
                "some requests were not answered within {limit:?} (--stop-grace) and are aborted"
            );
            self.task.abort();
            let _ = self.task.await;
        }
    }
}
