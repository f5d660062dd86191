//! `ebb top`: the live page in the terminal, for an autoscaler or an `ebb run`.
//!
//! Once a second, the program requests the data of the page and draws as much as fits on the terminal. Failure mode:
//! without a response, the last data stays on the screen, with the time since its arrival, and the requests continue.

mod app;
mod client;
mod draw;
mod keys;

use std::{
    io::{self, Write as _},
    mem,
    time::Duration,
};

use anyhow::{Context as _, bail};
use ebb_metrics::signals::Signals;
use ebb_page_model::{All, Detail, Name};
use ratatui::crossterm::event::EventStream;
use tokio::time::{self, Instant, MissedTickBehavior};

use self::{
    app::{Action, App},
    client::Client,
};
use crate::screen;

/// Interval between two requests: half of the two seconds between two decisions.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The default addresses: an `ebb run` on this host, and an autoscaler whose port is forwarded to this host.
const USUAL: [&str; 2] = ["http://127.0.0.1:9468", "http://127.0.0.1:9466"];

/// Show workloads as they are scaled
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys: up and down choose, Enter shows one with its last hour and decisions, / filters, Esc goes back, q ends.

Example, on a cluster:
  kubectl -n ebb-system port-forward svc/ebb-autoscaler 9466 &
  ebb top")]
pub(crate) struct Args {
    /// Address of an autoscaler's status port, or of the page of an `ebb run`; by default, the usual addresses on this
    /// host are tried
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Print the workloads once and end; this is the default if stdout is not a terminal that can be drawn on
    #[arg(long)]
    once: bool,
}

/// Runs until `q`, Ctrl-C or another signal.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?
        .block_on(top(args))
}

async fn top(args: Args) -> anyhow::Result<()> {
    let client = reach(args.url).await?;
    let mut app = App::new(client.address().to_owned());
    app.set_all(client.all().await?, Instant::now());
    if args.once || !screen::is_there() {
        let text = draw::text(&app);
        // An error is ignored: the reader of stdout may have closed the pipe.
        let _ = io::stdout().write_all(text.as_bytes());
        return Ok(());
    }
    let mut signals = Signals::catch().context("cannot catch signals")?;
    // `try_init` takes over the terminal and installs a panic hook that restores the terminal.
    let mut terminal = ratatui::try_init().context("cannot use the terminal")?;
    let result = tokio::select! {
        result = live(&mut terminal, &mut app, &client) => result,
        _ = signals.next() => Ok(()),
    };
    let restored = ratatui::try_restore();
    if restored.and_then(|()| terminal.show_cursor()).is_err() {
        // The terminal is closed. Dropping `terminal` would write to stderr, which is closed too, and would panic.
        mem::forget(terminal);
    }
    result
}

async fn live(
    terminal: &mut ratatui::DefaultTerminal,
    app: &mut App,
    client: &Client,
) -> anyhow::Result<()> {
    let mut keys = EventStream::new();
    // The tick redraws the screen, which shows the time since the last response.
    let mut tick = time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looking = Box::pin(look(client, app.opened(), Duration::ZERO));
    loop {
        terminal
            .draw(|frame| draw::draw(frame, app, Instant::now()))
            .context("cannot write to the terminal")?;
        // Keys are handled even while a request is in progress.
        let after = tokio::select! {
            key = keys::next(&mut keys) => {
                match app.key(key.context("cannot read the terminal")?) {
                    Action::End => return Ok(()),
                    Action::Nothing => continue,
                    Action::Look => Duration::ZERO,
                }
            }
            seen = &mut looking => {
                match seen {
                    Ok((all, detail)) => {
                        app.set_all(all, Instant::now());
                        app.shown(detail);
                    }
                    Err(error) => app.set_trouble(&error),
                }
                LOOK_EVERY
            }
            _ = tick.tick() => continue,
        };
        looking = Box::pin(look(client, app.opened(), after));
    }
}

/// Waits for `after`, then requests the list of workloads, and the details of the workload `opened`.
async fn look(
    client: &Client,
    opened: Option<Name>,
    after: Duration,
) -> anyhow::Result<(All, Option<Detail>)> {
    time::sleep(after).await;
    let all = client.all().await?;
    let detail = match opened {
        // An error is ignored: a workload that no longer exists is not shown.
        Some(name) => client.one(&name).await.ok(),
        None => None,
    };
    Ok((all, detail))
}

/// Returns a client for `url`, or for the first default address that answers.
async fn reach(url: Option<String>) -> anyhow::Result<Client> {
    if let Some(url) = url {
        return Client::new(&url);
    }
    for url in USUAL {
        let client = Client::new(url)?;
        if client.all().await.is_ok() {
            return Ok(client);
        }
    }
    bail!(
        "neither {} (ebb run) nor {} (a forwarded port of ebb-autoscaler) answers; give a URL",
        USUAL[0],
        USUAL[1]
    )
}
