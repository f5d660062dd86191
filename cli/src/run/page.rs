//! The live page of a run: the page of the autoscaler, with one workload.
//!
//! Bias: the run has priority. If the usual port is taken (by another run), the page gets a free one. If no port is
//! free, the run continues without a page.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use ebb_autoscaler_local::SharedEngine;
use ebb_metrics::{Format, Hosts, status};
use ebb_page::{Page, Source};
use ebb_page_model::{About, Detail, Name, Setting, Workload};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tracing::warn;

/// Default port of a run's page. It differs from port 9466, which serves the page and the metrics of the autoscaler.
const USUAL_PORT: u16 = 9468;

/// The data that the page shows.
#[derive(Debug)]
pub(crate) struct PageSource {
    engine: SharedEngine,
    /// All settings in force, each with its source. The page shows them instead of the engine's list of settings,
    /// because the engine cannot tell the defaults of `ebb run` from settings of the user.
    settings: Vec<Setting>,
}

impl PageSource {
    /// Creates the page's data for the run that `engine` scales. `settings` are all settings in force.
    pub(crate) fn new(engine: SharedEngine, settings: Vec<Setting>) -> Self {
        Self { engine, settings }
    }
}

impl Source for PageSource {
    fn about(&self) -> About {
        About {
            program: "ebb run".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            replica: "this host".to_owned(),
            leading: true,
        }
    }

    fn workloads(&self) -> Vec<Workload> {
        self.engine.with(|engine| engine.views().collect())
    }

    fn detail(&self, of: &Name) -> Option<Detail> {
        let detail = self.engine.with(|engine| engine.detail(of))?;
        Some(Detail {
            settings: self.settings.clone(),
            ..detail
        })
    }
}

/// Opens the port of the page: `asked` if given, otherwise the default port, otherwise a free port. Returns `None` if
/// no port is free.
///
/// # Errors
/// Returns an error if `asked` is given and this port cannot be opened.
pub(crate) async fn listen(asked: Option<u16>) -> anyhow::Result<Option<TcpListener>> {
    let bind = |port| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    if let Some(port) = asked {
        let listener = bind(port)
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{port} for the page"))?;
        return Ok(Some(listener));
    }
    match bind(USUAL_PORT).await {
        Ok(listener) => return Ok(Some(listener)),
        Err(_) => match bind(0).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) => warn!(%error, "there is no free port for the page"),
        },
    }
    Ok(None)
}

/// Serves the page, until the run ends.
pub(crate) fn serve(listener: TcpListener, shown: PageSource) {
    let status = Arc::new(Status(Page::new(shown)));
    // The page listens on 127.0.0.1 only, so requests need no host name other than an IP address or `localhost`.
    tokio::spawn(status::serve(listener, status, Hosts::default()));
}

struct Status(Page<PageSource>);

impl status::Status for Status {
    fn ready(&self) -> Result<String, String> {
        Ok("ready".to_owned())
    }

    fn metrics(&self, format: Format) -> Result<String, fmt::Error> {
        // The registry is empty: only the metrics of the process (CPU, memory) are exposed. The data of the run is on
        // the page.
        format.encode(&Registry::default())
    }

    fn page(&self, path: &str, query: Option<&str>) -> Option<status::Answer> {
        self.0.answer(path, query)
    }
}
