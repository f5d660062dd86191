//! Reports to one replica, for as long as it has its address.

use std::time::Duration;

use ebb_report::Receipt;
use hyper::{StatusCode, body::Bytes};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::connection::{Answer, Peer};
use crate::node::metrics::Sending;

/// A replica in trouble is tried no more often; reports of a burst come every 50 ms.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// The longest a replica can ask to be left alone: figures older than this are stale to it.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// A replica.
#[derive(Debug)]
pub(super) struct Replica {
    peer: Peer,
    reports: watch::Receiver<Bytes>,
    metrics: Sending,
    /// What is wrong, as last said in the log.
    wrong: Option<String>,
}

/// How a report went.
enum Went {
    Taken(Receipt),
    Refused(Duration, String),
    Lost(String),
}

impl Replica {
    pub(super) fn new(peer: Peer, reports: watch::Receiver<Bytes>, metrics: Sending) -> Self {
        Self {
            peer,
            reports,
            metrics,
            wrong: None,
        }
    }

    /// Sends until there will be no more reports.
    pub(super) async fn run(mut self) {
        // The first one is there already, most likely.
        self.reports.mark_changed();
        while self.reports.changed().await.is_ok() {
            let began = Instant::now();
            let body = self.reports.borrow_and_update().clone();
            if body.is_empty() {
                continue;
            }
            let rest = match self.report(body).await {
                Went::Taken(receipt) => {
                    self.metrics.taken(receipt);
                    if self.wrong.take().is_some() {
                        info!(address = %self.peer.address, "reports are taken again");
                    }
                    continue;
                }
                Went::Refused(rest, why) => {
                    self.metrics.refused();
                    self.say(why);
                    rest
                }
                Went::Lost(why) => {
                    self.metrics.lost();
                    self.say(why);
                    TRY_EVERY
                }
            };
            sleep_until(began + rest).await;
        }
    }

    async fn report(&mut self, body: Bytes) -> Went {
        let answer = match self.peer.post(body).await {
            Ok(answer) => answer,
            Err(error) => return Went::Lost(error.to_string()),
        };
        match answer.status {
            StatusCode::OK => match serde_json::from_slice(&answer.body) {
                Ok(receipt) => Went::Taken(receipt),
                Err(error) => Went::Lost(format!("not an answer of an autoscaler: {error}")),
            },
            status => {
                if status == StatusCode::UNAUTHORIZED {
                    self.peer.credentials.doubt();
                }
                let (rest, why) = refusal(&answer);
                Went::Refused(rest, why)
            }
        }
    }

    /// Into the log, once for each thing that is wrong.
    fn say(&mut self, why: String) {
        if self.wrong.as_ref() != Some(&why) {
            warn!(address = %self.peer.address, why, "reports do not arrive");
            self.wrong = Some(why);
        }
    }
}

fn refusal(answer: &Answer) -> (Duration, String) {
    let text = String::from_utf8_lossy(&answer.body);
    let line = text.lines().next().unwrap_or_default();
    let rest = answer.retry_after.unwrap_or(TRY_EVERY);
    (
        rest.clamp(TRY_EVERY, LONGEST_REST),
        format!("answered {}: {line}", answer.status),
    )
}
