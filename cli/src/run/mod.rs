//! `ebb run`: autoscales a command on this host.
//!
//! All parts of Ebb in one process: the activator queues and distributes requests, the kernel counts them at each
//! replica, the decision code of the autoscaler determines the desired replicas, and the supervisor starts and stops
//! them.
//!
//! Failure mode: every run cleans up, however it ends, in this order: the port is closed, requests in flight are
//! answered, replicas end, cgroups are removed. After SIGKILL, the kernel kills the replicas, and the next run removes
//! the cgroups.

mod args;
mod cgroup;
mod event;
mod meter;
mod page;
mod pause;
mod port;
mod replica;
mod report;
mod scale;
mod session;
mod settings;
mod supervisor;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, ensure};
use ebb_agent::cgroup::v2_mount;
use ebb_autoscaler_local::{Run, SharedEngine};
use ebb_metrics::{files::OpenFiles, signals::Signals};
use ebb_proxy::{Budget, Limits, Pool};
use nix::unistd;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

pub(crate) use self::args::Args;
use self::{
    cgroup::{Tree, sweep},
    meter::Meter,
    page::PageSource,
    port::Ports,
    replica::{
        life::RunContext,
        ready::Readiness,
        spawn::{CommandLine, Spawner},
    },
    report::{Reporter, console::Console},
    session::Session,
    settings::RunSettings,
};

/// Runs until Ctrl-C, SIGTERM, SIGHUP or an error, or until the reader of stdout closes the pipe.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let console = Console::new();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_env("EBB_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
        )
        .with_ansi(false)
        .with_target(false)
        .with_writer(console.clone())
        .init();
    let settings = RunSettings::from_args(&args)?;
    ensure!(
        unistd::geteuid().is_root(),
        "not root: ebb run makes cgroups and loads kernel programs; run it as root (sudo ebb run …)"
    );
    let limits = Limits {
        hard_limit: settings.settings.hard_limit,
        memory: Budget::of_this_process().whole(),
        ..Limits::default()
    };
    ebb_proxy::runtime(&limits)
        .context("cannot start")?
        .block_on(start(args, settings, limits, console))
}

/// Builds the parts of the run. Parts that need a clean-up are built last, so that an error in an earlier part needs
/// none.
async fn start(
    args: Args,
    settings: RunSettings,
    limits: Limits,
    console: Console,
) -> anyhow::Result<()> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let mount = v2_mount()?;
    let listener = listen((args.host, args.port).into()).await?;
    let address = listener.local_addr().context("cannot tell the port")?;
    let page = match args.no_page {
        true => None,
        false => page::listen(args.page_port).await?,
    };
    let open_files = OpenFiles::raise().context("cannot raise the limit on open files")?;
    let pool = Pool::new(limits);
    let meter = Arc::new(Meter::load(pool.clone(), settings.exclude_paths.clone())?);
    let command = CommandLine::new(&args.command).context("COMMAND is empty")?;
    let spawner = Spawner::start(open_files).context("cannot start a thread")?;
    sweep::sweep(&mount).await?;
    let context = RunContext {
        tree: Tree::create(&mount)?,
        spawner,
        command,
        readiness: args
            .ready_path
            .map_or(Readiness::Accepts, Readiness::Answers),
        start_timeout: args.start_timeout,
        stop_grace: args.stop_grace,
        pool,
        meter,
        console: console.clone(),
        ports: Mutex::new(Ports::new()),
        listeners: Arc::default(),
    };
    let command = args.command.first().map_or("", String::as_str);
    let title = settings.summary();
    let run = Run {
        name: command.rsplit('/').next().unwrap_or(command).to_owned(),
        config: settings.config,
        annotations: settings.annotations,
        settings: settings.settings,
    };
    let engine = SharedEngine::default();
    let page_address = page
        .as_ref()
        .and_then(|listener| listener.local_addr().ok());
    if let Some(listener) = page {
        page::serve(listener, PageSource::new(engine.clone(), settings.table));
    }
    let reporter = Reporter::new(args.json, title, console);
    Session {
        context: Arc::new(context),
        listener,
        address,
        run,
        engine,
        page_address,
        trial: !args.skip_trial,
        reporter,
        signals,
    }
    .run()
    .await
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (--port takes another port, or 0 for a free one)")
    })
}
